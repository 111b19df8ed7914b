"""A month of inferences of a detection model, the same on every machine.

Columns are made once, by one version of numpy, and kept as files: every system's process reads those.
"""

import shutil
import uuid
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np

from bench.compare.places import WORKLOADS

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

VERSION = 1
"""Of what is generated; another one leaves older files aside."""
SEED = 20260101
DAY = 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DAYS = 30
DIMENSIONS = 512
CLUSTERS, DIRECTIONS = 50, 24
"""Embeddings lie around so many centres, and spread around each along so many directions."""
EMBEDDINGS_AT_ONCE = 10_000
ROWS_AT_ONCE = 1_000_000
SOURCES = tuple(f"source-{number}" for number in range(8))
SENSORS = tuple(f"sensor-{number:02d}" for number in range(12))
LABELS = tuple(f"label-{number:02d}" for number in range(20))
MOST_ENTRIES = 6
QUERY_VECTORS = 180
CITIES = np.array(
    [
        *[(52.52, 13.40), (48.86, 2.35), (51.51, -0.13), (40.42, -3.70), (41.90, 12.50)],
        *[(59.33, 18.07), (55.68, 12.57), (50.08, 14.44), (47.50, 19.04), (52.23, 21.01)],
        *[(38.72, -9.14), (37.98, 23.73), (60.17, 24.94), (53.35, -6.26), (48.21, 16.37)],
        *[(40.71, -74.01), (34.05, -118.24), (35.68, 139.69), (-33.87, 151.21), (-23.55, -46.63)],
    ]
)


class Wind(TypedDict):
    speed: float


class Weather(TypedDict):
    temp: float
    wind: Wind


class RecordMetadata(TypedDict):
    sensor: str
    altitude: float
    frame: int
    weather: Weather


class RecordEntry(TypedDict):
    label: str
    score: float


class Record(TypedDict):
    """One inference without its embedding, as every system is given it and has to give it back."""

    id: str
    created_at: float
    data_source: str
    data_hash: str
    latitude: float
    longitude: float
    metadata: RecordMetadata
    entries: list[RecordEntry]


@dataclass(frozen=True)
class Columns:
    """One value an inference, in order of time; entries follow each other from `first_entry` on."""

    milliseconds: Array
    source: Array
    latitude: Array
    longitude: Array
    sensor: Array
    altitude: Array
    frame: Array
    temperature: Array
    wind: Array
    first_entry: Array
    entry_label: Array
    entry_score: Array
    id_bytes: Array
    hash_bytes: Array


@dataclass(frozen=True)
class Workload:
    """`embeddings` is None where the inferences have none."""

    size: int
    columns: Columns
    embeddings: Array | None

    @classmethod
    def open(cls, size: int, *, embedded: bool = True) -> "Workload":
        """The workload of so many inferences, generated at first use."""
        place = WORKLOADS / f"{VERSION}-{size}"
        if not (place / "columns").exists():
            _keep(place / "columns", lambda unfinished: _generate_columns(size, unfinished))
        if embedded and not (place / "embeddings").exists():
            _keep(place / "embeddings", lambda unfinished: _generate_embeddings(size, unfinished))
        names = [field.name for field in fields(Columns)]
        columns = Columns(**{name: _load(place / "columns" / name) for name in names})
        return cls(size, columns, _load(place / "embeddings" / "vectors") if embedded else None)

    @cached_property
    def created(self) -> Array:
        """Seconds since 1970, ascending; no two are the same."""
        seconds: Array = START + self.columns.milliseconds / 1000
        return seconds

    @cached_property
    def queries(self) -> Array:
        """Vectors to look for neighbours of: drawn as the embeddings are, and none of them."""
        return _vectors(2**31, QUERY_VECTORS)

    def identity(self, position: int) -> str:
        return str(uuid.UUID(bytes=self.columns.id_bytes[position].tobytes()))

    def record(self, position: int) -> Record:
        held = self.columns
        first, after = held.first_entry[position : position + 2].tolist()
        labels, scores = held.entry_label[first:after].tolist(), held.entry_score[first:after].tolist()
        return {
            "id": self.identity(position),
            "created_at": float(self.created[position]),
            "data_source": SOURCES[held.source[position]],
            "data_hash": held.hash_bytes[position].tobytes().hex(),
            "latitude": float(held.latitude[position]),
            "longitude": float(held.longitude[position]),
            "metadata": {
                "sensor": SENSORS[held.sensor[position]],
                "altitude": float(held.altitude[position]),
                "frame": int(held.frame[position]),
                "weather": {
                    "temp": float(held.temperature[position]),
                    "wind": {"speed": float(held.wind[position])},
                },
            },
            "entries": [
                {"label": LABELS[label], "score": score} for label, score in zip(labels, scores, strict=True)
            ],
        }

    def records(self, first: int, after: int) -> list[Record]:
        return [self.record(position) for position in range(first, min(after, self.size))]

    def vectors(self, first: int, after: int) -> Array | None:
        """The embeddings of those records, in memory."""
        return None if self.embeddings is None else np.array(self.embeddings[first:after])


