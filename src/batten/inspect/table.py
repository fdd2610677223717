"""Tables: what the functions of this package return."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ..printing import aligned

__all__: list[str] = []

Row = TypeVar("Row", bound=tuple[Any, ...])
WIDEST = 40  # what does not fit is cut off


class Table(list[Row], Generic[Row]):
    """A list of named tuples of one kind, which is written as a table under the names of their fields.

    None, for what there is nothing to say of, is left blank.

    >>> from typing import NamedTuple
    >>> class Planet(NamedTuple):
    ...     name: str
    ...     mean_distance: float
    ...     moons: int | None
    >>> Table([Planet("Venus", 0.72333, None), Planet("Earth", 1.0, 1)])
               mean
    name   distance  moons
    Venus    0.7233
    Earth         1      1
    """

    def __repr__(self) -> str:
        if not self:
            return "nothing"
        fields: tuple[str, ...] = self[0]._fields  # type: ignore[attr-defined]
        names = [name.split("_") for name in fields]
        height = max(map(len, names))
        header = zip(*[[""] * (height - len(words)) + words for words in names], strict=True)
        return aligned([*header, *[[written(value) for value in row] for row in self]])


def written(value: Any) -> str:
    """A cell of a table.

    >>> written([[0, 1, 2], [4, 6]])
    '0-2 4+6'
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(map(numbers, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def numbers(group: list[int]) -> str:
    """Numbers in rising order, with those that follow one another as spans."""
    spans: list[list[int]] = []
    for n in group:
        if spans and n == spans[-1][-1] + 1:
            spans[-1][1:] = [n]
        else:
            spans.append([n])
    return "+".join("-".join(map(str, span)) for span in spans)
