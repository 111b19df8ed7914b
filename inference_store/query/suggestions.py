"""What one may be about to type: labels, sources, metadata keys, paths into JSON, and values, with counts."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, JSONField, Max, Min, Q, QuerySet

from inference_store.contract.filters import split_path
from inference_store.models import Catalogue, Entry, Inference, RegisteredModel, SearchSlot
from inference_store.query.conditions import Written
from inference_store.query.facets import labels
from inference_store.query.metadata_conditions import Slots, json_value_of, value_of

MOST_SUGGESTED = 20
MOST_CATALOGUED = 1_000
"""Values that a catalogue counts at most."""
SAMPLED_ROWS = 200
"""The newest inferences whose JSON is looked into."""
SAMPLED_NODES = 20_000
MOST_PATHS = 150
DEEPEST_PATH = 5
NEWEST = 2_000
"""Rows among which values are counted where counting all of them takes too long."""

Counted = list[tuple[str, int]]


@dataclass(frozen=True)
class JsonPath:
    """A key that `json.*` filters take, the type that fits it, and in how many sampled rows it was."""

    key: str
    type: str
    count: int


def labels_like(model: RegisteredModel, prefix: str) -> Counted:
    """The most frequent labels that begin so, whatever their case where all labels are counted."""
    if Catalogue.objects.exact(model, "label").exists():
        return _beginning(labels(model, MOST_CATALOGUED), prefix)
    found = Entry.objects.live(model).filter(label__startswith=prefix)
    counted = found.values_list("label").annotate(n=Count("inference_id")).order_by("-n", "label")
    return list(counted[:MOST_SUGGESTED])


def sources_like(model: RegisteredModel, prefix: str) -> Counted:
    if (kept := Catalogue.objects.values_of(model, "data_source")) is not None:
        return _beginning(kept, prefix)
    return _counted(Inference.objects.filter(registered_model=model), F("data_source"), prefix)


def values_like(
    model: RegisteredModel, type_: str, key: str, prefix: str, *, newest: bool = False
) -> Counted:
    """The most frequent values of a string key, or string at a path into JSON, that begin so.

    `newest`: among the newest inferences only.
    """
    slots = SearchSlot.objects.searched(model)
    if (slot := slots.get((type_, key))) and (kept := Catalogue.objects.values_of(model, slot)) is not None:
        return _beginning(kept, prefix)
    return _counted(_rows(model, newest), _value(type_, key, slots), prefix)


def range_of(
    model: RegisteredModel, type_: str, key: str, *, newest: bool = False
) -> tuple[float, float] | None:
    """The least and the greatest value of a numeric key, or number at a path; None where there is none."""
    valued = _rows(model, newest).annotate(value=_value(type_, key, SearchSlot.objects.searched(model)))
    seen = valued.filter(value__isnull=False).aggregate(low=Min("value"), high=Max("value"))
    return None if seen["low"] is None else (float(seen["low"]), float(seen["high"]))


def json_paths(model: RegisteredModel) -> list[JsonPath]:
    """Where the newest inferences' JSON holds numbers and strings, most frequent first. One query."""
    newest = Inference.objects.filter(registered_model=model).order_by("-created_at", "-id")
    documents = newest.annotate(documents=Written("r.metadata -> 'json'", (), JSONField())).values_list(
        "documents", flat=True
    )
    found: Counter[tuple[str, str]] = Counter()
    left = SAMPLED_NODES
    for held in documents[:SAMPLED_ROWS]:
        seen: set[tuple[str, str]] = set()
        left = _walk(held or {}, seen, left)
        found.update(seen)
        if left <= 0:
            break
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [JsonPath(key, type_, count) for (key, type_), count in ranked[:MOST_PATHS]]


def _walk(documents: dict[str, Any], seen: set[tuple[str, str]], left: int) -> int:
    """Note the paths of one inference's JSON; how many more nodes may be looked at."""
    waiting: list[tuple[str, Any, int]] = [(_segment(key), value, 1) for key, value in documents.items()]
    while waiting and left > 0:
        path, value, depth = waiting.pop()
        left -= 1
        if isinstance(value, dict):
            inner: Any = value.items()
        elif isinstance(value, list):
            inner = ((str(place), item) for place, item in enumerate(value[:3]))
        else:
            if isinstance(value, str):
                seen.add((path, "json.string"))
            elif isinstance(value, int | float) and not isinstance(value, bool):
                seen.add((path, "json.float"))
            continue
        if depth < DEEPEST_PATH:
            waiting.extend((f"{path}.{_segment(key)}", item, depth + 1) for key, item in inner)
    return left


def _rows(model: RegisteredModel, newest: bool) -> QuerySet[Inference]:
    rows: QuerySet[Inference] = Inference.objects.filter(registered_model=model)
    if not newest:
        return rows
    return Inference.objects.filter(pk__in=rows.order_by("-created_at", "-id").values("pk")[:NEWEST])


def _segment(key: str) -> str:
    return key.replace(".", "\\.")


def _value(type_: str, key: str, slots: Slots) -> Written:
    if not type_.startswith("json."):
        return value_of(type_, key, slots)
    return json_value_of(type_.removeprefix("json."), split_path(key))


def _counted(rows: QuerySet[Inference], value: Written | F, prefix: str) -> Counted:
    valued: QuerySet[Any] = rows.annotate(value=value)
    fitting = valued.filter(Q(value__startswith=prefix) if prefix else Q(value__isnull=False))
    counted = fitting.values_list("value").annotate(n=Count("pk")).order_by("-n", "value")
    return list(counted[:MOST_SUGGESTED])


def _beginning(kept: Counted, prefix: str) -> Counted:
    folded = prefix.casefold()
    return [each for each in kept if each[0].casefold().startswith(folded)][:MOST_SUGGESTED]
