"""The contract's filter as conditions, and these as a queryset or as a statement: the one place for that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.models import QuerySet

from inference_store.contract.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    MetadataFilter,
    TimeWindowFilter,
    parse_instant,
)
from inference_store.models import Inference, RegisteredModel, SearchSlot
from inference_store.models.segment import TIME
from inference_store.query.conditions import ENTRIES, Condition, all_of
from inference_store.query.metadata_conditions import Slots, metadata_condition
from inference_store.query.numbers import Compared, microseconds
from inference_store.query.places import located
from inference_store.query.uses import note_filters

Stated: TypeAlias = "tuple[str, list[Any]]"
"""What follows `where` in a statement on inferences as `r`, and its values."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a filter asks, apart by what it means for a page in order of time.

    Of what satisfies `in_order`, an index gives the newest or oldest; `others` must be tried. `is_rare`: so
    few are meant that these are better collected at once.
    """

    in_order: list[Condition]
    others: list[Condition]
    is_rare: bool = False

    @property
    def all(self) -> list[Condition]:
        return [*self.in_order, *self.others]


def matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> QuerySet[Inference]:
    """The model's inferences for which all given filters hold: charts, maps, exports and deletes start here,
    pages, counts and histograms from the same conditions."""
    queryset: QuerySet[Inference] = Inference.objects.filter(registered_model=model)
    conditions = conditions_of(model, filters).all
    return queryset.filter(all_of(conditions)) if conditions else queryset


def stated(model: RegisteredModel, conditions: Sequence[Condition]) -> Stated:
    """Those conditions, of the model's inferences, as a statement has them."""
    held = all_of([Condition("r.registered_model_id = %s", model.pk), *conditions])
    return held.text, list(held.values)


def conditions_of(
    model: RegisteredModel, filters: BaseInferenceFilter | None, slots: Slots | None = None
) -> Conditions:
    """What the filter asks, by these slots; without them by those there are, and its keys' use is noted."""
    filters = filters or BaseInferenceFilter()
    in_order: list[Condition] = []
    others: list[Condition] = []
    if filters.time_window_filter is not None:
        in_order += _time_conditions(filters.time_window_filter)
    if filters.data_source_filter is not None:
        in_order.append(Condition("r.data_source = %s", filters.data_source_filter))
    if filters.inference_action_filter is not None:
        others.append(Condition("r.action = %s", filters.inference_action_filter))
    if filters.data_hash_filter is not None:
        others.append(_hash_condition(filters.data_hash_filter))
    if filters.metadata_filter:
        if slots is None:
            note_filters(model, filters.metadata_filter)
            slots = SearchSlot.objects.searched(model)
        for each in filters.metadata_filter:
            # One index has the rows of one data source, or of one string, in order of time.
            ordered = filters.data_source_filter is None and _is_one_string(each, slots)
            (in_order if ordered else others).append(metadata_condition(each, slots))
    if filters.location_filter is not None:
        others.append(located(filters.location_filter))
    if wanted := entry_condition(filters.deconstructed_inference_filter):
        others.append(has_entry(model, wanted))
    return Conditions(in_order, others, is_rare=filters.data_hash_filter is not None)


def _is_one_string(wanted: MetadataFilter, slots: Slots) -> bool:
    is_text = wanted.type in ("string", "json.string")
    return is_text and wanted.operator == "=" and (str(wanted.type), wanted.key) in slots


def _hash_condition(text: str) -> Condition:
    try:
        digest = bytes.fromhex(text) if len(text) == 64 and text.isalnum() else None
    except ValueError:
        digest = None
    return Condition("r.data_hash = %s", digest) if digest else Condition("false")


def _time_conditions(window: TimeWindowFilter) -> list[Condition]:
    return [
        Condition(f"r.created_at {operator} %s", moment, asked=Compared(TIME, operator, microseconds(moment)))
        for operator, given in ((">=", window.start), ("<=", window.end))
        if given is not None
        for moment in [parse_instant(given)]
    ]


def entry_condition(wanted: DeconstructedInferenceFilter | None) -> Condition | None:
    """What one entry must satisfy; None where nothing is asked of it."""
    asked = []
    if wanted and wanted.labels is not None:
        # An index has the scores of one label in order, but only of one that is equal.
        one = len(wanted.labels) == 1
        held, labels = ("= %s", wanted.labels[0]) if one else ("= any(%s::text[])", wanted.labels)
        asked.append(Condition(f"e.label {held}", labels, of="e"))
    if wanted and wanted.minimum_score is not None:
        asked.append(Condition("e.score >= %s::float8", wanted.minimum_score, of="e"))
    if wanted and wanted.maximum_score is not None:
        asked.append(Condition("e.score <= %s::float8", wanted.maximum_score, of="e"))
    return all_of(asked) if asked else None


def has_entry(model: RegisteredModel, wanted: Condition | None) -> Condition:
    """That an inference has an entry like that, or any."""
    asked, values = (f" and {wanted.text}", wanted.values) if wanted else ("", ())
    # The model is repeated for the index that begins with it.
    entries = f"select from {ENTRIES} e where e.registered_model_id = %s and e.inference_id = r.id{asked}"  # nosec B608
    # The offset keeps it from being a join, for which entries of all inferences would be read first.
    return Condition(f"exists ({entries})", model.pk, *values, row_by_row=f"exists ({entries} offset 0)")
