"""Pages of inferences, single ones, and counts."""

from collections.abc import Sequence
from functools import partial

from django.db.models import QuerySet

from inference_store.contract.filters import (
    DEFAULT_LIMIT,
    EmbeddingForm,
    NewGetInferencesRequest,
    Pagination,
)
from inference_store.contract.inferences import Inference as InferenceBody
from inference_store.contract.inferences import InferencePage
from inference_store.contract.metadata import Metadata
from inference_store.models import Inference, RegisteredModel
from inference_store.query.counts import count_matching
from inference_store.query.embeddings import refuse_unfit, with_distance
from inference_store.query.entry_order import keys_by_entries, with_best_entry
from inference_store.query.matching import conditions_of, matching
from inference_store.query.neighbours import join_cursor, neighbours_page, split_cursor
from inference_store.query.order import Order, order_of
from inference_store.query.page_keys import Keys, keys_in_time, rows_in_time
from inference_store.query.rows import Plain, RowsOf, Wanted, bodies, metadata_list, plain_bodies, time_of

FIELDS = {
    "created_at": "created_at",
    "embedding_distance": "distance",
    "label": "first_label",
    "score": "best_score",
}


BY_ENTRIES = ("label", "score")


def order_of_page(request: NewGetInferencesRequest) -> Order:
    return order_of(request, fields=FIELDS, ties=("id",), nullable=set(BY_ENTRIES))


def found(model: RegisteredModel, request: NewGetInferencesRequest) -> QuerySet[Inference]:
    """What the request asks for, unordered; with distances where it brings a query embedding."""
    queryset = matching(model, request.filters)
    if request.embedding_filters is not None:
        refuse_unfit(model, request.embedding_filters)
        queryset = with_distance(queryset, request.embedding_filters)
    return queryset


def inference_page(model: RegisteredModel, request: NewGetInferencesRequest) -> InferencePage:
    """The page as the contract's objects."""
    rows_of = partial(bodies, form=request.embeddings or "base64")
    return InferencePage.model_construct(**_page(model, request, rows_of))


def plain_page(model: RegisteredModel, request: NewGetInferencesRequest) -> Plain:
    """The page as it travels."""
    return _page(model, request, partial(plain_bodies, form=request.embeddings or "numbers"))


def _page(model: RegisteredModel, request: NewGetInferencesRequest, rows_of: RowsOf) -> Plain:
    """One page. One query where an index has it in order; else keys first by a narrow query, then the full
    rows by key: three at most. The rows of neighbours come with their keys, and indexes are asked again where
    what they gave can't tell."""
    order = order_of_page(request)
    if order.name == "created_at" and request.embedding_filters is None:
        return _page_in_time(model, request, order, rows_of)
    near = neighbours_page(model, request, order)
    if near is not None:
        distances = {key: distance for distance, key in near.found}
        rows = rows_of(model, near.wanted, distances, request.embedding_filters)
        return {
            "inferences": [rows[key] for key in distances if key in rows],
            "next_cursor": near.next_cursor,
        }
    return _exact_page(model, request, order, rows_of)


def _page_in_time(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order, rows_of: RowsOf
) -> Plain:
    limit, position, _, part = _part(request)
    asked = conditions_of(model, request.filters)
    if asked.others:
        found = keys_in_time(model, asked, order, position, part)
        return _page_of_keys(model, request, order, found, rows_of)
    rows = rows_of(model, rows_in_time(model, asked, order, position, part))
    keys, page = list(rows)[:limit], list(rows.values())[:limit]
    cursor = order.cursor(time_of(page[-1]), keys[-1:]) if len(rows) > limit else None
    return {"inferences": page, "next_cursor": cursor}


def _part(request: NewGetInferencesRequest) -> tuple[int, str | None, list[int], slice]:
    """The limit, the cursor's position and the rows given before it, and the part to read.

    That has one row more than the limit, which tells whether there is a next page.
    """
    pagination = request.pagination or Pagination()
    limit, offset = pagination.limit or DEFAULT_LIMIT, pagination.offset or 0
    return limit, *split_cursor(pagination.cursor), slice(offset, offset + limit + 1)


def _exact_page(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order, rows_of: RowsOf
) -> Plain:
    _, position, given, part = _part(request)
    keys = keys_after(model, request, order, position, part, given)
    return _page_of_keys(model, request, order, keys, rows_of)


def keys_after(
    model: RegisteredModel,
    request: NewGetInferencesRequest,
    order: Order,
    position: str | None,
    part: slice,
    given: Sequence[int] = (),
) -> Keys:
    """(id, value) of that part of what comes after the cursor's position, but for what was given; exactly."""
    if order.name == "created_at" and request.embedding_filters is None:
        return keys_in_time(model, conditions_of(model, request.filters), order, position, part)
    if order.name in BY_ENTRIES and request.embedding_filters is None:
        return keys_by_entries(model, request.filters, order, position, part)
    queryset = found(model, request)
    if order.name in BY_ENTRIES:
        queryset = with_best_entry(queryset, order)
    if position is not None:
        queryset = order.after(queryset, position).exclude(pk__in=given)
    columns = ["id", order.field] + (["distance"] if request.embedding_filters else [])
    return list(order.apply(queryset).values_list(*columns)[part])


def _page_of_keys(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order, keys: Keys, rows_of: RowsOf
) -> Plain:
    """The page of those keys, each with its place in the order, and one more where there is one."""
    limit, _, given, _ = _part(request)
    page = keys[:limit]
    distances = {key[0]: key[-1] for key in page} if request.embedding_filters else None
    rows = rows_of(model, Wanted.by_key([key[0] for key in page]), distances, request.embedding_filters)
    more = len(keys) > limit
    return {
        "inferences": [rows[key[0]] for key in page if key[0] in rows],
        "next_cursor": join_cursor(order.cursor(page[-1][1], [page[-1][0]]), given) if more else None,
    }


def count_inferences(model: RegisteredModel, request: NewGetInferencesRequest) -> int:
    """How many inferences match, whatever the pagination."""
    if request.embedding_filters is not None:
        refuse_unfit(model, request.embedding_filters)
        return matching(model, request.filters).filter(embedding__isnull=False).count()
    return count_matching(model, request.filters)


def one_inference(model: RegisteredModel, inference_id: str) -> InferenceBody | None:
    return next(iter(bodies(model, Wanted.by_name(model, inference_id)).values()), None)


def plain_inference(model: RegisteredModel, inference_id: str, form: EmbeddingForm) -> Plain | None:
    """The inference as it travels."""
    return next(iter(plain_bodies(model, Wanted.by_name(model, inference_id), form=form).values()), None)


def metadata_of(model: RegisteredModel, inference_id: str) -> list[Metadata] | None:
    """All metadata of one inference by key, None where there is no such inference."""
    row = Inference.objects.filter(registered_model=model, inference_id=inference_id).only("metadata").first()
    return None if row is None else metadata_list(row.metadata)
