"""LanceDB: a table with nested metadata, an index on every searched key, and IVF with HNSW on vectors.

A filter can't ask two things of one entry: each label's best score has a column of its own.
"""

from importlib.metadata import version
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from lancedb.query import ColumnOrdering

from bench.compare.answers import histogram
from bench.compare.operations import NEIGHBOURS, PAGE
from bench.compare.stores.base import Answer, Store
from bench.compare.stores.flattening import best_scores, box_around
from bench.compare.workload import DIMENSIONS, LABELS, Array, Record

COLUMNS = ["id", "created_at", "data_source", "data_hash", "latitude", "longitude", "metadata", "entries"]
SCORE_COLUMNS = {label: f"score_{label.replace('-', '_')}" for label in LABELS}
NUMBER, TEXT = pa.float64(), pa.string()
WEATHER = pa.struct([("temp", NUMBER), ("wind", pa.struct([("speed", NUMBER)]))])
METADATA = pa.struct([("sensor", TEXT), ("altitude", NUMBER), ("frame", pa.int64()), ("weather", WEATHER)])
ENTRIES = pa.list_(pa.struct([("label", TEXT), ("score", NUMBER)]))
VECTOR = pa.field("embedding", pa.list_(pa.float32(), DIMENSIONS))
SCHEMA = pa.schema(
    [
        *[("id", TEXT), ("created_at", NUMBER), ("data_source", TEXT), ("data_hash", TEXT)],
        *[("latitude", NUMBER), ("longitude", NUMBER), ("metadata", METADATA), ("entries", ENTRIES)],
        *((column, NUMBER) for column in SCORE_COLUMNS.values()),
    ]
)
INDEXED = {
    "created_at": "BTREE",
    "metadata.sensor": "BITMAP",
    "metadata.altitude": "BTREE",
    "metadata.frame": "BTREE",
    "metadata.weather.wind.speed": "BTREE",
    "latitude": "BTREE",
    "longitude": "BTREE",
}
ROWS_A_PARTITION = 100_000
BREADTH, REFINING = 150, 2
EVERYTHING = 10**9


class Adapter(Store):
    version = version("lancedb")
    kind = "in process"
    batch_size = 10_000
    emulated = frozenset({"Q7", "Q10", "Q11"})

    def open(self, *, new: bool) -> None:
        connection = lancedb.connect(str(self.directory / "lance"))
        schema = SCHEMA.append(VECTOR) if self.embedded else SCHEMA
        if new:
            self.table = connection.create_table("inference", schema=schema)
        else:
            self.table = connection.open_table("inference")

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        rows = [
            {**record, **{SCORE_COLUMNS[label]: score for label, score in best_scores(record).items()}}
            for record in records
        ]
        table = pa.Table.from_pylist(rows, SCHEMA)
        if vectors is not None:
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
            table = table.append_column(VECTOR, column)
        self.table.add(table)

    def finish(self) -> None:
        self.table.optimize()
        for column, kind in INDEXED.items():
            self.table.create_scalar_index(column, index_type=kind)
        if self.embedded:
            self.table.create_index(
                "cosine",
                vector_column_name="embedding",
                index_type="IVF_HNSW_SQ",
                num_partitions=max(1, self.size // ROWS_A_PARTITION),
                m=16,
                ef_construction=128,
            )

    def plain(self, found: dict[str, Any]) -> Record:
        return {name: found[name] for name in COLUMNS}  # type: ignore[return-value]

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self._newest(f"created_at >= {start} AND created_at < {end}"))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count(f"metadata.sensor = '{sensor}'")

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        return self._page_and_count(f"metadata.altitude >= {altitude} AND metadata.frame < {frame}")

    def wind_count(self, speed: float) -> Answer:
        return Answer(count=self.table.count_rows(f"metadata.weather.wind.speed > {speed}"))

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        box = box_around(latitude, longitude, meters)
        half = (
            f"power(sin(radians(latitude - {latitude}) / 2), 2) + cos(radians({latitude})) "
            f"* cos(radians(latitude)) * power(sin(radians(longitude - ({longitude})) / 2), 2)"
        )
        within = f"2 * 6371008.8 * asin(sqrt({half})) <= {meters}"
        return self._page_and_count(f"{_in_box(*box)} AND {within}")

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        return Answer(count=self.table.count_rows(_in_box(south, north, west, east)))

    def entry_page(self, labels: list[str], score: float) -> Answer:
        return self._page_and_count(" OR ".join(f"{SCORE_COLUMNS[label]} >= {score}" for label in labels))

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, "")

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        return self._nearest(vector, f"metadata.sensor = '{sensor}' AND created_at >= {start}")

    def altitude_histogram(self, start: float, end: float) -> Answer:
        window = f"created_at >= {start} AND created_at < {end}"
        return Answer(histogram=histogram(np.asarray(self._values("metadata.altitude", window))))

    def sensor_values(self) -> Answer:
        counted = self._values("metadata.sensor", "").value_counts().to_pylist()
        return Answer(values={each["values"]: each["counts"] for each in counted})

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest("", offset))

    def delete_sensor(self, sensor: str) -> Answer:
        before = self.table.count_rows()
        self.table.delete(f"metadata.sensor = '{sensor}'")
        return Answer(count=before - self.table.count_rows())

    # --- Helpers ---
    def _newest(self, where: str, offset: int = 0) -> list[dict[str, Any]]:
        query = self.table.search().select(COLUMNS)
        query = query.where(where) if where else query
        order = ColumnOrdering(column_name="created_at", ascending=False)
        rows: list[dict[str, Any]] = query.order_by([order]).limit(PAGE).offset(offset).to_list()
        return rows

    def _page_and_count(self, where: str) -> Answer:
        return Answer(self._newest(where), self.table.count_rows(where))

    def _nearest(self, vector: Array, where: str) -> Answer:
        query = self.table.search(vector, vector_column_name="embedding").distance_type("cosine")
        query = query.select([*COLUMNS, "_distance"]).limit(NEIGHBOURS).ef(BREADTH).refine_factor(REFINING)
        query = query.where(where, prefilter=True) if where else query
        return Answer(records=query.to_list())

    def _values(self, column: str, where: str) -> Any:
        query = self.table.search().select({"value": column}).limit(EVERYTHING)
        return (query.where(where) if where else query).to_arrow()["value"]


def _in_box(south: float, north: float, west: float, east: float) -> str:
    return f"latitude >= {south} AND latitude <= {north} AND longitude >= {west} AND longitude <= {east}"
