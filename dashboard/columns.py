"""The columns of the table: facts that every inference has, and metadata keys."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from inference_store.contract.filters import split_path
from inference_store.contract.inferences import Inference
from inference_store.filtersets import PAGE_POSITION, without_empties

FACTS = {
    "created_at": "Created (UTC)",
    "labels": "Labels",
    "entries": "Entries",
    "data_source": "Source",
    "place": "Place",
    "inference_action": "Action",
    "is_protected": "Protection",
    "data_hash": "Data hash",
}
USUAL_FACTS = ("created_at", "labels", "entries", "data_source", "place")
FACTS_OF_ENTRIES = ("labels", "entries")
USUAL_KEYS = 3
CHOSEN = "inference_id"
"""Given as a fact by the chooser besides those ticked, so that ticking none means none."""
MOST_COLUMNS = 40
LONGEST_CELL = 80


@dataclass(frozen=True)
class ColumnChoice:
    value: str
    words: str
    is_chosen: bool


@dataclass(frozen=True)
class Columns:
    """What the table shows, what it can show, and the rest of the query string to keep."""

    facts: list[ColumnChoice]
    keys: list[ColumnChoice]
    kept: list[tuple[str, str]]

    @property
    def shown_facts(self) -> list[ColumnChoice]:
        return [each for each in self.facts if each.is_chosen]

    @property
    def shown_keys(self) -> list[str]:
        return [each.value for each in self.keys if each.is_chosen]


def columns_of(data: QueryDict, known: list[str], plain: list[str], *, has_entries: bool = True) -> Columns:
    """The columns that the query string names; without any, some facts and the first plain keys.

    `has_entries`: whether inferences of the model can have entries at all.
    """
    usual = [name for name in USUAL_FACTS if has_entries or name not in FACTS_OF_ENTRIES]
    is_chosen = "fields" in data or "columns" in data
    facts = data.getlist("fields") if "fields" in data else usual
    named = data.getlist("columns")[:MOST_COLUMNS] if is_chosen else plain[:USUAL_KEYS]
    keys = list(dict.fromkeys([*named, *known]))
    away = ("fields", "columns", *PAGE_POSITION)
    return Columns(
        facts=[ColumnChoice(name, words, name in facts) for name, words in FACTS.items()],
        keys=[ColumnChoice(key, key, key in named) for key in keys],
        kept=[(name, text) for name, text in without_empties(data) if name not in away],
    )


def cells_of(inference: Inference, columns: list[str]) -> list[str]:
    """The metadata under those keys, or paths into JSON, cut to what fits in a row."""
    values = {item.key: item.value for item in inference.metadata or []}
    cells = [values[column] if column in values else _within(values, column) for column in columns]
    return [cell if len(cell) <= LONGEST_CELL else cell[: LONGEST_CELL - 1] + "…" for cell in cells]


def _within(values: dict[str, str], path: str) -> str:
    """What lies at that path in a JSON value; empty where nothing does."""
    first, *rest = split_path(path)
    if not rest or first not in values:
        return ""
    try:
        found: Any = json.loads(values[first])
    except (ValueError, RecursionError):
        return ""
    for segment in rest:
        if isinstance(found, dict) and segment in found:
            found = found[segment]
        elif isinstance(found, list) and segment.isascii() and segment.isdigit() and len(segment) < 9:
            found = found[int(segment)] if int(segment) < len(found) else None
        else:
            return ""
    return found if isinstance(found, str) else "" if found is None else json.dumps(found)
