"""Qdrant Edge: Qdrant's engine in process, with an index on every searched key and HNSW on vectors."""

import importlib.metadata
from typing import Any

from qdrant_edge import (
    CountRequest,
    Direction,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeVectorParams,
    FacetRequest,
    FieldCondition,
    Filter,
    GeoBoundingBox,
    GeoPoint,
    GeoRadius,
    HnswIndexConfig,
    MatchAny,
    MatchValue,
    NestedCondition,
    OrderBy,
    PayloadSchemaType,
    Point,
    Query,
    QueryRequest,
    RangeFloat,
    ScrollRequest,
    SearchParams,
    UpdateOperation,
)

from bench.compare.operations import NEIGHBOURS, PAGE
from bench.compare.stores.base import Answer, Store
from bench.compare.workload import DIMENSIONS, SENSORS, Array, Record

BREADTH = 128
"""Candidates that a search looks at; with fewer, recall falls below 0.99."""
BREADTH_OF_MILLIONS = 512
"""The same of a million, where recall is 0.973 with the first."""
INDEXED = {
    "created_at": PayloadSchemaType.Float,
    "metadata.sensor": PayloadSchemaType.Keyword,
    "metadata.altitude": PayloadSchemaType.Float,
    "metadata.frame": PayloadSchemaType.Integer,
    "metadata.weather.wind.speed": PayloadSchemaType.Float,
    "place": PayloadSchemaType.Geo,
    "entries[].label": PayloadSchemaType.Keyword,
    "entries[].score": PayloadSchemaType.Float,
}


class Adapter(Store):
    version = importlib.metadata.version("qdrant-edge-py")
    kind = "in process"

    def open(self, *, new: bool) -> None:
        """Make or load it; of a million, the graph has no links of its own for what is filtered by.

        With them (`payload_m`), its default, the graph takes five times as much CPU to build.
        """
        shard = self.directory / "shard"
        if not new:
            self.shard = EdgeShard.load(str(shard))
            return
        shard.mkdir()
        links = None if self.size < 1_000_000 else 0
        graph = HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000, payload_m=links)
        vectors = EdgeVectorParams(size=DIMENSIONS, distance=Distance.Cosine, hnsw_config=graph)
        self.shard = EdgeShard.create(str(shard), EdgeConfig(vectors=vectors))
        for key, kind in INDEXED.items():
            self.shard.update(UpdateOperation.create_field_index(key, kind))

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        if vectors is None:
            raise ValueError("a point has a vector")
        points = [
            Point(record["id"], vector.tolist(), {**record, "place": _place(record)})
            for record, vector in zip(records, vectors, strict=True)
        ]
        self.shard.update(UpdateOperation.upsert_points(points))

    def finish(self) -> None:
        self.shard.flush()
        self.shard.optimize()
        self.shard.flush()

    def close(self) -> None:
        self.shard.close()

    def plain(self, found: Any) -> Record:
        payload = dict(found.payload)
        del payload["place"]
        return payload  # type: ignore[return-value]

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self._newest(Filter(must=[_range("created_at", gte=start, lt=end)])))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count(Filter(must=[_of_sensor(sensor)]))

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        asked = [_range("metadata.altitude", gte=altitude), _range("metadata.frame", lt=frame)]
        return self._page_and_count(Filter(must=asked))

    def wind_count(self, speed: float) -> Answer:
        return self._count(Filter(must=[_range("metadata.weather.wind.speed", gt=speed)]))

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        circle = GeoRadius(GeoPoint(longitude, latitude), meters)
        return self._page_and_count(Filter(must=[FieldCondition(key="place", geo_radius=circle)]))

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        box = GeoBoundingBox(GeoPoint(west, north), GeoPoint(east, south))
        return self._count(Filter(must=[FieldCondition(key="place", geo_bounding_box=box)]))

    def entry_page(self, labels: list[str], score: float) -> Answer:
        fits = Filter(must=[FieldCondition(key="label", match=MatchAny(labels)), _range("score", gte=score)])
        return self._page_and_count(Filter(must=[NestedCondition("entries", fits)]))

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, None)

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        return self._nearest(vector, Filter(must=[_of_sensor(sensor), _range("created_at", gte=start)]))

    def sensor_values(self) -> Answer:
        asked = FacetRequest("metadata.sensor", limit=2 * len(SENSORS), exact=True)
        return Answer(values={hit.value: hit.count for hit in self.shard.facet(asked).hits})

    def deep_page(self, offset: int) -> Answer:
        order = OrderBy("created_at", Direction.Desc)
        asked = QueryRequest(limit=PAGE, offset=offset, query=order, with_payload=True)
        return Answer(records=list(self.shard.query(asked)))

    def delete_sensor(self, sensor: str) -> Answer:
        asked = Filter(must=[_of_sensor(sensor)])
        before = self._count(asked).count
        self.shard.update(UpdateOperation.delete_points_by_filter(asked))
        return Answer(count=(before or 0) - (self._count(asked).count or 0))

    # --- Helpers ---
    def _newest(self, asked: Filter) -> list[Any]:
        order = OrderBy("created_at", Direction.Desc)
        found, _ = self.shard.scroll(
            ScrollRequest(limit=PAGE, filter=asked, with_payload=True, order_by=order)
        )
        return list(found)

    def _count(self, asked: Filter) -> Answer:
        return Answer(count=self.shard.count(CountRequest(exact=True, filter=asked)))

    def _page_and_count(self, asked: Filter) -> Answer:
        return Answer(self._newest(asked), self._count(asked).count)

    def _nearest(self, vector: Array, asked: Filter | None) -> Answer:
        request = QueryRequest(
            limit=NEIGHBOURS,
            query=Query.Nearest(vector.tolist()),
            filter=asked,
            with_payload=True,
            params=self._params(asked),
        )
        return Answer(records=list(self.shard.query(request)))

    def _params(self, asked: Filter | None) -> SearchParams:
        if self.size < 1_000_000:
            return SearchParams(hnsw_ef=BREADTH)
        # All that match, exactly: without links for them the graph finds a hundredth of the neighbours, and
        # a seventh by ACORN.
        return SearchParams(hnsw_ef=BREADTH_OF_MILLIONS) if asked is None else SearchParams(exact=True)


def _place(record: Record) -> dict[str, float]:
    return {"lat": record["latitude"], "lon": record["longitude"]}


def _range(key: str, **bounds: float) -> FieldCondition:
    return FieldCondition(key=key, range=RangeFloat(**bounds))


def _of_sensor(sensor: str) -> FieldCondition:
    return FieldCondition(key="metadata.sensor", match=MatchValue(sensor))
