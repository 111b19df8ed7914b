"""Inferences as they stand in a list: each a card or a row."""

from dataclasses import dataclass
from hashlib import sha256

from django.urls import reverse

from dashboard.columns import cells_of
from dashboard.label_colours import LabelColours
from dashboard.overlays import (
    PATHS_OF_A_PAGE,
    POINTS_OF_A_CARD,
    SHAPES_OF_A_CARD,
    Overlay,
    label_counts,
    meets,
    overlay,
    score_words,
)
from dashboard.pictures import CRISP_SIDE
from inference_store.contract.entries import Entry
from inference_store.contract.filters import DeconstructedInferenceFilter
from inference_store.contract.inferences import Inference
from inference_store.models import Blob, RegisteredModel
from inference_store.query.entries import entries_of

LABELS_OF_A_CARD = 3


@dataclass(frozen=True)
class LabelWords:
    """A label, how many entries have it, and the best score among them.

    Under a filter of scores it is the best that the filter asks for; `best` is then the best of all where
    that is another.
    """

    label: str
    count: int
    score: str
    series: int
    best: str = ""


@dataclass(frozen=True)
class Card:
    """One inference. `picture` is the address of its thumbnail, `excerpt` that of its text, or ""."""

    inference: Inference
    url: str
    picture: str
    is_crisp: bool
    excerpt: str
    overlay: Overlay | None
    labels: list[LabelWords]
    more_labels: int
    entry_count: int
    cells: list[str]


def picture_url(model_id: str, inference: Inference, size: int | str) -> str:
    """The thumbnail's address, which changes with the input, so that it can be cached for ever."""
    path = reverse("dashboard:thumbnail", args=[model_id, inference.inference_id])
    return f"{path}?size={size}&v={version_of(inference.data_storage_key or '')}"


def version_of(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:12]


def blobs_of(inferences: list[Inference]) -> dict[str, Blob]:
    """The uploads behind those inferences, by key. One query."""
    keys = [inference.data_storage_key for inference in inferences if inference.data_storage_key]
    return {blob.key: blob for blob in Blob.objects.filter(key__in=keys)}


def label_words(
    entries: list[Entry], colours: LabelColours, wanted: DeconstructedInferenceFilter | None = None
) -> list[LabelWords]:
    """The labels of some entries; those that the filter asks for come first."""
    matched = {}
    if wanted is not None:
        matched = {row[0]: row[2] for row in label_counts([each for each in entries if meets(each, wanted)])}
    held = {label: (count, best) for label, count, best in label_counts(entries)}
    found = []
    for label in dict.fromkeys([*matched, *held]):
        count, best = held[label]
        score, highest = score_words(matched.get(label, best)), score_words(best)
        found.append(LabelWords(label, count, score, colours[label], highest if highest != score else ""))
    return found


def is_crisp(blob: Blob | None) -> bool:
    """A picture so small that its pixels should be seen as such."""
    return bool(blob and blob.width and blob.height and max(blob.width, blob.height) <= CRISP_SIDE)


def cards_of(
    model: RegisteredModel,
    inferences: list[Inference],
    columns: list[str],
    colours: LabelColours,
    *,
    with_shapes: bool = True,
    wanted: DeconstructedInferenceFilter | None = None,
) -> list[Card]:
    """The cards of a page of inferences. Two queries, whatever its length.

    `wanted` is what the page's filter asks of entries.
    """
    blobs = blobs_of(inferences)
    entries = entries_of(model, [inference.inference_id for inference in inferences])
    left, cards = PATHS_OF_A_PAGE, []
    for position, inference in enumerate(inferences):
        # What one leaves of its share is for the others.
        most_path = left // (len(inferences) - position) if with_shapes else 0
        blob = blobs.get(inference.data_storage_key or "")
        held = entries.get(inference.inference_id, [])
        shapes = _shapes(held, blob, colours, most_path) if most_path else None
        left -= shapes.weight if shapes else 0
        cards.append(_card(model, inference, blob, shapes, label_words(held, colours, wanted), columns))
    return cards


def _shapes(held: list[Entry], blob: Blob | None, colours: LabelColours, most_path: int) -> Overlay | None:
    return overlay(
        held,
        blob.width if blob else None,
        blob.height if blob else None,
        colours,
        most_shapes=SHAPES_OF_A_CARD,
        most_points=POINTS_OF_A_CARD,
        most_path=most_path,
    )


def _card(
    model: RegisteredModel,
    inference: Inference,
    blob: Blob | None,
    shapes: Overlay | None,
    labels: list[LabelWords],
    columns: list[str],
) -> Card:
    address = [model.model_id, inference.inference_id]
    is_picture = bool(blob and blob.width and blob.height)
    return Card(
        inference=inference,
        url=reverse("dashboard:inference", args=address),
        picture=picture_url(model.model_id, inference, 320) if is_picture else "",
        is_crisp=is_crisp(blob),
        excerpt=reverse("dashboard:excerpt", args=address) if blob and not is_picture else "",
        overlay=shapes,
        labels=labels[:LABELS_OF_A_CARD],
        more_labels=len(labels[LABELS_OF_A_CARD:]),
        entry_count=sum(each.count for each in labels),
        cells=cells_of(inference, columns),
    )
