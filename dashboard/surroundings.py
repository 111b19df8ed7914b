"""What an inference stands among: its result, its neighbours, what other models said of the same input."""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.http import QueryDict
from django.urls import reverse

from dashboard.bounded import in_time
from dashboard.cards import Card, LabelWords, cards_of
from dashboard.label_colours import LabelColours, colours_of
from dashboard.overlays import score_words
from dashboard.panel import PAGE_NAMES
from dashboard.results import chips_of, request_of
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import EmbeddingFilter, NewGetInferencesRequest, Pagination
from inference_store.contract.inferences import Inference
from inference_store.filtersets import PAGE_POSITION, InferenceFilterSet
from inference_store.models import RegisteredModel, User
from inference_store.query.adjacent import adjacent
from inference_store.query.pages import inference_page
from inference_store.query.same_input import SameInput, same_input

MOST_NEIGHBOURS = 12
MOST_SAME = 12
LABELS_OF_A_ROW = 3
BESIDE_TIMEOUT_MS = 1_000


# --- The result ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Result:
    """The result that the address names. `request` is None where it can't be read."""

    query: str
    list_url: str
    request: NewGetInferencesRequest | None
    words: list[str]


def whence(model: RegisteredModel, data: QueryDict) -> Result:
    """The filter and order of the list that led here, which are the query string."""
    kept = data.copy()
    for name in PAGE_POSITION:
        kept.pop(name, None)
    query = kept.urlencode()
    address = reverse("dashboard:inferences", args=[model.model_id])
    list_url = f"{address}?{query}" if query else address
    filterset = InferenceFilterSet(kept, allowed=PAGE_NAMES)
    asked = request_of(model, filterset)
    chips = chips_of(filterset, asked.similarity) if asked.request else []
    return Result(query, list_url, asked.request, [chip.words for chip in chips])


@dataclass(frozen=True)
class Beside:
    """The addresses of what comes before and after; `is_known` is False where that took too long."""

    before: str
    after: str
    is_known: bool = True


def beside(model: RegisteredModel, found: Inference, result: Result) -> Beside:
    request = result.request
    if request is None:
        return Beside("", "", is_known=False)
    try:
        both = in_time(lambda: (adjacent(model, found.inference_id, request),), BESIDE_TIMEOUT_MS)
    except Refusal:  # a query that does not fit the model's embeddings
        both = None
    if both is None:
        return Beside("", "", is_known=False)
    before, after = both[0] or (None, None)
    return Beside(_address(model, before, result.query), _address(model, after, result.query))


def _address(model: RegisteredModel, inference_id: str | None, query: str) -> str:
    if inference_id is None:
        return ""
    address = reverse("dashboard:inference", args=[model.model_id, inference_id])
    return f"{address}?{query}" if query else address


# --- Neighbours ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Neighbour:
    card: Card
    distance: str


@dataclass(frozen=True)
class Neighbours:
    """The nearest by cosine distance; `is_known` is False where finding them took too long."""

    nearest: list[Neighbour]
    has_embedding: bool = True
    is_known: bool = True


def neighbours_of(model: RegisteredModel, found: Inference) -> Neighbours:
    """The nearest others. Their page's queries, whatever the model holds."""
    vector = found.structured_embedding
    if not vector:
        return Neighbours([], has_embedding=False)
    request = NewGetInferencesRequest(
        embedding_filters=EmbeddingFilter(query_embedding=[float(number) for number in vector]),
        pagination=Pagination(limit=MOST_NEIGHBOURS + 1),
        embeddings="none",
    )
    page = in_time(lambda: inference_page(model, request))
    if page is None:
        return Neighbours([], is_known=False)
    others = [each for each in page.inferences if each.inference_id != found.inference_id]
    cards = cards_of(model, others[:MOST_NEIGHBOURS], [], colours_of(model))
    return Neighbours([Neighbour(card, _distance(card.inference.embedding_distance)) for card in cards])


def _distance(distance: float | None) -> str:
    return "" if distance is None else f"{max(0.0, distance):.4f}"


# --- The same input -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SameInputRow:
    """What another model said of the same input."""

    found: SameInput
    url: str
    labels: list[LabelWords]
    more_labels: int


@dataclass(frozen=True)
class SameInputRows:
    """`has_more`: there are more than are listed; `is_known` is False where finding them took too long."""

    rows: list[SameInputRow]
    has_more: bool = False
    is_known: bool = True


def same_input_of(user: User | AnonymousUser, model: RegisteredModel, found: Inference) -> SameInputRows:
    """What the user may see of other models on the same data hash, in this model's colours. Four queries."""
    rows = in_time(lambda: same_input(user, model, found.data_hash or "", MOST_SAME + 1))
    if rows is None:
        return SameInputRows([], is_known=False)
    colours = colours_of(model)
    return SameInputRows([_row(each, colours) for each in rows[:MOST_SAME]], len(rows) > MOST_SAME)


def _row(found: SameInput, colours: LabelColours) -> SameInputRow:
    labels = [
        LabelWords(label, count, score_words(best), colours[label]) for label, count, best in found.labels
    ]
    address = reverse("dashboard:inference", args=[found.model_id, found.inference_id])
    return SameInputRow(found, address, labels[:LABELS_OF_A_ROW], len(labels[LABELS_OF_A_ROW:]))
