"""Entries as they stand in a list: each with its crop of the picture, and its inference."""

from dataclasses import dataclass

from django.urls import reverse

from dashboard.cards import blobs_of, picture_url, version_of
from dashboard.details import geometry_words
from dashboard.label_colours import LabelColours
from dashboard.overlays import score_words
from inference_store.contract.entries import Entry
from inference_store.contract.inferences import GranularInference, Inference
from inference_store.models import Blob


@dataclass(frozen=True)
class EntryCard:
    """One entry. `crop` is the address of its part of the picture, or ""; `bar` the score in percent."""

    inference: Inference
    url: str
    crop: str
    label: str
    series: int
    score: str
    bar: float | None
    geometry: str
    position: int


def entry_cards(model_id: str, rows: list[GranularInference], colours: LabelColours) -> list[EntryCard]:
    """A page of entries. One query."""
    blobs = blobs_of(list({row.inference.inference_id: row.inference for row in rows}.values()))
    return [_card(model_id, row, blobs.get(row.inference.data_storage_key or ""), colours) for row in rows]


def _card(model_id: str, row: GranularInference, blob: Blob | None, colours: LabelColours) -> EntryCard:
    score = row.score
    return EntryCard(
        inference=row.inference,
        url=reverse("dashboard:inference", args=[model_id, row.inference.inference_id]),
        crop=_crop_url(model_id, row, blob),
        label=row.label,
        series=colours[row.label],
        score=score_words(score),
        bar=round(100 * score, 1) if score is not None and 0 <= score <= 1 else None,
        geometry=geometry_words(Entry(row.label, score, row.geometry)),
        position=row.position,
    )


def _crop_url(model_id: str, row: GranularInference, blob: Blob | None) -> str:
    """The part that the entry is about; the whole picture where it names none."""
    if blob is None or not blob.width or not blob.height:
        return ""
    if not row.geometry:
        return picture_url(model_id, row.inference, 320)
    path = reverse("dashboard:crop", args=[model_id, row.inference.inference_id, row.position])
    return f"{path}?v={version_of(row.inference.data_storage_key or '')}"
