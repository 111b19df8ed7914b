"""Milvus 2.3.5, the last server that comes as a wheel: JSON fields beside typed copies of searched keys.

It neither sorts nor aggregates: its client fetches every match for that.
"""

import ctypes
import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from milvus import MilvusServer
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

from bench.compare.answers import histogram
from bench.compare.operations import NEIGHBOURS, PAGE
from bench.compare.stores.base import Answer, Store
from bench.compare.stores.flattening import best_scores, box_around, is_within
from bench.compare.workload import DIMENSIONS, Array, Record

NEW_NETWORK_NAMESPACE = 0x40000000
COLLECTION = "inference"
EVERYTHING = "created_at > 0"
MOST_ROWS = 16_384
"""In one answer of the server."""
STALE_SECONDS = 6
"""Reads lag behind writes by up to so much."""
FIELDS = ["id", "created_at", "data_source", "data_hash", "latitude", "longitude", "metadata", "entries"]
GRAPH = {"M": 16, "efConstruction": 128}
BREADTH = 128
Row = dict[str, Any]


def _fields() -> list[FieldSchema]:
    text, number = DataType.VARCHAR, DataType.DOUBLE
    return [
        FieldSchema("id", text, is_primary=True, max_length=40),
        *(FieldSchema(name, text, max_length=64) for name in ("data_source", "data_hash", "sensor")),
        *(FieldSchema(name, number) for name in ("created_at", "latitude", "longitude", "altitude", "wind")),
        FieldSchema("frame", DataType.INT64),
        *(FieldSchema(name, DataType.JSON) for name in ("metadata", "entries", "best")),
        FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIMENSIONS),
    ]


class Adapter(Store):
    version = "2.3.5"
    kind = "server, over gRPC"
    emulated = frozenset({"Q1", "Q2", "Q3", "Q5", "Q7", "Q10", "Q11", "Q12"})

    def open(self, *, new: bool) -> None:
        _leave_network()
        self.server = MilvusServer()
        self.server.set_base_dir(str(self.directory / "milvus"))
        self.server.start()
        connections.connect(host="127.0.0.1", port=self.server.listen_port)
        if new:
            schema = CollectionSchema(_fields(), enable_dynamic_field=False)
            self.collection = Collection(COLLECTION, schema, consistency_level="Bounded")
            index = {"index_type": "HNSW", "metric_type": "COSINE", "params": GRAPH}
            self.collection.create_index("embedding", index)
        else:
            self.collection = Collection(COLLECTION)
            self.collection.load()

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        if vectors is None:
            raise ValueError("a row has a vector")
        self.collection.insert([_row(*each) for each in zip(records, vectors, strict=True)])

    def finish(self) -> None:
        self.collection.flush()
        self.collection.load()
        utility.wait_for_index_building_complete(COLLECTION)
        time.sleep(STALE_SECONDS)

    def close(self) -> None:
        connections.disconnect("default")
        self.server.stop()

    def plain(self, found: Row) -> Record:
        record: Any = {name: found[name] for name in FIELDS}
        record["metadata"] = _parsed(record["metadata"])
        record["entries"] = _parsed(record["entries"])["list"]
        return cast(Record, record)

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self._newest(_in_window(start, end)).records)

    def sensor_page(self, sensor: str) -> Answer:
        return self._newest(f"sensor == '{sensor}'")

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        return self._newest(f"altitude >= {altitude} and frame < {frame}")

    def wind_count(self, speed: float) -> Answer:
        return self._count(f"wind > {speed}")

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        def within(found: list[Row]) -> list[Row]:
            places = np.array([(row["latitude"], row["longitude"]) for row in found]).reshape(-1, 2)
            inside = is_within(latitude, longitude, meters, (places[:, 0], places[:, 1]))
            return [found[number] for number in np.flatnonzero(inside)]

        box = _in_box(*box_around(latitude, longitude, meters))
        return self._newest(box, keep=within, more=["latitude", "longitude"])

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        return self._count(_in_box(south, north, west, east))

    def entry_page(self, labels: list[str], score: float) -> Answer:
        # Without the brackets this version's iterator never ends.
        return self._newest("(" + " or ".join(f"best['{_key(label)}'] >= {score}" for label in labels) + ")")

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, "")

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        return self._nearest(vector, f"sensor == '{sensor}' and created_at >= {start}")

    def altitude_histogram(self, start: float, end: float) -> Answer:
        rows = self._matches(_in_window(start, end), ["altitude"])
        return Answer(histogram=histogram(np.array([row["altitude"] for row in rows])))

    def sensor_values(self) -> Answer:
        values: dict[str, int] = {}
        for row in self._matches(EVERYTHING, ["sensor"]):
            values[row["sensor"]] = values.get(row["sensor"], 0) + 1
        return Answer(values=values)

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest(EVERYTHING, offset).records)

    def delete_sensor(self, sensor: str) -> Answer:
        asked = f"sensor == '{sensor}'"
        before = self._count(asked).count or 0
        self.collection.delete(asked)
        return Answer(count=before - (self._count(asked, consistency_level="Strong").count or 0))

    # --- Helpers ---
    def _matches(self, where: str, fields: list[str]) -> list[Row]:
        rows: list[Row] = []
        iterator = self.collection.query_iterator(batch_size=MOST_ROWS, expr=where, output_fields=fields)
        while batch := iterator.next():
            rows += batch
        iterator.close()
        return rows

    def _newest(
        self,
        where: str,
        offset: int = 0,
        keep: Callable[[list[Row]], list[Row]] | None = None,
        more: list[str] | None = None,
    ) -> Answer:
        found = self._matches(where, ["id", "created_at", *(more or [])])
        found = keep(found) if keep else found
        found.sort(key=lambda row: row["created_at"], reverse=True)
        identities = [row["id"] for row in found[offset : offset + PAGE]]
        rows = self.collection.query(f"id in {json.dumps(identities)}", output_fields=FIELDS)
        by_identity = {row["id"]: row for row in rows}
        return Answer([by_identity[identity] for identity in identities], len(found))

    def _count(self, where: str, **options: Any) -> Answer:
        counted = self.collection.query(where, output_fields=["count(*)"], **options)
        return Answer(count=counted[0]["count(*)"])

    def _nearest(self, vector: Array, where: str) -> Answer:
        hits = self.collection.search(
            data=[vector],
            anns_field="embedding",
            param={"metric_type": "COSINE", "params": {"ef": BREADTH}},
            limit=NEIGHBOURS,
            expr=where or None,
            output_fields=FIELDS,
        )[0]
        return Answer(records=[hit.fields for hit in hits])


def _leave_network() -> None:
    """Into a namespace with nothing but loopback: the server listens on every interface that it sees."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK_NAMESPACE):
        raise PermissionError(f"this needs root: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _key(label: str) -> str:
    return label.replace("-", "_")


def _row(record: Record, vector: Array) -> Row:
    metadata = record["metadata"]
    return {
        **record,
        **{name: metadata[name] for name in ("sensor", "altitude", "frame")},
        "wind": metadata["weather"]["wind"]["speed"],
        "entries": {"list": record["entries"]},  # only objects fit into its JSON
        "best": {_key(label): score for label, score in best_scores(record).items()},
        "embedding": vector,
    }


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value


def _in_window(start: float, end: float) -> str:
    return f"created_at >= {start} and created_at < {end}"


def _in_box(south: float, north: float, west: float, east: float) -> str:
    return f"latitude >= {south} and latitude <= {north} and longitude >= {west} and longitude <= {east}"
