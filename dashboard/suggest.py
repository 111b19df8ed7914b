"""Suggestions while one types, each bounded in time: without them a field is a plain input."""

from dataclasses import dataclass

from dashboard.bounded import in_time
from inference_store.models import RegisteredModel
from inference_store.query import suggestions

SUGGEST_MS = 600
LONGEST_PREFIX = 200
TEXT_TYPES = ("string", "json.string")
NUMBER_TYPES = ("int", "float", "json.int", "json.float")


@dataclass(frozen=True)
class Suggestions:
    """Values with how many there are of each, and what else there is to say of the field."""

    options: list[tuple[str, int]]
    hint: str = ""


def suggest(model: RegisteredModel, field: str, prefix: str, key: str, type_: str) -> Suggestions:
    """What fits the beginning of a field; nothing where that takes too long."""
    prefix = prefix[:LONGEST_PREFIX]
    if "\x00" in prefix + key:
        return Suggestions([])
    if field == "label":
        return Suggestions(in_time(lambda: suggestions.labels_like(model, prefix), SUGGEST_MS) or [])
    if field == "data_source":
        return Suggestions(in_time(lambda: suggestions.sources_like(model, prefix), SUGGEST_MS) or [])
    if field == "value" and key and type_ in TEXT_TYPES:
        return _values(model, type_, key, prefix)
    if field == "value" and key and type_ in NUMBER_TYPES:
        return _range(model, type_, key)
    return Suggestions([])


def _range(model: RegisteredModel, type_: str, key: str) -> Suggestions:
    asked = in_time(lambda: [suggestions.range_of(model, type_, key)], SUGGEST_MS)
    among = ""
    if asked is None:
        asked = in_time(lambda: [suggestions.range_of(model, type_, key, newest=True)], SUGGEST_MS)
        among = f" among the newest {suggestions.NEWEST:,} inferences"
    found = asked[0] if asked else None
    return Suggestions([], f"from {found[0]:,.6g} to {found[1]:,.6g}{among}" if found else "")


def _values(model: RegisteredModel, type_: str, key: str, prefix: str) -> Suggestions:
    found = in_time(lambda: suggestions.values_like(model, type_, key, prefix), SUGGEST_MS)
    if found is not None:
        return Suggestions(found)
    found = in_time(lambda: suggestions.values_like(model, type_, key, prefix, newest=True), SUGGEST_MS)
    hint = f"counted among the newest {suggestions.NEWEST:,} inferences" if found else ""
    return Suggestions(found or [], hint)
