"""Chroma behind its own HTTP server: flat metadata, entries as a document and as one score a label.

It neither sorts, counts under a filter nor aggregates: its client fetches every match for that.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

from bench.compare.answers import histogram
from bench.compare.operations import NEIGHBOURS, OPERATIONS, PAGE
from bench.compare.stores import servers
from bench.compare.stores.base import Answer, Store
from bench.compare.stores.flattening import best_scores, box_around, is_within
from bench.compare.workload import Array, Record

COLLECTION = "inferences"
GRAPH = {"space": "cosine", "max_neighbors": 16, "ef_construction": 128}
BREADTH, BREADTH_OF_MILLIONS = 128, 512
"""Candidates that a search looks at: of a million, recall is 0.963 with the first."""
MOST_ROWS = 10_000
Where = dict[str, Any]
Match = tuple[str, dict[str, Any]]
"""An id, and what it holds."""


class Adapter(Store):
    version = chromadb.__version__
    kind = "server, over HTTP"
    emulated = frozenset(OPERATIONS) - {"Q8", "Q9", "D1"}

    def open(self, *, new: bool) -> None:
        port = servers.free_port()
        program = Path(sys.executable).with_name("chroma")
        self.server = servers.start(
            [program, "run", "--path", self.directory / "chroma", "--host", "127.0.0.1", "--port", str(port)]
        )
        servers.wait_for(port, lambda: self.server.poll() is None)
        client = chromadb.HttpClient("127.0.0.1", port, settings=Settings(anonymized_telemetry=False))
        breadth = {"ef_search": BREADTH if self.size < 1_000_000 else BREADTH_OF_MILLIONS}
        if new:
            self.collection = client.create_collection(COLLECTION, configuration={"hnsw": GRAPH | breadth})
        else:
            self.collection = client.get_collection(COLLECTION)
            self.collection.modify(configuration={"hnsw": breadth})

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        if vectors is None:
            raise ValueError("a document has an embedding")
        self.collection.add(
            ids=[record["id"] for record in records],
            embeddings=vectors,
            metadatas=[_flat(record) for record in records],
            documents=[json.dumps(record["entries"]) for record in records],
        )

    def close(self) -> None:
        servers.stop(self.server)

    def plain(self, found: Record) -> Record:
        return found

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self._newest(_in_window(start, end)).records)

    def sensor_page(self, sensor: str) -> Answer:
        return self._newest({"sensor": sensor})

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        return self._newest(_all({"altitude": {"$gte": altitude}}, {"frame": {"$lt": frame}}))

    def wind_count(self, speed: float) -> Answer:
        return self._count({"wind": {"$gt": speed}})

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        def within(found: list[Match]) -> list[Match]:
            places = np.array([(held["latitude"], held["longitude"]) for _, held in found]).reshape(-1, 2)
            inside = is_within(latitude, longitude, meters, (places[:, 0], places[:, 1]))
            return [found[number] for number in np.flatnonzero(inside)]

        return self._newest(_in_box(*box_around(latitude, longitude, meters)), keep=within)

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        return self._count(_in_box(south, north, west, east))

    def entry_page(self, labels: list[str], score: float) -> Answer:
        return self._newest({"$or": [{f"score {label}": {"$gte": score}} for label in labels]})

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, None)

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        return self._nearest(vector, _all({"sensor": sensor}, {"created_at": {"$gte": start}}))

    def altitude_histogram(self, start: float, end: float) -> Answer:
        found = self._matches(_in_window(start, end))
        return Answer(histogram=histogram(np.array([held["altitude"] for _, held in found])))

    def sensor_values(self) -> Answer:
        values: dict[str, int] = {}
        for _, held in self._matches(None):
            values[held["sensor"]] = values.get(held["sensor"], 0) + 1
        return Answer(values=values)

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest(None, offset).records)

    def delete_sensor(self, sensor: str) -> Answer:
        before = self.collection.count()
        self.collection.delete(where={"sensor": sensor})
        return Answer(count=before - self.collection.count())

    # --- Helpers ---
    def _matches(self, where: Where | None) -> list[Match]:
        if where is not None:
            found = self.collection.get(where=where, include=["metadatas"])
            return list(zip(found["ids"], found["metadatas"], strict=True))
        # Everything at once is more than its database takes.
        matches: list[Match] = []
        while True:
            found = self.collection.get(limit=MOST_ROWS, offset=len(matches), include=["metadatas"])
            if not found["ids"]:
                return matches
            matches += zip(found["ids"], found["metadatas"], strict=True)

    def _newest(
        self,
        where: Where | None,
        offset: int = 0,
        keep: Callable[[list[Match]], list[Match]] | None = None,
    ) -> Answer:
        found = self._matches(where)
        found = keep(found) if keep else found
        found.sort(key=lambda match: match[1]["created_at"], reverse=True)
        page = found[offset : offset + PAGE]
        texts = self.collection.get(ids=[identity for identity, _ in page], include=["documents"])
        documents = dict(zip(texts["ids"], texts["documents"], strict=True))
        records = [_record(identity, held, documents[identity]) for identity, held in page]
        return Answer(records, len(found))

    def _count(self, where: Where) -> Answer:
        return Answer(count=len(self.collection.get(where=where, include=[])["ids"]))

    def _nearest(self, vector: Array, where: Where | None) -> Answer:
        found = self.collection.query(
            query_embeddings=[vector],
            n_results=NEIGHBOURS,
            where=where,
            include=["metadatas", "documents", "distances"],
        )
        rows = zip(found["ids"][0], found["metadatas"][0], found["documents"][0], strict=True)
        return Answer(records=[_record(*row) for row in rows])


def _flat(record: Record) -> dict[str, Any]:
    metadata = record["metadata"]
    return {
        **{
            name: record[name] for name in ("created_at", "data_source", "data_hash", "latitude", "longitude")
        },
        **{name: metadata[name] for name in ("sensor", "altitude", "frame")},
        "temp": metadata["weather"]["temp"],
        "wind": metadata["weather"]["wind"]["speed"],
        **{f"score {label}": score for label, score in best_scores(record).items()},
    }


def _record(identity: str, held: dict[str, Any], document: str) -> Record:
    return {
        "id": identity,
        "created_at": held["created_at"],
        "data_source": held["data_source"],
        "data_hash": held["data_hash"],
        "latitude": held["latitude"],
        "longitude": held["longitude"],
        "metadata": {
            "sensor": held["sensor"],
            "altitude": held["altitude"],
            "frame": held["frame"],
            "weather": {"temp": held["temp"], "wind": {"speed": held["wind"]}},
        },
        "entries": json.loads(document),
    }


def _all(*conditions: Where) -> Where:
    return {"$and": list(conditions)}


def _in_window(start: float, end: float) -> Where:
    return _all({"created_at": {"$gte": start}}, {"created_at": {"$lt": end}})


def _in_box(south: float, north: float, west: float, east: float) -> Where:
    return _all(
        *({"latitude": {"$gte": south}}, {"latitude": {"$lte": north}}),
        *({"longitude": {"$gte": west}}, {"longitude": {"$lte": east}}),
    )
