"""Conditions as SQL, for statements written out and for the ORM alike.

The ORM takes longer to put a statement of a few conditions together than PostgreSQL to answer it.
"""

import re
from collections.abc import Sequence
from typing import Any

from django.db.models import BooleanField, F, Field, Func, Value

from inference_store.models import Entry, Inference
from inference_store.query.numbers import Asked, joined

TABLE, ENTRIES = Inference._meta.db_table, Entry._meta.db_table
COLUMN_OF = {"r": re.compile(r"\br\."), "e": re.compile(r"\be\.")}
KEY_OF = {"r": "id", "e": "inference_id"}


class Written(Func):
    """SQL of the columns of inferences, as `r`, or of entries, as `e`, with a value for each %s of it.

    The ORM takes it as any expression, whatever it calls the table; a statement written out takes its text.
    """

    def __init__(self, text: str, values: Sequence[Any], output: "Field[Any, Any]", of: str = "r") -> None:
        # The column tells what the table is called.
        super().__init__(F(KEY_OF[of]), output_field=output)
        self.text, self.values, self.of = text, tuple(values), of

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        table = compiler.compile(self.get_source_expressions()[0])[0].rpartition(".")[0]
        return COLUMN_OF[self.of].sub(f"{table}.", f"({self.text})"), self.values


class Condition(Written):
    """What holds for an inference, or for an entry.

    `row_by_row`: how to ask it of a few rows that are read one after the other, where that is another way.
    `asked`: how to ask it of columns of numbers, where that can be done.
    """

    conditional = True

    def __init__(
        self,
        text: str,
        *values: Any,
        of: str = "r",
        row_by_row: str | None = None,
        asked: Asked | None = None,
    ) -> None:
        super().__init__(text, values, BooleanField(), of=of)
        self.row_by_row, self.asked = row_by_row or text, asked


def all_of(conditions: Sequence[Condition]) -> Condition:
    return _joined("and", conditions) if conditions else Condition("true")


def any_of(conditions: Sequence[Condition]) -> Condition:
    return _joined("or", conditions) if conditions else Condition("false")


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    (of,) = {each.of for each in conditions}
    text, row_by_row = (
        f" {word} ".join(f"({part})" for part in parts)
        for parts in zip(*((each.text, each.row_by_row) for each in conditions), strict=True)
    )
    values = [value for each in conditions for value in each.values]
    asked = joined(word, [each.asked for each in conditions])
    return Condition(text, *values, of=of, row_by_row=row_by_row, asked=asked)


class EqualsAny(Func):
    """`value = any(array)`: one hashed pass, however many values. A list, or as PostgreSQL spells one."""

    template = "(%(expressions)s)"
    output_field = BooleanField()
    conditional = True

    def __init__(self, value: Any, values: list[Any] | str, array_type: str) -> None:
        super().__init__(value, Value(values))
        self.arg_joiner = " = any("
        self.template = f"(%(expressions)s::{array_type}[]))"
