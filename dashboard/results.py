"""A page of a model's inferences under a filter."""

from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from dashboard.bounded import in_time
from dashboard.cards import Card, cards_of
from dashboard.columns import Columns, columns_of
from dashboard.counting import AT_ONCE_MS, Count, count_at_once
from dashboard.entry_rows import EntryCard, entry_cards
from dashboard.label_colours import LabelColours, colours_of
from dashboard.panel import FilterPanel, filter_panel
from dashboard.similarity import PARAMETERS as SIMILARITY
from dashboard.similarity import Similarity, similarity_of
from inference_store.contract.enums import PaginationSortDirection, TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import NewGetInferencesRequest, Pagination, parse_instant
from inference_store.contract.inferences import LIST_OF_TASK
from inference_store.filtersets import PAGE_POSITION, Chip, InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query.granular import granular_page
from inference_store.query.pages import count_inferences, inference_page

PAGE_SIZE, LARGEST_PAGE = 48, 200
PAGE_MS = 10_000
"""What a page of results may take; then the reader is told to narrow the filter."""
MAP = "map"
ENTRIES = "rows"
"""The view whose rows are entries, not inferences."""


TURN, FIRST = "~", "0"
"""In a trail: between cursors, and for the page that has none."""
LONGEST_TRAIL = 2_400
"""Characters of the cursors that led to a page: some thirty pages back, then there is the first."""


@dataclass(frozen=True)
class View:
    """A way to show results, in words, and the template that does it."""

    words: str
    template: str


VIEWS = {
    "thumbnails": View("Thumbnails", "dashboard/_inference_cards.html"),
    "table": View("Table", "dashboard/_inference_table.html"),
    ENTRIES: View("Entries", "dashboard/_entry_table.html"),
    MAP: View("Map", "dashboard/_map.html"),
}
DEFAULT_VIEW = "thumbnails"


@dataclass(frozen=True)
class ViewLink:
    words: str
    query: str
    is_current: bool


@dataclass(frozen=True)
class Asked:
    """What the query string asks for; `request` is None where it is wrong, and the filter set says how."""

    view: str
    request: NewGetInferencesRequest | None
    similarity: Similarity | None = None

    @property
    def counts_entries(self) -> bool:
        """A search lists what has an embedding, of which no count of entries knows."""
        return self.view == ENTRIES and self.similarity is None

    @property
    def is_descending(self) -> bool:
        pagination = self.request.pagination if self.request else None
        return bool(pagination and pagination.direction == PaginationSortDirection.DESCENDING.value)


@dataclass
class Found:
    """The rows of a page, and the cursor to the next. `is_late`: they took too long."""

    cards: list[Card] = field(default_factory=list)
    entries: list[EntryCard] = field(default_factory=list)
    next_cursor: str | None = None
    is_late: bool = False

    @property
    def length(self) -> int:
        return len(self.cards) + len(self.entries)

    @property
    def inference_count(self) -> int:
        return len(self.cards) or len({entry.inference.inference_id for entry in self.entries})


@dataclass(frozen=True)
class Results:
    """What `_results.html` shows. `count` is None where it is still to be asked for.

    `stored` is how many there are without any filter, asked only where the filter leaves none.
    """

    panel: FilterPanel
    colours: LabelColours
    view: str
    template: str
    views: list[ViewLink]
    found: Found
    columns: Columns
    similarity: Similarity | None
    chips: list[Chip]
    count: Count | None
    at_least: int
    stored: int | None
    contradiction: str
    is_descending: bool
    is_first_page: bool
    previous_query: str | None
    next_query: str
    first_query: str
    filter_query: str
    code_query: str
    cleared_query: str
    like_query: str
    """The filter, for a search by similarity within it."""


def request_of(model: RegisteredModel, filterset: InferenceFilterSet) -> Asked:
    """The request that the query string spells; what is wrong with it is added to the filter set's errors."""
    data = filterset.data
    view = data.get("view") or DEFAULT_VIEW
    if view not in VIEWS:
        filterset.add_error("view", f"choose one of {', '.join(VIEWS)}")
    try:
        similarity = similarity_of(model, data)
        request = filterset.request_body()
    except Refusal as refusal:
        for name, message in refusal.fields.items():
            if name in SIMILARITY:
                filterset.add_error(name, message)
        return Asked(view if view in VIEWS else DEFAULT_VIEW, None)
    if view not in VIEWS:
        return Asked(DEFAULT_VIEW, None)
    return Asked(view, _as_pages_ask(request, similarity), similarity)


def _as_pages_ask(request: NewGetInferencesRequest, similarity: Similarity | None) -> NewGetInferencesRequest:
    """Newest first unless told otherwise, nearest first in a search by similarity; a bounded page."""
    asked = request.pagination or Pagination()
    changes: dict[str, Any] = {"limit": min(asked.limit or PAGE_SIZE, LARGEST_PAGE)}
    if asked.direction is None:
        by_distance = similarity is not None and (asked.sort in (None, "embedding_distance"))
        way = PaginationSortDirection.ASCENDING if by_distance else PaginationSortDirection.DESCENDING
        changes["direction"] = way.value
    return request.model_copy(
        update={
            "pagination": asked.model_copy(update=changes),
            "embedding_filters": similarity.filter if similarity else None,
            "presign": False,
            "embeddings": "none",
        }
    )


def query_with(filterset: InferenceFilterSet, **changes: str) -> str:
    """The query string with those parameters instead; on its first page unless they say otherwise."""
    data = filterset.data.copy()
    for name in PAGE_POSITION:
        data.pop(name, None)
    for name, value in changes.items():
        if value:
            data[name] = value
        else:
            data.pop(name, None)
    return data.urlencode()


