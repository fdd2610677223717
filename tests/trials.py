"""Many trials in one test, as a test of its own for each would take longer than what is tested."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def trials(names: str, values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As pytest.mark.parametrize, within one test; a failure says of which values."""
    keys, choices = [name.strip() for name in names.split(",")], list(values)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for choice in choices:
                chosen = dict(zip(keys, choice if len(keys) > 1 else (choice,), strict=True))
                try:
                    test(**fixtures, **chosen)
                except BaseException as error:
                    error.add_note(f"of {chosen}")
                    raise

        asked = inspect.signature(test)
        left = [parameter for name, parameter in asked.parameters.items() if name not in keys]
        run.__signature__ = asked.replace(parameters=left)  # what pytest brings
        return run

    return decorate
