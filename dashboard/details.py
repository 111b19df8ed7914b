"""An inference's page: its input, what the model said about it, and what is known besides."""

import codecs
import math
from dataclasses import dataclass

from dashboard.cards import LabelWords, blobs_of, is_crisp, label_words, picture_url
from dashboard.label_colours import LabelColours, colours_of
from dashboard.overlays import Overlay, cut, overlay, ranked, score_words
from dashboard.pictures import LARGE, SIZES, large_box
from dashboard.tree import Budget, EmbeddingSummary, Node, embedding_summary, tree
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
MOST_ROW_BYTES = 60_000
"""Of the labels and geometries listed: a page of many entries stays a page."""
MOST_TOGGLES = 24
LONGEST_LABEL = 60
LONGEST_VALUE = LONGEST_EDITED = 2_000
MOST_METADATA, MOST_VALUE_BYTES = 200, 40_000
WIDE_VALUE = 32
SMALL_SIDE = 800
RAW_CHARACTERS = 8_000
TYPES = ("string", "int", "float", "json")


@dataclass(frozen=True)
class EntryRow:
    """An entry. `toggle` is the number of what shows and hides it; `bar` is its score in twentieths."""

    position: int
    label: str
    toggle: int
    series: int
    score: float | None
    score_words: str
    bar: int | None
    geometry: str


@dataclass(frozen=True)
class Toggle:
    """What shows and hides the entries of one label, or of all the others together."""

    words: str
    series: int
    count: int


@dataclass(frozen=True)
class ScoreRange:
    """What the slider goes through."""

    low: float
    high: float
    step: float


@dataclass(frozen=True)
class MetadataRow:
    key: str
    value: str
    node: Node | None
    is_cut: bool = False

    @property
    def is_wide(self) -> bool:
        return self.node is not None or len(self.value) > WIDE_VALUE

    @property
    def is_short(self) -> bool:
        """Whether the page holds it twice, to be edited."""
        return not self.is_cut and len(self.value) <= LONGEST_EDITED


@dataclass(frozen=True)
class Spot:
    """A place on a map of the whole earth, 360 by 180."""

    x: float
    y: float


@dataclass(frozen=True)
class Detail:
    """What `inference.html` shows besides the inference itself."""

    blob: Blob | None
    picture: str
    large_picture: str
    large_width: int
    is_crisp: bool
    is_small: bool
    text: str | None
    text_is_cut: bool
    overlay: Overlay | None
    labels: list[LabelWords]
    toggles: list[Toggle]
    scores: ScoreRange | None
    rows: list[EntryRow]
    entry_count: int
    hidden_rows: int
    metadata: list[tuple[str, list[MetadataRow]]]
    hidden_metadata: int
    spot: Spot | None
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
    except (Refusal, blobs.UnavailableError):
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


def _has_more_pixels(size: tuple[int | None, int | None]) -> bool:
    """Whether looking closely shows more than the page's picture does."""
    return bool(size[0] and size[1] and max(size[0], size[1]) > SIZES[-1])


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


def _rows(entries: list[Entry], labels: list[LabelWords], colours: LabelColours) -> list[EntryRow]:
    """Best score first, as far as a page can hold them."""
    toggles = {each.label: number for number, each in enumerate(labels[: MOST_TOGGLES - 1])}
    rows: list[EntryRow] = []
    spent = 0
    for position, entry in ranked(entries)[:MOST_ROWS]:
        label, geometry = cut(entry.label, LONGEST_LABEL), geometry_words(entry)
        spent += len(label.encode()) + len(geometry)
        if spent > MOST_ROW_BYTES:
            break
        score = entry.score
        rows.append(
            EntryRow(
                position=position,
                label=label,
                toggle=toggles.get(entry.label, MOST_TOGGLES - 1),
                series=colours[entry.label],
                score=score,
                score_words=score_words(score),
                bar=round(20 * score) if score is not None and 0 <= score <= 1 else None,
                geometry=geometry,
            )
        )
    return rows


