"""The filter panel: what a model's inferences can be narrowed by, and what is set now."""

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.http import QueryDict

from dashboard.bounded import in_time
from inference_store.contract.enums import (
    ACTIONS_OF_TASK,
    MetadataFilterOperator,
    MetadataFilterType,
    TaskType,
)
from inference_store.contract.filters import parse_instant
from inference_store.filtersets import InferenceFilterSet, metadata_text, without_empties, zoned
from inference_store.models import RegisteredModel
from inference_store.query.facets import data_sources, labels
from inference_store.query.statistics import key_type_counts

PAGE_NAMES = ("view", "columns", "charts", "bins", "viewport")
"""Parameters that say how a page shows its inferences, not which."""
CONDITION = ("metadata_key", "metadata_type", "metadata_operator", "metadata_value")
"""The inputs of a new metadata condition, which become one `metadata` parameter."""
MOST_KEYS = 200
DEFAULT_COLUMNS = 3
SORTS = (("created_at", "Time"), ("label", "Label"), ("score", "Score"))


@dataclass(frozen=True)
class Choice:
    """A value one can choose; `count` is None where it is not known."""

    value: str
    words: str
    count: int | None
    is_chosen: bool


@dataclass(frozen=True)
class MetadataKeyChoice:
    key: str
    types: str
    filter_type: str
    count: int


@dataclass(frozen=True)
class FilterPanel:
    """Everything that `_filter_panel.html` shows. `values` and `errors` are by parameter."""

    values: dict[str, str]
    errors: dict[str, str]
    unknown: dict[str, str]
    actions: list[Choice]
    sources: list[Choice]
    labels: list[Choice]
    conditions: list[str]
    keys: list[MetadataKeyChoice]
    columns: list[Choice]
    sorts: list[Choice]
    types: list[str]
    operators: list[str]
    cut_short: bool

    @property
    def shown_columns(self) -> list[str]:
        return [column.value for column in self.columns if column.is_chosen]


def canonical_query(data: QueryDict, model: RegisteredModel) -> str | None:
    """The query string as it should be: empties dropped, a new condition merged in; None if it is."""
    pairs = [pair for pair in without_empties(data) if pair[0] not in CONDITION]
    if key := data.get("metadata_key"):
        type_ = data.get("metadata_type") or _likely_type(model, key, data.get("metadata_value", ""))
        operator = data.get("metadata_operator") or "="
        pairs.append(("metadata", metadata_text(key, type_, operator, data.get("metadata_value", ""))))
    given = [(name, text) for name, texts in data.lists() for text in texts]
    if pairs == given:
        return None
    canonical = QueryDict(mutable=True)
    for name, text in pairs:
        canonical.appendlist(name, text)
    return canonical.urlencode()


def _likely_type(model: RegisteredModel, key: str, value: str) -> str:
    """The type that the model's own values of that key have; a path into JSON goes by the value."""
    counts = key_type_counts(model).counts
    if held := counts.get(key) or counts.get(key.split(".")[0]):
        if key in counts and (plain := {type_: n for type_, n in held.items() if type_ != "json"}):
            return max(plain, key=lambda type_: plain[type_])
        return "json.float" if _is_number(value) else "json.string"
    return "float" if _is_number(value) else "string"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _local(text: str) -> str:
    """A time as a datetime-local input shows it, in UTC."""
    try:
        moment = parse_instant(zoned(text)).astimezone(UTC).replace(tzinfo=None)
    except ValueError:
        return ""
    return moment.isoformat(timespec="seconds")


def _choices(counted: list[tuple[str, int]] | None, chosen: list[str]) -> list[Choice]:
    """What there is, most frequent first, after what is chosen but not among it."""
    known = counted or []
    values = {value for value, _ in known}
    absent = [Choice(value, value, None, True) for value in dict.fromkeys(chosen) if value not in values]
    return absent + [Choice(value, value, count, value in chosen) for value, count in known]


def _keys(model: RegisteredModel) -> list[MetadataKeyChoice]:
    rows = []
    for key, types in key_type_counts(model).counts.items():
        most = max(types, key=lambda type_: types[type_])
        filter_type = "" if most == "json" else most
        rows.append(MetadataKeyChoice(key, ", ".join(types), filter_type, sum(types.values())))
    return sorted(rows, key=lambda row: (-row.count, row.key))[:MOST_KEYS]


def filter_panel(model: RegisteredModel, filterset: InferenceFilterSet) -> FilterPanel:
    """The panel of a model, as the query string sets it."""
    data = filterset.data
    found_labels, found_sources = in_time(lambda: labels(model)), in_time(lambda: data_sources(model))
    keys = _keys(model)
    errors = {name: " ".join(map(str, texts)) for name, texts in filterset.errors.items()}
    values: dict[str, Any] = {name: data.get(name, "") for name in filterset.filters}
    values |= {name: _local(values[name]) if name not in errors else "" for name in ("start", "end")}
    plain = [row.key for row in keys if row.filter_type]
    chosen_columns = data.getlist("columns") or plain[:DEFAULT_COLUMNS]
    actions = sorted(action.value for action in ACTIONS_OF_TASK[TaskType(model.task_type)])
    return FilterPanel(
        values=values,
        errors=errors,
        unknown={name: text for name, text in errors.items() if name not in filterset.filters},
        actions=[Choice(action, action, None, action == values["action"]) for action in actions],
        sources=_choices(found_sources, data.getlist("data_source")),
        labels=_choices(found_labels, data.getlist("label")),
        conditions=data.getlist("metadata"),
        keys=keys,
        columns=_choices([(row.key, row.count) for row in keys], chosen_columns),
        sorts=[Choice(value, words, None, value == values["sort"]) for value, words in SORTS],
        types=[type_.value for type_ in MetadataFilterType],
        operators=[operator.value for operator in MetadataFilterOperator],
        cut_short=found_labels is None or found_sources is None,
    )
