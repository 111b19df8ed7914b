"""SQLite with sqlite-vec: generated columns for searched keys, an R-tree, exact search of vectors."""

import json
from typing import Any

import apsw
import sqlite_vec

from bench.compare.operations import BINS, NEIGHBOURS, PAGE
from bench.compare.stores.base import Answer, Store
from bench.compare.stores.flattening import box_around
from bench.compare.workload import DIMENSIONS, Array, Record

COLUMNS = ("id", "created_at", "data_source", "data_hash", "latitude", "longitude", "metadata", "entries")
SETTINGS = """
pragma journal_mode = wal;
pragma synchronous = normal;
pragma cache_size = -524288;
pragma mmap_size = 4000000000;
"""
TABLES = f"""
create table inference (
    key integer primary key, id text, created_at real, data_source text, data_hash text,
    latitude real, longitude real, metadata text, entries text,
    sensor text as (metadata ->> '$.sensor'), altitude real as (metadata ->> '$.altitude'),
    frame integer as (metadata ->> '$.frame'), wind real as (metadata ->> '$.weather.wind.speed')
);
create table entry (key integer, label text, score real);
create virtual table place using rtree(key, south, north, west, east);
create virtual table embedding using vec0(
    key integer primary key, sensor text, created_at float,
    vector float[{DIMENSIONS}] distance_metric=cosine
);
"""
INDEXES = """
create index by_time on inference (created_at);
create index by_sensor on inference (sensor, created_at);
create index by_altitude on inference (altitude, frame);
create index by_wind on inference (wind);
create index by_time_and_altitude on inference (created_at, altitude);
create index entry_by_label on entry (label, score, key);
create index entry_by_key on entry (key);
analyze;
"""
METERS = """
2 * 6371008.8 * asin(sqrt(
    power(sin(radians(latitude - :latitude) / 2), 2)
    + cos(radians(:latitude)) * cos(radians(latitude))
    * power(sin(radians(longitude - :longitude) / 2), 2)
))
"""
Parameters = dict[str, Any]


