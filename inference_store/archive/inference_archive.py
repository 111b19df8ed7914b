"""The reference's archive: inputs, and what was inferred of them a line each."""

from collections.abc import Iterator
from typing import Any

from inference_store.archive.base import Copy, Joined, Output, Piece, Writer, file_name, json_bytes
from inference_store.archive.contours import contours_of
from inference_store.contract.entries import Entry
from inference_store.query.whole import WholeInference

INFERENCES, ANNOTATIONS, METADATA = "inferences.jsonl", "annotations.jsonl", "metadata.jsonl"


def line(content: Any) -> bytes:
    return json_bytes(content) + b"\n"


class InferenceArchive(Writer):
    """`data/`, `inferences.jsonl`, and where asked for `annotations.jsonl` and `metadata.jsonl`."""

    copies_inputs = True

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        inference, path = whole.inference, None
        if whole.input is not None:
            path = f"data/{file_name(whole)}"
            yield Copy(path)
        told = inference.model_dump(mode="json", exclude={"metadata", "presigned_url", "embedding_distance"})
        yield Piece(INFERENCES, line({"path": path} | told))
        if self.plan.annotations and inference.version == "v2":
            yield from self._annotations(path, whole.entries)
        if self.plan.metadata:
            held = [each.model_dump(mode="json") for each in inference.metadata or []]
            yield Piece(
                METADATA, line({"path": path, "inference_id": inference.inference_id, "metadata": held})
            )

    def _annotations(self, path: str | None, entries: list[Entry]) -> Iterator[Output]:
        """One line, entry by entry: a mask's contours can be a hundred times its run lengths."""
        yield Piece(ANNOTATIONS, b'{"path":' + json_bytes(path) + b',"annotations":[')
        for position, entry in enumerate(entries):
            told = annotation(entry)
            if "rle" in told:
                self.counters["masks_without_contour"] += 1
            yield Piece(ANNOTATIONS, (b"," if position else b"") + json_bytes(told))
        yield Piece(ANNOTATIONS, b"]}\n")

    def closing(self) -> Iterator[Joined]:
        yield Joined(INFERENCES, [INFERENCES])
        if self.plan.annotations:
            yield Joined(ANNOTATIONS, [ANNOTATIONS])
        if self.plan.metadata:
            yield Joined(METADATA, [METADATA])


def annotation(entry: Entry) -> dict[str, Any]:
    """An entry in the form of an annotation: its label, and its geometry if it has one.

    A mask that has no contours, because its runs are none or far too many, stays an `rle`.
    """
    told: dict[str, Any] = {"class_label": entry.label}
    geometry = entry.geometry or {}
    if (box := geometry.get("bbox")) is not None:
        told["bbox"] = {side: box[side] for side in ("xmin", "xmax", "ymin", "ymax")}
    elif (box := geometry.get("oriented_bbox")) is not None:
        told["oriented_bbox"] = {part: box[part] for part in ("cx", "cy", "w", "h", "r")}
    elif "contours" in geometry:
        told["contour"] = geometry["contours"]
    elif "rle" in geometry:
        try:
            told["contour"] = contours_of(geometry["rle"])
        except ValueError:
            told["rle"] = geometry["rle"]
    return told
