"""The inferences before and after one, in the order of what a request finds."""

from dataclasses import replace
from typing import Any, NamedTuple

from django.db.models import QuerySet

from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.models import Inference, RegisteredModel
from inference_store.query.embeddings import with_distance
from inference_store.query.entry_order import with_best_entry
from inference_store.query.order import Order
from inference_store.query.pages import BY_ENTRIES, keys_after, order_of_page

ONE = slice(0, 1)


class Adjacent(NamedTuple):
    """The ids of both; None where the order ends."""

    before: str | None
    after: str | None


def adjacent(model: RegisteredModel, inference_id: str, request: NewGetInferencesRequest) -> Adjacent | None:
    """What stands beside the inference in what the request finds, itself among it or not.

    None where it has no place in that order. Each side is a page of one: as cheap as a page.
    """
    order = order_of_page(request)
    place = _place(model, inference_id, request, order)
    if place is None:
        return None
    value, key = place
    after = _first(model, request, order, order.cursor(value, [key]))
    before = _before(model, request, order, value, key)
    wanted = [each[0] for each in (before, after) if each is not None]
    ids: dict[int, str] = dict(Inference.objects.filter(pk__in=wanted).values_list("pk", "inference_id"))
    return Adjacent(ids.get(before[0]) if before else None, ids.get(after[0]) if after else None)


def _place(
    model: RegisteredModel, inference_id: str, request: NewGetInferencesRequest, order: Order
) -> tuple[Any, int] | None:
    """The inference's value in that order, and its key."""
    queryset: QuerySet[Inference] = Inference.objects.filter(
        registered_model=model, inference_id=inference_id
    )
    if request.embedding_filters is not None:
        queryset = with_distance(queryset, request.embedding_filters)
    if order.name in BY_ENTRIES:
        queryset = with_best_entry(queryset, order)
    return queryset.values_list(order.field, "id").first()


def _first(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order, position: str | None
) -> tuple[int, Any] | None:
    """(key, value) of the first beyond that position."""
    keys = keys_after(model, request, order, position, ONE)
    return (keys[0][0], keys[0][1]) if keys else None


def _before(
    model: RegisteredModel, request: NewGetInferencesRequest, order: Order, value: Any, key: int
) -> tuple[int, Any] | None:
    """The first the other way round; what has no value is last in either direction, and so never passed."""
    back = replace(order, descending=not order.descending)
    first = _first(model, request, back, back.cursor(value, [key]))
    if first is None and value is None:
        first = _first(model, request, back, None)
        return first if first is None or first[1] is not None else None
    if first is not None and first[1] is None and value is not None:
        return None
    return first