class Adapter(Store):
    version = f"{apsw.sqlite_lib_version()}, sqlite-vec {sqlite_vec.__version__}"
    kind = "in process"
    batch_size = 2_000

    def open(self, *, new: bool) -> None:
        self.connection = apsw.Connection(str(self.directory / "inferences.sqlite"))
        self.connection.enable_load_extension(True)
        self.connection.load_extension(sqlite_vec.loadable_path())
        for statement in (SETTINGS, TABLES) if new else (SETTINGS,):
            self.connection.execute(statement).fetchall()
        self.next_key = 0

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        keyed: list[tuple[int, Any]] = list(enumerate(records, self.next_key))
        self.next_key += len(records)
        plain = [
            (
                key,
                *(each[name] for name in COLUMNS[:6]),
                json.dumps(each["metadata"]),
                json.dumps(each["entries"]),
            )
            for key, each in keyed
        ]
        places = [(key, *[each["latitude"]] * 2, *[each["longitude"]] * 2) for key, each in keyed]
        entries = [(key, entry["label"], entry["score"]) for key, each in keyed for entry in each["entries"]]
        with self.connection:
            run = self.connection.executemany
            run(
                f"insert into inference (key, {', '.join(COLUMNS)}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", plain
            )
            run("insert into entry values (?, ?, ?)", entries)
            run("insert into place values (?, ?, ?, ?, ?)", places)
            if vectors is not None:
                embeddings = [
                    (key, each["metadata"]["sensor"], each["created_at"], vector.tobytes())
                    for (key, each), vector in zip(keyed, vectors, strict=True)
                ]
                run("insert into embedding values (?, ?, ?, ?)", embeddings)

    def finish(self) -> None:
        self.connection.execute(INDEXES).fetchall()

    def close(self) -> None:
        self.connection.close()

    def plain(self, found: Record) -> Record:
        return found

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        where = "created_at >= :start and created_at < :end"
        return Answer(records=self._newest(where, {"start": start, "end": end}))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count("sensor = :sensor", {"sensor": sensor})

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        where = "altitude >= :altitude and frame < :frame"
        return self._page_and_count(where, {"altitude": altitude, "frame": frame})

    def wind_count(self, speed: float) -> Answer:
        return self._count("inference where wind > :speed", {"speed": speed})

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        box = "south >= :south and north <= :north and west >= :west and east <= :east"
        where = f"key in (select key from place where {box}) and {METERS} <= :meters"
        asked = {
            "latitude": latitude,
            "longitude": longitude,
            "meters": meters,
            **box_around(latitude, longitude, meters)._asdict(),
        }
        return self._page_and_count(where, asked)

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        box = "south >= :south and north <= :north and west >= :west and east <= :east"
        asked = {"south": south, "north": north, "west": west, "east": east}
        return self._count(f"place where {box}", asked)

    def entry_page(self, labels: list[str], score: float) -> Answer:
        names = {f"label{number}": label for number, label in enumerate(labels)}
        listed = ", ".join(f":{name}" for name in names)
        where = f"key in (select key from entry where label in ({listed}) and score >= :score)"
        return self._page_and_count(where, {**names, "score": score})

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, "", {})

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        condition = "and sensor = :sensor and created_at >= :start"
        return self._nearest(vector, condition, {"sensor": sensor, "start": start})

    def altitude_histogram(self, start: float, end: float) -> Answer:
        window = "from inference where created_at >= :start and created_at < :end"
        asked = {"start": start, "end": end}
        bounds = self.connection.execute(f"select min(altitude), max(altitude) {window}", asked)
        low, high = bounds.fetchone()
        rows = self.connection.execute(
            f"select min({BINS - 1}, cast((altitude - :low) / :width as integer)) as bin, count(*) "
            f"{window} group by bin",
            {**asked, "low": low, "width": (high - low) / BINS},
        )
        counts = dict(rows.fetchall())
        return Answer(histogram=[counts.get(number, 0) for number in range(BINS)])

    def sensor_values(self) -> Answer:
        found = self.connection.execute("select sensor, count(*) from inference group by sensor")
        return Answer(values=dict(found.fetchall()))

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest("true", {}, offset))

    def delete_sensor(self, sensor: str) -> Answer:
        with self.connection:
            found = self.connection.execute("select key from inference where sensor = ?", (sensor,))
            keys = found.fetchall()
            for table in ("inference", "entry", "place", "embedding"):
                self.connection.executemany(f"delete from {table} where key = ?", keys)
        return Answer(count=len(keys))

    # --- Helpers ---
    def _rows(self, statement: str, parameters: Parameters) -> list[Any]:
        rows = []
        for row in self.connection.execute(statement, parameters):
            record = dict(zip(COLUMNS, row, strict=True))
            record["metadata"] = json.loads(record["metadata"])
            record["entries"] = json.loads(record["entries"])
            rows.append(record)
        return rows

    def _newest(self, where: str, parameters: Parameters, offset: int = 0) -> list[Any]:
        order = f"order by created_at desc limit {PAGE} offset {offset}"
        return self._rows(f"select {', '.join(COLUMNS)} from inference where {where} {order}", parameters)

    def _count(self, source: str, parameters: Parameters) -> Answer:
        return Answer(
            count=self.connection.execute(f"select count(*) from {source}", parameters).fetchone()[0]
        )

    def _page_and_count(self, where: str, parameters: Parameters) -> Answer:
        records = self._newest(where, parameters)
        return Answer(records, self._count(f"inference where {where}", parameters).count)

    def _nearest(self, vector: Array, condition: str, parameters: Parameters) -> Answer:
        columns = ", ".join(f"inference.{name}" for name in COLUMNS)
        records = self._rows(
            f"""
            with near as materialized (
                select key as row, distance from embedding where vector match :vector {condition}
                order by distance limit {NEIGHBOURS}
            )
            select {columns} from near join inference on inference.key = near.row order by near.distance
            """,
            {"vector": vector.tobytes(), **parameters},
        )
        return Answer(records=records)
