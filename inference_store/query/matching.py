"""The contract's filter as a queryset: the one place where that happens."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from inference_store.contract.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    MetadataFilter,
    TimeWindowFilter,
    parse_instant,
)
from inference_store.models import Entry, Inference, RegisteredModel, SearchSlot
from inference_store.query.metadata_conditions import Condition, Slots, metadata_condition
from inference_store.query.places import located
from inference_store.query.uses import note_filters


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a filter asks, apart by what it means for a page in order of time.

    Of what satisfies `in_order`, an index gives the newest or oldest; `others` must be tried. `is_rare`: so
    few are meant that these are better collected at once.
    """

    in_order: list[Condition]
    others: list[Condition]
    is_rare: bool = False


def matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> QuerySet[Inference]:
    """The model's inferences for which all given filters hold; every page, count, chart, export and
    delete starts here."""
    asked = conditions_of(model, filters)
    return narrowed(model, [*asked.in_order, *asked.others])


def narrowed(model: RegisteredModel, conditions: list[Condition]) -> QuerySet[Inference]:
    """The model's inferences for which the conditions hold."""
    queryset: QuerySet[Inference] = Inference.objects.filter(registered_model=model)
    for condition in conditions:
        queryset = queryset.filter(condition)
    return queryset


def conditions_of(model: RegisteredModel, filters: BaseInferenceFilter | None) -> Conditions:
    filters = filters or BaseInferenceFilter()
    in_order: list[Condition] = []
    others: list[Condition] = []
    if filters.time_window_filter is not None:
        in_order.append(_time_condition(filters.time_window_filter))
    if filters.data_source_filter is not None:
        in_order.append(Q(data_source=filters.data_source_filter))
    if filters.inference_action_filter is not None:
        others.append(Q(action=filters.inference_action_filter))
    if filters.data_hash_filter is not None:
        others.append(_hash_condition(filters.data_hash_filter))
    if filters.metadata_filter:
        note_filters(model, filters.metadata_filter)
        slots = SearchSlot.objects.searched(model)
        for each in filters.metadata_filter:
            # One index has the rows of one data source, or of one string, in order of time.
            ordered = filters.data_source_filter is None and _is_one_string(each, slots)
            (in_order if ordered else others).append(metadata_condition(each, slots))
    if filters.location_filter is not None:
        others.append(located(filters.location_filter))
    if filters.deconstructed_inference_filter is not None:
        wanted = entry_condition(filters.deconstructed_inference_filter)
        if wanted:
            # The model is repeated for the index that begins with it.
            entries = Entry.objects.filter(wanted, registered_model=model, inference_id=OuterRef("pk"))
            others.append(Exists(entries))
    return Conditions(in_order, others, is_rare=filters.data_hash_filter is not None)


def _is_one_string(wanted: MetadataFilter, slots: Slots) -> bool:
    is_text = wanted.type in ("string", "json.string")
    return is_text and wanted.operator == "=" and (str(wanted.type), wanted.key) in slots


def _hash_condition(text: str) -> Q:
    try:
        digest = bytes.fromhex(text) if len(text) == 64 and text.isalnum() else None
    except ValueError:
        digest = None
    return Q(data_hash=digest) if digest else Q(pk__in=[])


def _time_condition(window: TimeWindowFilter) -> Q:
    condition = Q()
    if window.start is not None:
        condition &= Q(created_at__gte=parse_instant(window.start))
    if window.end is not None:
        condition &= Q(created_at__lte=parse_instant(window.end))
    return condition


def entry_condition(wanted: DeconstructedInferenceFilter) -> Q:
    """What one entry must satisfy; an empty Q where nothing is asked of it."""
    asked: dict[str, Any] = {}
    if wanted.labels is not None:
        asked["label__in"] = wanted.labels
    if wanted.minimum_score is not None:
        asked["score__gte"] = wanted.minimum_score
    if wanted.maximum_score is not None:
        asked["score__lte"] = wanted.maximum_score
    return Q(**asked)
