"""DuckDB: one table with struct metadata, a list of structs for entries, and the embedding as an array."""

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]

from bench.compare.operations import BINS, NEIGHBOURS, PAGE
from bench.compare.stores.base import Answer, Store
from bench.compare.stores.flattening import box_around
from bench.compare.workload import DIMENSIONS, Array, Record

COLUMNS = "id, created_at, data_source, data_hash, latitude, longitude, metadata, entries"
TABLE = f"""
create table inference (
    id varchar, created_at double, data_source varchar, data_hash varchar, latitude double, longitude double,
    metadata struct(
        sensor varchar, altitude double, frame bigint,
        weather struct("temp" double, wind struct(speed double))
    ),
    entries struct("label" varchar, score double)[],
    embedding float[{DIMENSIONS}]
)
"""
METERS = """
2 * 6371008.8 * asin(sqrt(
    power(sin(radians(latitude - $latitude) / 2), 2)
    + cos(radians($latitude)) * cos(radians(latitude))
    * power(sin(radians(longitude - $longitude) / 2), 2)
))
"""


class Adapter(Store):
    version = duckdb.__version__
    kind = "in process"
    batch_size = 5_000

    def open(self, *, new: bool) -> None:
        self.connection = duckdb.connect(str(self.directory / "inferences.duckdb"))
        if new:
            self.connection.execute(TABLE)

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        table = pa.Table.from_pylist(records)
        if vectors is None:
            column = pa.nulls(len(records), pa.list_(pa.float32(), DIMENSIONS))
        else:
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
        self.connection.register("batch", table.append_column("embedding", column))
        self.connection.execute(f"insert into inference select {COLUMNS}, embedding from batch")
        self.connection.unregister("batch")

    def finish(self) -> None:
        self.connection.execute("checkpoint")

    def close(self) -> None:
        self.connection.close()

    def plain(self, found: Record) -> Record:
        return {key: value for key, value in found.items() if key != "distance"}  # type: ignore[return-value]

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        where = "created_at >= $start and created_at < $end"
        return Answer(records=self._newest(where, {"start": start, "end": end}))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count("metadata.sensor = $sensor", {"sensor": sensor})

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        where = "metadata.altitude >= $altitude and metadata.frame < $frame"
        return self._page_and_count(where, {"altitude": altitude, "frame": frame})

    def wind_count(self, speed: float) -> Answer:
        return self._count("metadata.weather.wind.speed > $speed", {"speed": speed})

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        box = box_around(latitude, longitude, meters)
        where = f"latitude between $south and $north and {METERS} <= $meters"
        bounds = {"south": box.south, "north": box.north, "meters": meters}
        return self._page_and_count(where, {"latitude": latitude, "longitude": longitude, **bounds})

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        where = "latitude between $south and $north and longitude between $west and $east"
        return self._count(where, {"south": south, "north": north, "west": west, "east": east})

    def entry_page(self, labels: list[str], score: float) -> Answer:
        fits = "list_contains($labels, entry.label) and entry.score >= $score"
        where = f"len(list_filter(entries, lambda entry: {fits})) > 0"
        return self._page_and_count(where, {"labels": labels, "score": score})

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, "true", {})

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        where = "metadata.sensor = $sensor and created_at >= $start"
        return self._nearest(vector, where, {"sensor": sensor, "start": start})

    def altitude_histogram(self, start: float, end: float) -> Answer:
        rows = self.connection.execute(
            f"""
            with value as materialized (
                select metadata.altitude as number from inference
                where created_at >= $start and created_at < $end
            ), bounds as (select min(number) as low, max(number) as high from value)
            select least({BINS - 1}, floor((number - low) / ((high - low) / {BINS}))::integer) as bin,
                count(*)
            from value, bounds group by bin
            """,
            {"start": start, "end": end},
        ).fetchall()
        counts = dict(rows)
        return Answer(histogram=[counts.get(number, 0) for number in range(BINS)])

    def sensor_values(self) -> Answer:
        found = self.connection.execute("select metadata.sensor, count(*) from inference group by 1")
        return Answer(values=dict(found.fetchall()))

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest("true", {}, offset))

    def delete_sensor(self, sensor: str) -> Answer:
        where = "metadata.sensor = $sensor"
        deleted = self.connection.execute(f"delete from inference where {where}", {"sensor": sensor})
        return Answer(count=deleted.fetchone()[0])

    # --- Helpers ---
    def _rows(self, statement: str, parameters: dict[str, object]) -> list[Record]:
        found = self.connection.execute(statement, parameters)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]  # type: ignore[misc]

    def _newest(self, where: str, parameters: dict[str, object], offset: int = 0) -> list[Record]:
        order = f"order by created_at desc limit {PAGE} offset {offset}"
        return self._rows(f"select {COLUMNS} from inference where {where} {order}", parameters)

    def _count(self, where: str, parameters: dict[str, object]) -> Answer:
        found = self.connection.execute(f"select count(*) from inference where {where}", parameters)
        return Answer(count=found.fetchone()[0])

    def _page_and_count(self, where: str, parameters: dict[str, object]) -> Answer:
        return Answer(self._newest(where, parameters), self._count(where, parameters).count)

    def _nearest(self, vector: Array, where: str, parameters: dict[str, object]) -> Answer:
        distance = f"array_cosine_distance(embedding, $vector::float[{DIMENSIONS}])"
        records = self._rows(
            f"""
            select {COLUMNS}, distance from inference join (
                select rowid as row, {distance} as distance from inference where {where}
                order by distance limit {NEIGHBOURS}
            ) on inference.rowid = row order by distance
            """,
            {"vector": vector.tolist(), **parameters},
        )
        return Answer(records=records)
