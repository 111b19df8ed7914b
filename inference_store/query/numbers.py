"""Conditions asked of columns of numbers: what SQL says of one row, numpy says of all of them.

NaN stands for null, of which nothing holds but that it is null. Times are microseconds since 2000.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Mask: TypeAlias = npt.NDArray[np.bool_]
Columns: TypeAlias = Callable[[str], Array]
"""A column by its name."""

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
HOLDS: dict[str, Callable[[Array, Any], Any]] = {
    "=": np.equal,
    "!=": lambda numbers, value: (numbers != value) & ~np.isnan(numbers),
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "in": lambda numbers, values: np.isin(numbers, values),
    "is not null": lambda numbers, _: ~np.isnan(numbers),
    "is whole": lambda numbers, _: np.floor(numbers) == numbers,
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A column with a value, or with a tuple of some."""

    column: str
    operator: str
    value: Any = None

    @property
    def names(self) -> set[str]:
        return {self.column}

    def mask(self, columns: Columns) -> Mask:
        found: Mask = HOLDS[self.operator](columns(self.column), self.value)
        return found


@dataclass(frozen=True, slots=True)
class Joined:
    """All of these, or any of them."""

    word: str
    parts: "tuple[Asked, ...]"

    @property
    def names(self) -> set[str]:
        return {name for part in self.parts for name in part.names}

    def mask(self, columns: Columns) -> Mask:
        join = np.logical_and if self.word == "and" else np.logical_or
        found: Mask = reduce(join, (part.mask(columns) for part in self.parts))
        return found


Asked: TypeAlias = Compared | Joined


def joined(word: str, parts: Sequence[Asked | None]) -> Asked | None:
    """None where one of them can't be asked of columns."""
    known = [each for each in parts if each is not None]
    return Joined(word, tuple(known)) if len(known) == len(parts) else None


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