def frequencies(count: int) -> Array:
    """Zipf's law: the first is twice as frequent as the second."""
    weights = 1 / np.arange(1, count + 1)
    shares: Array = weights / weights.sum()
    return shares


def _keep(place: Path, generate: Any) -> None:
    """Generate into another directory and rename it, so that files are there whole or not at all."""
    unfinished = place.with_name(f"{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    generate(unfinished)
    unfinished.rename(place)


def _load(path: Path) -> Array:
    loaded: Array = np.load(path.with_suffix(".npy"), mmap_mode="r")
    return loaded


def _generate_columns(size: int, place: Path) -> None:
    random = np.random.default_rng(SEED)
    span = int(DAYS * DAY * 1000)
    city = random.choice(len(CITIES), size, p=frequencies(len(CITIES)))
    entries = random.integers(1, MOST_ENTRIES + 1, size)
    total = int(entries.sum())
    columns = Columns(
        # Sorted numbers with repeats, plus 0, 1, 2 …: sorted numbers without.
        milliseconds=np.sort(random.integers(0, span - size, size)) + np.arange(size),
        source=random.choice(len(SOURCES), size, p=frequencies(len(SOURCES))).astype(np.uint8),
        latitude=np.round(CITIES[city, 0] + random.normal(0, 0.45, size), 6),
        longitude=np.round(CITIES[city, 1] + random.normal(0, 0.6, size), 6),
        sensor=random.choice(len(SENSORS), size, p=frequencies(len(SENSORS))).astype(np.uint8),
        altitude=np.round(random.gamma(3, 800, size), 2),
        frame=random.integers(0, 100_000, size).astype(np.int32),
        temperature=np.round(random.normal(12, 9, size), 1) + 0.0,  # no -0.0
        wind=np.round(random.gamma(2, 4, size), 2),
        first_entry=np.concatenate([[0], np.cumsum(entries)]),
        entry_label=random.choice(len(LABELS), total, p=frequencies(len(LABELS))).astype(np.uint8),
        entry_score=np.round(random.beta(5, 2, total), 4),
        id_bytes=_bytes(random, size, 16),
        hash_bytes=_bytes(random, size, 32),
    )
    for field in fields(Columns):
        np.save(place / f"{field.name}.npy", getattr(columns, field.name))


def _bytes(random: np.random.Generator, size: int, width: int) -> Array:
    rows = (min(ROWS_AT_ONCE, size - first) for first in range(0, size, ROWS_AT_ONCE))
    return np.concatenate([random.integers(0, 256, (each, width)).astype(np.uint8) for each in rows])


def _generate_embeddings(size: int, place: Path) -> None:
    vectors = np.lib.format.open_memmap(place / "vectors.npy", "w+", np.float32, (size, DIMENSIONS))
    for block, first in enumerate(range(0, size, EMBEDDINGS_AT_ONCE)):
        after = min(first + EMBEDDINGS_AT_ONCE, size)
        vectors[first:after] = _vectors(block, after - first)
    vectors.flush()


def _vectors(block: int, count: int) -> Array:
    """Unit vectors in clusters, as those of trained networks lie; each block has its own."""
    shape = np.random.default_rng([SEED, 1])
    centres = _unit(shape.standard_normal((CLUSTERS, DIMENSIONS)))
    directions = shape.standard_normal((CLUSTERS, DIRECTIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    random = np.random.default_rng([SEED, 2, block])
    cluster = random.integers(0, CLUSTERS, count)
    spread = random.normal(0, 0.2, (count, DIRECTIONS))
    vectors = centres[cluster] + random.normal(0, 0.15 / np.sqrt(DIMENSIONS), (count, DIMENSIONS))
    for number in range(CLUSTERS):
        members = cluster == number
        vectors[members] += spread[members] @ directions[number]
    return _unit(vectors).astype(np.float32)


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
