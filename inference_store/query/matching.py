"""The contract's filter as a queryset: the one place where that happens."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from inference_store.contract.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    TimeWindowFilter,
    parse_instant,
)
from inference_store.models import Entry, Inference, RegisteredModel, SearchSlot
from inference_store.query.metadata_conditions import Condition, metadata_condition
from inference_store.query.places import located
from inference_store.query.uses import note_filters


def matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> QuerySet[Inference]:
    """The model's inferences for which all given filters hold; every page, count, chart, export and
    delete starts here."""
    queryset = Inference.objects.filter(registered_model=model)
    for condition in _conditions(model, filters or BaseInferenceFilter()):
        queryset = queryset.filter(condition)
    return queryset


def _conditions(model: RegisteredModel, filters: BaseInferenceFilter) -> list[Condition]:
    conditions: list[Condition] = []
    if filters.inference_action_filter is not None:
        conditions.append(Q(action=filters.inference_action_filter))
    if filters.data_hash_filter is not None:
        conditions.append(_hash_condition(filters.data_hash_filter))
    if filters.data_source_filter is not None:
        conditions.append(Q(data_source=filters.data_source_filter))
    if filters.time_window_filter is not None:
        conditions.append(_time_condition(filters.time_window_filter))
    if filters.metadata_filter:
        note_filters(model, filters.metadata_filter)
        slots = SearchSlot.objects.searched(model)
        conditions.extend(metadata_condition(each, slots) for each in filters.metadata_filter)
    if filters.location_filter is not None:
        conditions.append(located(filters.location_filter))
    if filters.deconstructed_inference_filter is not None:
        wanted = entry_condition(filters.deconstructed_inference_filter)
        if wanted:
            # The model is repeated for the index that begins with it.
            entries = Entry.objects.filter(wanted, registered_model=model, inference_id=OuterRef("pk"))
            conditions.append(Exists(entries))
    return conditions


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
