"""A MetadataFilter as a condition: on the key's search slot where it has one, else on the jsonb column.

That is keyed by type and then key.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from typing import Any, TypeAlias

from django.db.models import BigIntegerField, DecimalField, FloatField, TextField

from inference_store.contract.enums import MetadataFilterOperator
from inference_store.contract.filters import MetadataFilter, split_path
from inference_store.models.search_slot import Unfit, double_of, slot_type
from inference_store.query.conditions import Condition, Written, all_of, any_of
from inference_store.query.numbers import Compared

Slots: TypeAlias = Mapping[tuple[str, str], str]
"""The column that repeats a key's values, by (type, key)."""

MOST_CONTAINMENTS = 50
"""Values of an `in` list up to which each is looked up in the GIN index; beyond, one pass compares."""

ARRAY_INDEX = re.compile(r"[0-9]+", re.ASCII)


def value_of(type_: str, key: str, slots: Slots) -> Written:
    """The metadata value of a plain key as a comparable expression, NULL where it is not held."""
    stored = _stored_value_of(type_, key)
    if slot := slots.get((type_, key)):
        output = FloatField() if isinstance(stored.output_field, BigIntegerField) else stored.output_field
        return Written(f"r.{slot}", (), output)
    return stored


def _stored_value_of(type_: str, key: str) -> Written:
    member = "r.metadata -> %s::text -> %s::text"
    if type_ == "int":
        return Written(f"({member})::bigint", (type_, key), BigIntegerField())
    if type_ == "float":
        return Written(f"({member})::float8", (type_, key), FloatField())
    return Written(f"""({member} #>> '{{}}') collate "C\"""", (type_, key), TextField())


def json_value_of(kind: str, path: list[str]) -> Written:
    """The value at a path inside a json key, NULL where its kind is another."""
    node, values = "r.metadata -> 'json' -> %s::text", [path[0]]
    for segment in path[1:]:
        # Only plain digits may walk into an array: #> would also take "-1" or " 1".
        node += " #> array[%s::text]" if ARRAY_INDEX.fullmatch(segment) else " -> %s::text"
        values.append(segment)
    if kind == "string":
        text = f"(case when jsonb_typeof({node}) = 'string' then {node} #>> '{{}}' end) collate \"C\""
        return Written(text, values * 2, TextField())
    number = f"(case when jsonb_typeof({node}) = 'number' then ({node})::numeric end)"
    if kind == "float":
        return Written(number, values * 2, DecimalField())
    return Written(f"(case when mod({number}, 1) = 0 then {number} end)", values * 4, DecimalField())


def _document(type_: str, path: list[str], value: Any) -> str:
    """The jsonb that contains exactly that value at that path."""
    held = reduce(lambda inner, segment: {segment: inner}, reversed(path), value)
    return json.dumps({type_: held})


def metadata_condition(wanted: MetadataFilter, slots: Slots) -> Condition:
    """The condition that one metadata filter puts on an inference."""
    slot = slots.get((slot_type(str(wanted.type)), wanted.key))
    on_slot = _slot_condition(wanted, slot) if slot else None
    return _stored_condition(wanted) if on_slot is None else on_slot


def _slot_condition(wanted: MetadataFilter, slot: str) -> Condition | None:
    """The condition on a slot; None where the slot's type can't say it."""
    kind = str(wanted.type).removeprefix("json.")
    try:
        operands: list[Any] = [each if isinstance(each, str) else double_of(each) for each in wanted.operands]
    except Unfit:
        return None
    if kind == "string":
        return _comparison(wanted, f"r.{slot}", (), operands, "text")
    operator = MetadataFilterOperator(wanted.operator)
    value = tuple(operands) if operator is MetadataFilterOperator.IN else operands[0]
    condition = _comparison(wanted, f"r.{slot}", (), operands, "float8")
    condition.asked = Compared(slot, operator.value, value)
    if wanted.type == "json.int":  # the slot holds the numbers with a fraction too
        whole = Condition(f"r.{slot} = floor(r.{slot})", asked=Compared(slot, "is whole"))
        return all_of([condition, whole])
    return condition


def _stored_condition(wanted: MetadataFilter) -> Condition:
    in_json = str(wanted.type).startswith("json.")
    kind = str(wanted.type).removeprefix("json.")
    path = split_path(wanted.key) if in_json else [wanted.key]
    operands = wanted.operands
    operator = MetadataFilterOperator(wanted.operator)
    # Containment does not walk into arrays by position.
    indexed = not any(ARRAY_INDEX.fullmatch(segment) for segment in path[1:])
    if operator in ("=", "in") and indexed and 0 < len(operands) <= MOST_CONTAINMENTS:
        held_under = "json" if in_json else kind
        documents = [_document(held_under, path, each) for each in operands]
        return any_of([Condition("r.metadata @> %s::jsonb", each) for each in documents])
    value = json_value_of(kind, path) if in_json else _stored_value_of(kind, wanted.key)
    array_type = {"string": "text", "int": "bigint", "float": "float8"}[kind]
    comparable: list[Any] = list(operands)
    if in_json and kind != "string":
        array_type, comparable = "numeric", [Decimal(repr(each)) for each in operands]
    return _comparison(wanted, value.text, value.values, comparable, array_type)


def _comparison(
    wanted: MetadataFilter, text: str, values: tuple[Any, ...], operands: list[Any], array_type: str
) -> Condition:
    operator = MetadataFilterOperator(wanted.operator)
    if operator is MetadataFilterOperator.IN:
        return Condition(f"{text} = any(%s::{array_type}[])", *values, operands)
    # `!=` gives NULL, so no match, where there is no value. Written out, -2⁶³::bigint would begin with 2⁶³.
    return Condition(f"{text} {operator.value} cast(%s as {array_type})", *values, operands[0])
