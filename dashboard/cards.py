"""Inferences as they stand in a list: each a card or a row."""

from dataclasses import dataclass
from hashlib import sha256

from django.urls import reverse

from dashboard.columns import cells_of
from dashboard.overlays import (
    PATHS_OF_A_PAGE,
    POINTS_OF_A_CARD,
    SHAPES_OF_A_CARD,
    Overlay,
    label_counts,
    overlay,
    score_words,
    series_of,
)
from dashboard.pictures import CRISP_SIDE
from inference_store.contract.entries import Entry
from inference_store.contract.inferences import Inference
from inference_store.models import Blob, RegisteredModel
from inference_store.query.entries import entries_of

LABELS_OF_A_CARD = 3


@dataclass(frozen=True)
class LabelWords:
    label: str
    count: int
    score: str
    series: int


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


def label_words(entries: list[Entry]) -> list[LabelWords]:
    return [
        LabelWords(label, count, score_words(best), series_of(label))
        for label, count, best in label_counts(entries)
    ]


def is_crisp(blob: Blob | None) -> bool:
    """A picture so small that its pixels should be seen as such."""
    return bool(blob and blob.width and blob.height and max(blob.width, blob.height) <= CRISP_SIDE)


def cards_of(
    model: RegisteredModel, inferences: list[Inference], columns: list[str], *, with_shapes: bool = True
) -> list[Card]:
    """The cards of a page of inferences. Two queries, whatever its length."""
    blobs = blobs_of(inferences)
    entries = entries_of(model, [inference.inference_id for inference in inferences])
    left, cards = PATHS_OF_A_PAGE, []
    for position, inference in enumerate(inferences):
        # What one leaves of its share is for the others.
        most_path = left // (len(inferences) - position) if with_shapes else 0
        blob = blobs.get(inference.data_storage_key or "")
        card = _card(model, inference, blob, entries, columns, most_path)
        left -= card.overlay.weight if card.overlay else 0
        cards.append(card)
    return cards


def _card(
    model: RegisteredModel,
    inference: Inference,
    blob: Blob | None,
    entries: dict[str, list[Entry]],
    columns: list[str],
    most_path: int,
) -> Card:
    held = entries.get(inference.inference_id, [])
    labels = label_words(held)
    address = [model.model_id, inference.inference_id]
    is_picture = bool(blob and blob.width and blob.height)
    return Card(
        inference=inference,
        url=reverse("dashboard:inference", args=address),
        picture=picture_url(model.model_id, inference, 320) if is_picture else "",
        is_crisp=is_crisp(blob),
        excerpt=reverse("dashboard:excerpt", args=address) if blob and not is_picture else "",
        overlay=overlay(
            held,
            blob.width if blob else None,
            blob.height if blob else None,
            most_shapes=SHAPES_OF_A_CARD,
            most_points=POINTS_OF_A_CARD,
            most_path=most_path,
        )
        if most_path
        else None,
        labels=labels[:LABELS_OF_A_CARD],
        more_labels=len(labels[LABELS_OF_A_CARD:]),
        entry_count=len(held),
        cells=cells_of(inference, columns),
    )