def _next_query(filterset: InferenceFilterSet, cursor: str) -> str:
    """The page after the cursor, which knows the pages that led to it."""
    data = filterset.data
    trail = [part for part in data.get("trail", "").split(TURN) if part]
    here = data.get("cursor") or (FIRST if not data.get("offset") else "")
    trail = [*trail, here] if here else []
    while len(TURN.join(trail)) > LONGEST_TRAIL:
        trail = trail[1:]
    return query_with(filterset, cursor=cursor, trail=TURN.join(trail))


def _previous_query(filterset: InferenceFilterSet) -> str | None:
    """The page that led to this one, None where that is not known."""
    *trail, last = filterset.data.get("trail", "").split(TURN)
    if not last:
        return None
    return query_with(filterset, cursor=last if last != FIRST else "", trail=TURN.join(trail))


def _view_query(filterset: InferenceFilterSet, view: str) -> str:
    return query_with(filterset, view=view if view != DEFAULT_VIEW else "")


def _cleared_query(filterset: InferenceFilterSet) -> str:
    """How results are shown, without what narrows or orders them."""
    kept = QueryDict(mutable=True)
    for name in ("view", "fields", "columns", "charts", "bins"):
        if texts := filterset.data.getlist(name):
            kept.setlist(name, texts)
    return kept.urlencode()


def chips_of(filterset: InferenceFilterSet, similarity: Similarity | None) -> list[Chip]:
    """What narrows and orders the results in words, each with the query string without it."""
    chips = filterset.chips()
    if similarity is not None:
        data = filterset.data.copy()
        for name in (*SIMILARITY, *PAGE_POSITION):
            data.pop(name, None)
        chips.insert(0, Chip(similarity.words, data.urlencode()))
    return chips


def contradiction_of(request: NewGetInferencesRequest | None) -> str:
    """Why nothing can match, where the bounds alone say so; else empty."""
    if request is None:
        return ""
    entries, window = request.filters.deconstructed_inference_filter, request.filters.time_window_filter
    low, high = (entries.minimum_score, entries.maximum_score) if entries else (None, None)
    if low is not None and high is not None and low > high:
        return f"The lowest score, {low:g}, is above the highest, {high:g}."
    if window and window.start and window.end and parse_instant(window.start) > parse_instant(window.end):
        return "The time ends before it begins."
    return ""


def _find(model: RegisteredModel, asked: Asked, columns: Columns, colours: LabelColours) -> Found:
    """The page of rows, within the time that a page may take."""
    if asked.request is None:
        return Found()
    request = asked.request
    if asked.view == ENTRIES:
        rows = in_time(lambda: granular_page(model, request), PAGE_MS)
        if rows is None:
            return Found(is_late=True)
        return Found([], entry_cards(model.model_id, rows.granular_inferences, colours), rows.next_cursor)
    page = in_time(lambda: inference_page(model, request), PAGE_MS)
    if page is None:
        return Found(is_late=True)
    cards = cards_of(
        model,
        page.inferences,
        columns.shown_keys,
        colours,
        with_shapes=asked.view == DEFAULT_VIEW,
        wanted=request.filters.deconstructed_inference_filter,
    )
    return Found(cards, [], page.next_cursor)


def results_of(model: RegisteredModel, filterset: InferenceFilterSet) -> Results:
    """The page that the filter set asks for; nothing but the panel with its errors where it is wrong."""
    data = filterset.data
    asked = request_of(model, filterset)
    panel, columns, colours = None, columns_of(data, [], []), colours_of(model)
    if asked.request is not None:
        panel = filter_panel(model, filterset)
        columns = columns_of(
            data,
            panel.key_names,
            panel.plain_keys,
            has_entries=TaskType(model.task_type) in LIST_OF_TASK,
        )
    try:
        found = _find(model, asked, columns, colours)
    except Refusal as refusal:
        filterset.add_refusal(refusal)
        asked, found, panel = Asked(asked.view, None), Found(), None
    panel = panel or filter_panel(model, filterset)
    is_first = not any(data.get(name) for name in PAGE_POSITION)
    count = _count(model, asked, found, is_first=is_first)
    is_empty = asked.request is not None and is_first and not found.length and not found.is_late
    return Results(
        panel=panel,
        colours=colours,
        view=asked.view,
        template=VIEWS[asked.view].template,
        views=[
            ViewLink(view.words, _view_query(filterset, name), name == asked.view)
            for name, view in VIEWS.items()
        ],
        found=found,
        columns=columns,
        similarity=asked.similarity,
        chips=chips_of(filterset, asked.similarity),
        count=count,
        at_least=found.inference_count,
        stored=in_time(lambda: count_inferences(model, NewGetInferencesRequest()), AT_ONCE_MS)
        if is_empty
        else None,
        contradiction=contradiction_of(asked.request),
        is_descending=asked.is_descending,
        is_first_page=is_first,
        previous_query=_previous_query(filterset),
        next_query=_next_query(filterset, found.next_cursor)
        if found.next_cursor and asked.view != MAP
        else "",
        first_query=query_with(filterset),
        filter_query=filterset.filter_query(),
        code_query=data.urlencode(),
        cleared_query=_cleared_query(filterset),
        like_query=query_with(filterset, similar_to="", vector="", sort="", direction=""),
    )


def _count(model: RegisteredModel, asked: Asked, found: Found, *, is_first: bool) -> Count | None:
    """How many match, where the page shows them all or it is known at once."""
    if asked.request is None:
        return None
    is_whole = is_first and not found.next_cursor and not found.is_late
    if is_whole and asked.view != ENTRIES:
        return Count(found.length)
    return count_at_once(model, asked.request, with_entries=asked.counts_entries)
