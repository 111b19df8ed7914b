"""JSON Lines: each inference whole, as it travels, in one line."""

from collections.abc import Iterator
from dataclasses import asdict

from inference_store.archive.base import Joined, Output, Piece, Writer, json_bytes
from inference_store.query.whole import WholeInference

INFERENCES = "inferences.jsonl"


class Jsonl(Writer):
    """`inferences.jsonl`; every line is an `Inference` of the client, with its `entries` beside."""

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        told = whole.inference.model_dump(mode="json", exclude={"presigned_url", "embedding_distance"})
        entries = [asdict(entry) for entry in whole.entries]
        yield Piece(INFERENCES, json_bytes(told | {"entries": entries}) + b"\n")

    def closing(self) -> Iterator[Joined]:
        yield Joined(INFERENCES, [INFERENCES])
