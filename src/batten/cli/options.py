"""What the options of commands may be, and what is said when they are not."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from ..callbacks import BAR
from ..random import Generator

__all__: list[str] = []


class UserError(Exception):
    """One sentence for the user."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"batten: {message} ({self.prog} --help lists what there is)\n")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number, at least `low` and at most `high`."""

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(text) and (high is None or int(text) <= high):
                return int(text)
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")

    return parse


def real(fits: Callable[[float], bool], limits: str) -> Callable[[str], float]:
    """The type of an option that is a number of which `fits` holds."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(float(text)):
                return float(text)
        raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text!r}")

    return parse


positive = real(lambda x: 0 < x < float("inf"), "above 0")
from_zero = real(lambda x: 0 <= x < float("inf"), "of at least 0")
share = real(lambda x: 0 <= x < 1, "from 0 to below 1")


def seed(text: str) -> int:
    try:
        Generator().manual_seed(int(text))
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number from -2^63 to 2^64 - 1, got {text!r}") from None


def one_of(names: Iterable[str]) -> Callable[[str], str | None]:
    """The type of an option that is one of some names, or `none`."""
    names = list(names)

    def parse(text: str) -> str | None:
        if text not in (*names, "none"):
            raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(names)}, none)")
        return None if text == "none" else text

    return parse


def names_of(names: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """The type of an option that is several of some names, with commas between them, or `none`."""
    names = list(names)

    def parse(text: str) -> tuple[str, ...]:
        given = () if text == "none" else tuple(text.split(","))
        for name in given:
            if name not in names:
                raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(names)}; or none)")
        return given

    return parse


def terms_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option that is name=number, or several of these with commas between them."""
    names = list(names)

    def parse(text: str) -> list[str]:
        terms = []
        for term in text.split(","):
            name, _, number = term.partition("=")
            if name not in names or not number:
                raise argparse.ArgumentTypeError(f"expected NAME=X, with a name of {', '.join(names)}, got {term!r}")
            terms.append(f"{name}={from_zero(number)!r}")
        return terms

    return parse


# ---- what is shown ----


def add_threads(parser: argparse._ActionsContainer) -> None:
    """The option of all commands that compute."""
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help="threads of the kernels")


def progress_bar(total: int, label: str, unit: str) -> Any:
    """A bar, if there is a terminal to show it."""
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit=unit, unit_scale=True, bar_format=BAR, leave=False, disable=None)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
