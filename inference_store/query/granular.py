"""Granular rows: one per entry, with its inference."""

from functools import partial

from inference_store.contract.filters import (
    DEFAULT_LIMIT,
    DeconstructedInferenceFilter,
    NewGetInferencesRequest,
    Pagination,
)
from inference_store.contract.inferences import GranularInference, GranularInferencePage
from inference_store.models import Entry, RegisteredModel
from inference_store.query.embeddings import refuse_unfit, with_distance
from inference_store.query.matching import entry_condition, matching
from inference_store.query.order import order_of
from inference_store.query.rows import Plain, RowsOf, bodies, plain_bodies

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


def _page(model: RegisteredModel, request: NewGetInferencesRequest, rows_of: RowsOf) -> Plain:
    """Entries of matching inferences; labels and scores are asked of the entry itself.

    Four queries at most, whatever the length.
    """
    pagination = request.pagination or Pagination()
    limit, offset = pagination.limit or DEFAULT_LIMIT, pagination.offset or 0
    order = order_of(request, fields=FIELDS, ties=TIES, nullable={"score"})
    entries = Entry.objects.filter(
        entry_condition(request.filters.deconstructed_inference_filter or DeconstructedInferenceFilter()),
        registered_model=model,
        inference__in=matching(model, request.filters),
    )
    columns = ["inference_id", "position", "label", "score", "geometry", order.field]
    if request.embedding_filters is not None:
        refuse_unfit(model, request.embedding_filters)
        entries = with_distance(entries, request.embedding_filters, prefix="inference__")
        columns.append("distance")
    if pagination.cursor is not None:
        entries = order.after(entries, pagination.cursor)
    found = list(order.apply(entries).values_list(*columns)[offset : offset + limit + 1])
    page = found[:limit]
    distances = {row[0]: row[-1] for row in page} if request.embedding_filters else None
    inferences = rows_of(model, list({row[0] for row in page}), distances, request.embedding_filters)
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