def _toggles(labels: list[LabelWords]) -> list[Toggle]:
    """One a label; the last is of all the others where there are more."""
    alone = labels if len(labels) <= MOST_TOGGLES else labels[: MOST_TOGGLES - 1]
    toggles = [Toggle(cut(each.label, LONGEST_LABEL), each.series, each.count) for each in alone]
    if others := labels[len(alone) :]:
        toggles.append(Toggle(f"{len(others):,} other labels", 0, sum(each.count for each in others)))
    return toggles


def _scores(rows: list[EntryRow]) -> ScoreRange | None:
    """0 to 1 where scores lie there, else from the lowest to the highest; None where there is no choice."""
    scores = [row.score for row in rows if row.score is not None]
    if len(set(scores)) < 2:
        return None
    low, high = min(0.0, *scores), max(1.0, *scores)
    if low < 0 or high > 1:
        low, high = min(scores), max(scores)
    step = 10.0 ** math.floor(math.log10((high - low) / 100)) if high - low > 0 else 1.0
    return ScoreRange(math.floor(low / step) * step, high, step)


def _metadata(items: list[Metadata]) -> list[tuple[str, list[MetadataRow]]]:
    """Rows by type, in the order people read them."""
    found: dict[str, list[MetadataRow]] = {type_: [] for type_ in TYPES}
    budget, left = Budget(), MOST_VALUE_BYTES
    for item in items:
        node = tree(item.value, budget) if item.type == "json" else None
        # Where all together are long, each shows its beginning.
        value = item.value if node else cut(item.value, LONGEST_VALUE if left > 0 else WIDE_VALUE)
        left -= len(value.encode()) if not node else 0
        found.setdefault(item.type, []).append(MetadataRow(item.key, value, node, value != item.value))
    return [(type_, rows) for type_, rows in found.items() if rows]


def _spot(inference: Inference) -> Spot | None:
    at = inference.data_coordinates
    return Spot(round(at.longitude + 180, 2), round(90 - at.latitude, 2)) if at else None


def detail_of(model: RegisteredModel, inference: Inference) -> Detail:
    """Four queries and, for what may be text, one read of the store's first bytes."""
    blob = blobs_of([inference]).get(inference.data_storage_key or "")
    entries = entries_of(model, [inference.inference_id])[inference.inference_id]
    size = (blob.width, blob.height) if blob else (None, None)
    is_picture = bool(size[0] and size[1])
    large = large_box(size[0], size[1]) if size[0] and size[1] else (0, 0)
    content = None if is_picture else _bytes_of(inference, TEXT_BYTES + 1)
    is_cut = content is not None and len(content) > TEXT_BYTES
    colours = colours_of(model)
    labels = label_words(entries, colours)
    rows = _rows(entries, labels, colours)
    vector = inference.structured_embedding if model.embedding_size else None
    raw = inference.data or ""
    return Detail(
        blob=blob,
        picture=picture_url(model.model_id, inference, SIZES[-1]) if is_picture else "",
        large_picture=picture_url(model.model_id, inference, LARGE) if _has_more_pixels(size) else "",
        large_width=large[0],
        is_crisp=is_crisp(blob),
        is_small=_is_small(blob),
        text=text_of(content[:TEXT_BYTES], is_cut) if content is not None else None,
        text_is_cut=is_cut,
        overlay=overlay(entries, *size, colours, most_shapes=len(rows)),
        labels=labels,
        toggles=_toggles(labels),
        scores=_scores(rows),
        rows=rows,
        entry_count=len(entries),
        hidden_rows=len(entries) - len(rows),
        metadata=_metadata((inference.metadata or [])[:MOST_METADATA]),
        hidden_metadata=max(0, len(inference.metadata or []) - MOST_METADATA),
        spot=_spot(inference),
        embedding=embedding_summary(vector) if vector else None,
        raw=raw[:RAW_CHARACTERS],
        raw_is_cut=len(raw) > RAW_CHARACTERS,
    )
