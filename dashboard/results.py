"""A page of a model's inferences under a filter."""

from dataclasses import dataclass
from typing import Any

from dashboard.bounded import in_time
from dashboard.cards import Card, cards_of
from dashboard.panel import FilterPanel, filter_panel
from inference_store.contract.enums import PaginationSortDirection
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import NewGetInferencesRequest, Pagination
from inference_store.filtersets import PAGE_POSITION, InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query.pages import count_inferences, inference_page

PAGE_SIZE, LARGEST_PAGE = 48, 200
VIEWS = ("grid", "table", "map")


@dataclass(frozen=True)
class Results:
    """What `_results.html` shows. `count` is None where counting took too long.

    `stored` is how many there are without any filter, asked only where the filter leaves none.
    """

    panel: FilterPanel
    view: str
    cards: list[Card]
    columns: list[str]
    count: int | None
    stored: int | None
    is_descending: bool
    is_first_page: bool
    next_query: str
    first_query: str
    filter_query: str
    view_queries: dict[str, str]


def newest_first(request: NewGetInferencesRequest) -> NewGetInferencesRequest:
    """The request as the pages ask it: newest first unless a direction is given, a bounded page."""
    asked = request.pagination or Pagination()
    changes: dict[str, Any] = {"limit": min(asked.limit or PAGE_SIZE, LARGEST_PAGE)}
    if asked.direction is None:
        changes["direction"] = PaginationSortDirection.DESCENDING.value
    paged = {"pagination": asked.model_copy(update=changes), "presign": False, "embeddings": "none"}
    return request.model_copy(update=paged)


def _query(filterset: InferenceFilterSet, **changes: str) -> str:
    """The query string with those parameters instead; on its first page unless they say otherwise."""
    data = filterset.data.copy()
    for name in PAGE_POSITION:
        data.pop(name, None)
    for name, value in changes.items():
        data[name] = value
    return data.urlencode()


def results_of(model: RegisteredModel, filterset: InferenceFilterSet) -> Results:
    """The page that the filter set asks for; nothing but the panel with its errors where it is wrong."""
    cards: list[Card] = []
    count = stored = next_cursor = request = None
    columns: list[str] = []
    view = filterset.data.get("view", VIEWS[0])
    try:
        request = newest_first(filterset.request_body())
        page = inference_page(model, request)
    except Refusal as refusal:
        if filterset.is_valid():
            filterset.add_refusal(refusal)
        panel = filter_panel(model, filterset)
    else:
        panel = filter_panel(model, filterset)
        columns = panel.shown_columns
        cards, next_cursor = cards_of(model, page.inferences, columns), page.next_cursor
        count = in_time(lambda: count_inferences(model, request))
        if count == 0:
            stored = in_time(lambda: count_inferences(model, NewGetInferencesRequest()))
    return Results(
        panel=panel,
        view=view if view in VIEWS else VIEWS[0],
        cards=cards,
        columns=columns,
        count=count,
        stored=stored,
        is_descending=filterset.data.get("direction", "desc") == "desc",
        is_first_page=not any(filterset.data.get(name) for name in PAGE_POSITION),
        next_query=_query(filterset, cursor=next_cursor) if next_cursor and view != "map" else "",
        first_query=_query(filterset),
        filter_query=filterset.filter_query(),
        view_queries={name: _query(filterset, view=name) for name in VIEWS},
    )
