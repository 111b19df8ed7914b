"""The filter panel: what a model's inferences can be narrowed by, and what is set now."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, TypeVar

from django.http import QueryDict

from dashboard.bounded import in_time
from dashboard.similarity import DEFAULT_METRIC, METRICS
from dashboard.similarity import PARAMETERS as SIMILARITY
from inference_store.contract.enums import (
    ACTIONS_OF_TASK,
    MetadataFilterOperator,
    MetadataFilterType,
    TaskType,
)
from inference_store.contract.filters import parse_instant
from inference_store.filtersets import (
    PAGE_POSITION,
    InferenceFilterSet,
    metadata_text,
    without_empties,
    zoned,
)
from inference_store.models import RegisteredModel
from inference_store.query.facets import data_sources, labels
from inference_store.query.statistics import key_type_counts
from inference_store.query.suggestions import json_paths
from inference_store.query.volumes import last_seen

PAGE_NAMES = ("view", "columns", "fields", "trail", "charts", "bins", "viewport", *SIMILARITY)
"""Parameters that say how a page shows its inferences, not which."""
CONDITION = ("metadata_key", "metadata_type", "metadata_operator", "metadata_value")
"""The inputs of a new metadata condition, which become one `metadata` parameter."""
AS_GIVEN = {"start": "start_given", "end": "end_given"}
"""The moments as the address has them: the form's own inputs know no fractions of a second."""
MOST_KEYS = 200
MOST_SELECTED = 12
"""Sources to choose among; more are suggested as one types."""
FACETS_MS = 250
"""What labels and sources may take before the page goes without: they are suggested as one types."""
WEIGHT_OF_CHOICES = 10_000
"""Characters of all values in one list of choices, which can be 512 each."""
SORTS = (("created_at", "Time"), ("label", "Label"), ("score", "Score"))
PRESETS = (
    ("last hour", timedelta(hours=1)),
    ("last day", timedelta(days=1)),
    ("last week", timedelta(days=7)),
)
BY_DISTANCE = ("embedding_distance", "Distance")

T = TypeVar("T")


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
    count: int | None


@dataclass(frozen=True)
class Preset:
    """A time window in words, where it starts as the form has it, and the query string with it."""

    words: str
    start: str
    query: str
    is_chosen: bool


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
    sorts: list[Choice]
    types: list[str]
    operators: list[str]
    metrics: list[Choice]
    presets: list[Preset]
    cut_short: bool

    @property
    def key_names(self) -> list[str]:
        return [row.key for row in self.keys]

    @property
    def plain_keys(self) -> list[str]:
        """Those whose values fit in a cell."""
        return [row.key for row in self.keys if row.filter_type and row.count is not None]

    @property
    def has_many_labels(self) -> bool:
        """Whether there may be others than are listed."""
        return self.cut_short or len(self.labels) > MOST_SELECTED

    @property
    def has_few_sources(self) -> bool:
        return len(self.sources) <= MOST_SELECTED and not self.cut_short


def canonical_query(data: QueryDict, model: RegisteredModel) -> str | None:
    """The query string as it should be: empties dropped, a new condition merged in; None if it is."""
    of_the_form = {*CONDITION, *AS_GIVEN.values()}
    pairs = [_as_given(data, *pair) for pair in without_empties(data) if pair[0] not in of_the_form]
    if key := data.get("metadata_key"):
        type_ = data.get("metadata_type") or likely_type(model, key, data.get("metadata_value", ""))
        operator = data.get("metadata_operator") or "="
        pairs.append(("metadata", metadata_text(key, type_, operator, data.get("metadata_value", ""))))
    given = [(name, text) for name, texts in data.lists() for text in texts]
    if pairs == given:
        return None
    canonical = QueryDict(mutable=True)
    for name, text in pairs:
        canonical.appendlist(name, text)
    return canonical.urlencode()


def likely_type(model: RegisteredModel, key: str, value: str) -> str:
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


