"""The engine in memory: feeds a writer as a worker does, and holds what it writes."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np

from inference_store.archive import WRITERS
from inference_store.archive.base import Copy, File, Output, Piece, Plan, Writer
from inference_store.contract.archive import MEMBER_NAME
from inference_store.contract.entries import read_entries
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import GeoPoint
from inference_store.contract.inferences import LIST_OF_TASK, Inference
from inference_store.query.rows import metadata_list
from inference_store.query.whole import Input, WholeInference

LONG_AGO = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
_numbers = count(1)


def whole(
    inference_id: str | None = None,
    entries: list[Any] | None = None,
    *,
    task: TaskType = TaskType.OBJECT_DETECTION,
    picture: tuple[int, int] | None = (100, 50),
    media_type: str = "image/png",
    metadata: dict[str, dict[str, Any]] | None = None,
    vector: list[float] | None = None,
    place: tuple[float, float] | None = None,
    **fields: Any,
) -> WholeInference:
    """An inference as exports read it; `entries` as they are sent, None where no list was given."""
    told = {
        "model_id": "eye",
        "inference_id": inference_id or f"inference-{next(_numbers)}",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "inference_action": "detect",
        "data": None if entries is None else json.dumps(entries),
        "metadata": metadata_list(metadata or {}),
        "data_hash": "ab" * 32,
        "data_coordinates": place and GeoPoint(latitude=place[0], longitude=place[1]),
        "version": "v1" if entries is None and vector is None else "v2",
    }
    size = dict(zip(("width", "height"), picture or (None, None), strict=True))
    return WholeInference(
        inference=Inference.model_validate(told | fields),
        metadata=metadata or {},
        entries=read_entries(LIST_OF_TASK[task], entries) if entries else [],
        has_list=entries is not None,
        vector=None if vector is None else np.array(vector, dtype=np.float32),
        input=Input(key="1/" + "0" * 32, size=10, media_type=media_type, **size),
    )


def plan(wholes: Iterable[WholeInference] = (), **fields: Any) -> Plan:
    """The plan of that set, as the engine makes it."""
    wholes = list(wholes)
    keys = {(key, type_) for each in wholes for type_, held in each.metadata.items() for key in held}
    known: dict[str, Any] = {
        "model_id": "eye",
        "task_type": TaskType.OBJECT_DETECTION.value,
        "embedding_size": next((len(each.vector) for each in wholes if each.vector is not None), 0),
        "annotations": True,
        "metadata": True,
        "keys": sorted(keys),
        "labels": sorted({entry.label for each in wholes for entry in each.entries}),
    }
    # As it comes back from the database.
    return Plan.from_json(json.loads(json.dumps(Plan(**known | fields).as_json())))


class Draft:
    """What was written so far: members in their order, and streams."""

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}
        self.streams: defaultdict[str, bytes] = defaultdict(bytes)

    def put(self, output: Output, source: WholeInference | None) -> None:
        if isinstance(output, Piece):
            self.streams[output.stream] += output.content
        elif isinstance(output, File):
            self.add(output.name, output.content)
        else:
            assert isinstance(output, Copy)
            assert source is not None
            assert source.input is not None
            self.add(output.name, f"input of {source.inference.inference_id}".encode())

    def add(self, name: str, content: bytes) -> None:
        assert MEMBER_NAME.fullmatch(name), name
        assert name not in self.members, name
        self.members[name] = content


def written(
    format_: str,
    wholes: list[WholeInference],
    *,
    batch: int = 3,
    resumed: bool = False,
    planned: Plan | None = None,
) -> tuple[dict[str, bytes], dict[str, int]]:
    """The members of the archive, and the counts. Resumed: every batch is written by another worker."""
    planned = planned or plan(wholes)
    writer = WRITERS[format_](planned, {})
    draft = Draft()
    for number, start in enumerate(range(0, len(wholes), batch)):
        for each in wholes[start : start + batch]:
            for output in writer.inference(each):
                draft.put(output, each)
        for output in writer.end_of_batch(number):
            draft.put(output, None)
        if resumed:
            writer = again(writer)
    for joined in writer.closing():
        parts = [part if isinstance(part, bytes) else draft.streams[part] for part in joined.parts]
        draft.add(joined.name, b"".join(parts))
    return draft.members, dict(writer.counters)


def again(writer: Writer) -> Writer:
    """The writer that another process would have: its counters alone were kept."""
    return type(writer)(writer.plan, json.loads(json.dumps(writer.counters)))


def box(label: str, left: float, top: float, right: float, bottom: float, score: float | None = 0.5) -> Any:
    told = {"label": label, "xmin": left, "ymin": top, "xmax": right, "ymax": bottom}
    return told if score is None else told | {"score": score}
