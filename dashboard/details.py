"""An inference's page: its input, what the model said about it, and what is known besides."""

import codecs
from dataclasses import dataclass

from dashboard.cards import LabelWords, blobs_of, is_crisp, label_words, picture_url
from dashboard.overlays import Overlay, overlay, score_words, series_of
from dashboard.tree import EmbeddingSummary, Node, embedding_summary, tree
from inference_store import blobs
from inference_store.contract.entries import Entry
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import Inference
from inference_store.contract.metadata import Metadata
from inference_store.models import Blob, RegisteredModel
from inference_store.query.entries import entries_of

TEXT_BYTES = 64 * 1024
EXCERPT_CHARACTERS = 280
MOST_ROWS = 500
SMALL_SIDE = 800
RAW_CHARACTERS = 20_000
TYPES = ("string", "int", "float", "json")


@dataclass(frozen=True)
class EntryRow:
    position: int
    label: str
    series: int
    score: str
    bar: float | None
    geometry: str


@dataclass(frozen=True)
class MetadataRow:
    key: str
    value: str
    node: Node | None


@dataclass(frozen=True)
class Detail:
    """What `inference.html` shows besides the inference itself."""

    blob: Blob | None
    picture: str
    is_crisp: bool
    is_small: bool
    text: str | None
    text_is_cut: bool
    overlay: Overlay | None
    labels: list[LabelWords]
    rows: list[EntryRow]
    hidden_rows: int
    metadata: list[tuple[str, list[MetadataRow]]]
    embedding: EmbeddingSummary | None
    raw: str
    raw_is_cut: bool


def input_of(inference: Inference) -> Blob:
    """The upload behind an inference; one without a size where it is not known."""
    return blobs_of([inference]).get(inference.data_storage_key or "") or Blob()


def _bytes_of(inference: Inference, most: int) -> bytes | None:
    if not inference.data_storage_key:
        return None
    try:
        with blobs.open_blob(inference.data_storage_key) as file:
            return file.read(most)
    except Refusal:
        return None


def text_of(content: bytes, is_cut: bool) -> str | None:
    """The text that the bytes spell in UTF-8, None where they are something else."""
    try:
        text, _ = codecs.utf_8_decode(content, "strict", not is_cut)  # the last character may be cut in two
    except UnicodeDecodeError:
        return None
    shown = text.replace("\t", "").replace("\n", "").replace("\r", "")
    return text if all(character >= " " and character != "\x7f" for character in shown) else None


def excerpt_of(inference: Inference) -> str | None:
    """The beginning of a text input, None where the input is none."""
    most = EXCERPT_CHARACTERS * 4
    content = _bytes_of(inference, most + 1)
    if content is None:
        return None
    text = text_of(content[:most], is_cut=len(content) > most)
    if text is None:
        return None
    return text if len(text) <= EXCERPT_CHARACTERS else text[:EXCERPT_CHARACTERS].rstrip() + "…"


def _is_small(blob: Blob | None) -> bool:
    """A picture with room to be enlarged: small, and not much higher than wide."""
    if blob is None or not blob.width or not blob.height:
        return False
    return max(blob.width, blob.height) <= SMALL_SIDE and blob.height <= 1.4 * blob.width


def geometry_words(entry: Entry) -> str:
    """Where the entry is, in numbers."""
    geometry = entry.geometry or {}
    if box := geometry.get("bbox"):
        return f"x {box['xmin']:.6g} – {box['xmax']:.6g}, y {box['ymin']:.6g} – {box['ymax']:.6g}"
    if box := geometry.get("oriented_bbox"):
        return (
            f"centre {box['cx']:.3f}, {box['cy']:.3f}; size {box['w']:.3f} × {box['h']:.3f}; "
            f"turned {box['r']:.3f} rad"
        )
    if rings := geometry.get("contours"):
        points = sum(len(ring) for ring in rings)
        return f"{len(rings)} contour{'s' if len(rings) != 1 else ''}, {points:,} points"
    if mask := geometry.get("rle"):
        rows, columns = mask["size"]
        return f"mask of {columns} × {rows} pixels"
    return ""


def _rows(entries: list[Entry]) -> list[EntryRow]:
    return [
        EntryRow(
            position,
            entry.label,
            series_of(entry.label),
            score_words(entry.score),
            round(100 * entry.score, 1) if entry.score is not None and 0 <= entry.score <= 1 else None,
            geometry_words(entry),
        )
        for position, entry in enumerate(entries)
    ]


def _metadata(items: list[Metadata]) -> list[tuple[str, list[MetadataRow]]]:
    """Rows by type, in the order people read them."""
    found: dict[str, list[MetadataRow]] = {type_: [] for type_ in TYPES}
    for item in items:
        node = tree(item.value) if item.type == "json" else None
        found.setdefault(item.type, []).append(MetadataRow(item.key, item.value, node))
    return [(type_, rows) for type_, rows in found.items() if rows]


def detail_of(model: RegisteredModel, inference: Inference) -> Detail:
    """Two queries and, for what may be text, one read of the store's first bytes."""
    blob = blobs_of([inference]).get(inference.data_storage_key or "")
    entries = entries_of(model, [inference.inference_id])[inference.inference_id]
    size = (blob.width, blob.height) if blob else (None, None)
    is_picture = bool(size[0] and size[1])
    content = None if is_picture else _bytes_of(inference, TEXT_BYTES + 1)
    is_cut = content is not None and len(content) > TEXT_BYTES
    ranked = sorted(_rows(entries), key=lambda row: -(entries[row.position].score or 0))
    vector = inference.structured_embedding if model.embedding_size else None
    raw = inference.data or ""
    return Detail(
        blob=blob,
        picture=picture_url(model.model_id, inference, 1600) if is_picture else "",
        is_crisp=is_crisp(blob),
        is_small=_is_small(blob),
        text=text_of(content[:TEXT_BYTES], is_cut) if content is not None else None,
        text_is_cut=is_cut,
        overlay=overlay(entries, *size),
        labels=label_words(entries),
        rows=ranked[:MOST_ROWS],
        hidden_rows=max(0, len(entries) - MOST_ROWS),
        metadata=_metadata(inference.metadata or []),
        embedding=embedding_summary(vector) if vector else None,
        raw=raw[:RAW_CHARACTERS],
        raw_is_cut=len(raw) > RAW_CHARACTERS,
    )
