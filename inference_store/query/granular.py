"""Granular rows: one per entry, with its inference."""

from functools import partial

from django.db.models import QuerySet

from inference_store.contract.filters import (
    DEFAULT_LIMIT,
    BaseInferenceFilter,
    NewGetInferencesRequest,
    Pagination,
)
from inference_store.contract.inferences import GranularInference, GranularInferencePage
from inference_store.models import Entry, RegisteredModel
from inference_store.query.embeddings import refuse_unfit, with_distance
from inference_store.query.matching import conditions_of, entry_condition, has_entry, matching
from inference_store.query.order import Order, order_of
from inference_store.query.page_keys import keys_in_time
from inference_store.query.rows import Plain, RowsOf, Wanted, bodies, plain_bodies

FIELDS = {
    "created_at": "inference__created_at",
    "embedding_distance": "distance",
    "label": "label",
    "score": "score",
}
TIES = ("inference_id", "position")


def granular_page(model: RegisteredModel, request: NewGetInferencesRequest) -> GranularInferencePage:
    """The page as the contract's objects."""
    page = _page(model, request, partial(bodies, form=request.embeddings or "base64"))
    rows = [GranularInference.model_construct(**row) for row in page["granular_inferences"]]
    return GranularInferencePage.model_construct(granular_inferences=rows, next_cursor=page["next_cursor"])


def plain_granular_page(model: RegisteredModel, request: NewGetInferencesRequest) -> Plain:
    """The page as it travels."""
    return _page(model, request, partial(plain_bodies, form=request.embeddings or "numbers"))


def _others(filters: BaseInferenceFilter) -> BaseInferenceFilter:
    """What is asked of inferences and not of entries."""
    return filters.model_copy(update={"deconstructed_inference_filter": None})


def _found(model: RegisteredModel, filters: BaseInferenceFilter, entries: QuerySet[Entry]) -> QuerySet[Entry]:
    """Of these entries, those of matching inferences."""
    others = _others(filters)
    if others.model_dump(exclude_none=True):
        return entries.filter(inference__in=matching(model, others))
    return entries  # a live entry has an inference, always


def _found_in_time(
    model: RegisteredModel,
    filters: BaseInferenceFilter,
    entries: QuerySet[Entry],
    order: Order,
    cursor: str | None,
    count: int,
) -> QuerySet[Entry]:
    """Of these entries, those of the next inferences in order of time that have some."""
    by_inference = Order(order.name, "created_at", ("id",), order.descending)
    position = None
    if cursor is not None:
        value, (key, _) = order.read(cursor)
        # The inference that the cursor is in may have more.
        position = by_inference.cursor(value, [key + 1 if order.descending else key - 1])
    has_some = has_entry(model, entry_condition(filters.deconstructed_inference_filter))
    keys = keys_in_time(
        model, conditions_of(model, _others(filters)), by_inference, position, slice(0, count + 1), has_some
    )
    return entries.filter(inference_id__in=[key for key, _ in keys])


def _page(model: RegisteredModel, request: NewGetInferencesRequest, rows_of: RowsOf) -> Plain:
    """Entries of matching inferences; labels and scores are asked of the entry itself.

    Five queries at most, whatever the length.
    """
    pagination = request.pagination or Pagination()
    limit, offset = pagination.limit or DEFAULT_LIMIT, pagination.offset or 0
    order = order_of(request, fields=FIELDS, ties=TIES, nullable={"score"})
    filters, cursor = request.filters, pagination.cursor
    wanted = entry_condition(filters.deconstructed_inference_filter)
    entries: QuerySet[Entry] = Entry.objects.live(model)
    if wanted:
        entries = entries.filter(wanted)
    part = slice(offset, offset + limit + 1)
    if order.name == "created_at" and request.embedding_filters is None:
        entries = _found_in_time(model, filters, entries, order, cursor, part.stop)
    else:
        entries = _found(model, filters, entries)
    columns = ["inference_id", "position", "label", "score", "geometry", order.field]
    if request.embedding_filters is not None:
        refuse_unfit(model, request.embedding_filters)
        entries = with_distance(entries, request.embedding_filters, prefix="inference__")
        columns.append("distance")
    found = order.page(entries, cursor, columns, part)
    page = found[:limit]
    distances = {row[0]: row[-1] for row in page} if request.embedding_filters else None
    inferences = rows_of(
        model, Wanted.by_key(list({row[0] for row in page})), distances, request.embedding_filters
    )
    last = page[-1] if len(found) > limit else None
    return {
        "granular_inferences": [
            {
                "position": row[1],
                "label": row[2],
                "score": row[3],
                "geometry": row[4],
                "inference": inferences[row[0]],
            }
            for row in page
            if row[0] in inferences
        ],
        "next_cursor": order.cursor(last[5], [last[0], last[1]]) if last else None,
    }