def _as_given(data: QueryDict, name: str, text: str) -> tuple[str, str]:
    """A moment that the form shows without its fraction is still the one that the form was made with."""
    given = data.get(AS_GIVEN.get(name, ""), "")
    return name, given if given and _local(given) and _local(given) == _local(text) else text


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
    listed = [Choice(value, value, count, value in chosen) for value, count in known]
    return absent + light(listed, lambda each: each.value)


def light(rows: list[T], text_of: Callable[[T], str]) -> list[T]:
    """The first of them, as far as their texts make a page no heavier than it may be."""
    weight, kept = 0, []
    for row in rows:
        weight += len(text_of(row).encode())
        if weight > WEIGHT_OF_CHOICES:
            break
        kept.append(row)
    return kept


def _keys(model: RegisteredModel) -> list[MetadataKeyChoice]:
    """The model's keys; in place of those that hold JSON, the paths into it."""
    rows, has_json = [], False
    for key, types in key_type_counts(model).counts.items():
        most = max(types, key=lambda type_: types[type_])
        has_json = has_json or "json" in types
        filter_type = "" if most == "json" else most
        rows.append(MetadataKeyChoice(key, ", ".join(types), filter_type, sum(types.values())))
    rows.sort(key=lambda row: (-(row.count or 0), row.key))
    paths = (in_time(lambda: json_paths(model), FACETS_MS) or []) if has_json else []
    rows = rows[:MOST_KEYS] + [
        MetadataKeyChoice(path.key, path.type, path.type, None) for path in paths if "." in path.key
    ]
    return light(rows, lambda row: row.key)


def _presets(model: RegisteredModel, data: QueryDict) -> list[Preset]:
    """The last hour, day and week before the newest inference; nothing where there is none."""
    newest = last_seen(model)
    found = []
    for words, span in PRESETS:
        if newest is None:
            break
        start = (newest - span).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = data.copy()
        for name in ("end", *PAGE_POSITION):
            query.pop(name, None)
        query["start"] = start
        is_chosen = _local(data.get("start", "")) == _local(start) and not data.get("end")
        found.append(Preset(words, _local(start), query.urlencode(), is_chosen))
    return found


def filter_panel(model: RegisteredModel, filterset: InferenceFilterSet) -> FilterPanel:
    """The panel of a model, as the query string sets it."""
    data = filterset.data
    found_labels = in_time(lambda: labels(model), FACETS_MS)
    found_sources = in_time(lambda: data_sources(model), FACETS_MS)
    keys = _keys(model)
    errors = {name: " ".join(map(str, texts)) for name, texts in filterset.errors.items()}
    values: dict[str, Any] = {name: data.get(name, "") for name in filterset.filters}
    values |= {name: _local(values[name]) if name not in errors else "" for name in ("start", "end")}
    values |= {as_given: data.get(name, "") if values[name] else "" for name, as_given in AS_GIVEN.items()}
    values |= {name: data.get(name, "") for name in SIMILARITY}
    sorts = (BY_DISTANCE, *SORTS) if values["similar_to"] or values["vector"] else SORTS
    actions = sorted(action.value for action in ACTIONS_OF_TASK[TaskType(model.task_type)])
    return FilterPanel(
        values=values,
        errors=errors,
        unknown={
            name: text
            for name, text in errors.items()
            if name not in filterset.filters and name not in SIMILARITY
        },
        actions=[Choice(action, action, None, action == values["action"]) for action in actions],
        sources=_choices(found_sources, data.getlist("data_source")),
        labels=_choices(found_labels, data.getlist("label")),
        conditions=data.getlist("metadata"),
        keys=keys,
        sorts=[Choice(value, words, None, value == values["sort"]) for value, words in sorts],
        types=[type_.value for type_ in MetadataFilterType],
        operators=[operator.value for operator in MetadataFilterOperator],
        metrics=[
            Choice(value, words, None, value == (values["metric"] or DEFAULT_METRIC))
            for value, words in METRICS.items()
        ],
        presets=_presets(model, data),
        cut_short=found_labels is None or found_sources is None,
    )
