"""A MetadataFilter as a condition: on the key's search slot where it has one, else on the jsonb column.

That is keyed by type and then key.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, TypeAlias

from django.db.models import (
    BigIntegerField,
    BooleanField,
    DecimalField,
    Exists,
    Expression,
    F,
    Field,
    FloatField,
    Func,
    JSONField,
    Q,
    TextField,
    Value,
)
from django.db.models.functions import Collate, Floor
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    Lookup,
)

from inference_store.contract.enums import MetadataFilterOperator
from inference_store.contract.filters import MetadataFilter, split_path
from inference_store.models.search_slot import Unfit, double_of, slot_type

Condition: TypeAlias = "Q | Exists | Expression | Lookup[Any]"
Slots: TypeAlias = Mapping[tuple[str, str], str]
"""The column that repeats a key's values, by (type, key)."""

MOST_CONTAINMENTS = 50
"""Values of an `in` list up to which each is looked up in the GIN index; beyond, one pass compares."""

ARRAY_INDEX = re.compile(r"[0-9]+", re.ASCII)
ORDER: "dict[str, type[Lookup[Any]]]" = {
    ">": GreaterThan,
    ">=": GreaterThanOrEqual,
    "<": LessThan,
    "<=": LessThanOrEqual,
}


class Step(Func):
    """`object -> key`: the member of an object, NULL where there is none."""

    template = "(%(expressions)s)"
    arg_joiner = " -> "
    output_field = JSONField()


class PathStep(Func):
    """`value #> '{segment}'`: the member of an object or the element of an array."""

    template = "(%(expressions)s)"
    arg_joiner = " #> "
    output_field = JSONField()


class AsInt(Func):
    template = "(%(expressions)s)::bigint"
    output_field = BigIntegerField()


class AsFloat(Func):
    template = "(%(expressions)s)::float8"
    output_field = FloatField()


class AsText(Func):
    template = "(%(expressions)s #>> '{}')"
    output_field = TextField()


class JsonNumber(Func):
    """A JSON number as numeric, exact; NULL for anything else."""

    template = "(case when jsonb_typeof(%(expressions)s) = 'number' then (%(expressions)s)::numeric end)"
    output_field: "Field[Any, Any]" = DecimalField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        sql, params = super().as_sql(compiler, connection, *args, **extra)
        return sql, (*params, *params)


class JsonText(JsonNumber):
    """A JSON string as text; NULL for anything else."""

    template = "(case when jsonb_typeof(%(expressions)s) = 'string' then %(expressions)s #>> '{}' end)"
    output_field = TextField()


class Whole(JsonNumber):
    """A number without a fraction; NULL for anything else."""

    template = "(case when mod(%(expressions)s, 1) = 0 then %(expressions)s end)"


class EqualsAny(Func):
    """`value = any(array)`: one hashed pass, however many values. A list, or as PostgreSQL spells one."""

    template = "(%(expressions)s)"
    output_field = BooleanField()
    conditional = True

    def __init__(self, value: Any, values: list[Any] | str, array_type: str) -> None:
        super().__init__(value, Value(values))
        self.arg_joiner = " = any("
        self.template = f"(%(expressions)s::{array_type}[]))"


class Differs(Exact):
    """`value <> other`: NULL, so no match, where there is no value."""

    lookup_name = "differs"

    def get_rhs_op(self, connection: Any, rhs: str) -> str:
        return f"<> {rhs}"


class Contains(Func):
    """`metadata @> document`, answered by the GIN index."""

    template = "(%(expressions)s::jsonb)"
    arg_joiner = " @> "
    output_field = BooleanField()
    conditional = True


def value_of(type_: str, key: str, slots: Slots) -> Expression | F:
    """The metadata value of a plain key as a comparable expression, NULL where it is not held."""
    if slot := slots.get((type_, key)):
        return F(slot)
    return _stored_value_of(type_, key)


def _stored_value_of(type_: str, key: str) -> Expression:
    member = Step(F("metadata"), Value(type_), Value(key))
    if type_ == "int":
        return AsInt(member)
    if type_ == "float":
        return AsFloat(member)
    return Collate(AsText(member), "C")


def json_value_of(kind: str, path: list[str]) -> Expression:
    """The value at a path inside a json key, NULL where its kind is another."""
    node: Expression = Step(F("metadata"), Value("json"), Value(path[0]))
    for segment in path[1:]:
        # Only plain digits may walk into an array: #> would also take "-1" or " 1".
        digits = ARRAY_INDEX.fullmatch(segment)
        node = PathStep(node, Value([segment])) if digits else Step(node, Value(segment))
    if kind == "string":
        return Collate(JsonText(node), "C")
    return JsonNumber(node) if kind == "float" else Whole(JsonNumber(node))


def _document(type_: str, path: list[str], value: Any) -> dict[str, Any]:
    """The jsonb that contains exactly that value at that path."""
    held = reduce(lambda inner, segment: {segment: inner}, reversed(path), value)
    return {type_: held}


def metadata_condition(wanted: MetadataFilter, slots: Slots) -> Condition:
    """The condition that one metadata filter puts on an inference."""
    slot = slots.get((slot_type(str(wanted.type)), wanted.key))
    on_slot = _slot_condition(wanted, slot) if slot else None
    return _stored_condition(wanted) if on_slot is None else on_slot


def _slot_condition(wanted: MetadataFilter, slot: str) -> "Condition | None":
    """The condition on a slot; None where the slot's type can't say it."""
    kind = str(wanted.type).removeprefix("json.")
    try:
        operands: list[Any] = [each if isinstance(each, str) else double_of(each) for each in wanted.operands]
    except Unfit:
        return None
    array_type = "text" if kind == "string" else "float8"
    condition = _comparison(MetadataFilterOperator(wanted.operator), F(slot), operands, array_type)
    if wanted.type == "json.int":  # the slot holds the numbers with a fraction too
        return Q(condition) & Q(Exact(F(slot), Floor(F(slot))))
    return condition


def _stored_condition(wanted: MetadataFilter) -> Condition:
    in_json = str(wanted.type).startswith("json.")
    kind = str(wanted.type).removeprefix("json.")
    path = split_path(wanted.key) if in_json else [wanted.key]
    operands = wanted.operands
    operator = MetadataFilterOperator(wanted.operator)
    # Containment does not walk into arrays by position.
    indexed = not any(ARRAY_INDEX.fullmatch(segment) for segment in path[1:]) and len(operands) > 0
    if operator in ("=", "in") and indexed and len(operands) <= MOST_CONTAINMENTS:
        held_under = "json" if in_json else kind
        return reduce(
            or_,
            (
                Q(Contains(F("metadata"), Value(_document(held_under, path, each), JSONField())))
                for each in operands
            ),
        )
    value = json_value_of(kind, path) if in_json else _stored_value_of(kind, wanted.key)
    array_type = {"string": "text", "int": "bigint", "float": "float8"}[kind]
    comparable: list[Any] = list(operands)
    if in_json and kind != "string":
        array_type, comparable = "numeric", [Decimal(repr(each)) for each in operands]
    return _comparison(operator, value, comparable, array_type)


def _comparison(
    operator: MetadataFilterOperator, value: Expression | F, operands: list[Any], array_type: str
) -> Condition:
    if operator is MetadataFilterOperator.IN:
        return EqualsAny(value, operands, array_type)
    if operator is MetadataFilterOperator.NOT_EQUAL:
        return Differs(value, operands[0])
    if operator is MetadataFilterOperator.EQUAL:
        return Exact(value, operands[0])
    return ORDER[operator.value](value, operands[0])
