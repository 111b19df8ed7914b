"""FiftyOne on a mongod of its own: a sample an inference, typed fields, similarity by its own backend."""

import os
from datetime import UTC, datetime
from typing import Any

from bench.compare.operations import BINS, NEIGHBOURS, PAGE
from bench.compare.places import VENVS
from bench.compare.stores import servers
from bench.compare.stores.base import Answer, Store
from bench.compare.workload import Array, Record

MONGO = VENVS / "fiftyone" / "mongo"
CACHE_GIB = "4"
DATASET = "inferences"
SIMILARITY = "similarity"
INDEXED = ("identity", "made_at", "sensor", "altitude", "frame", "detections.detections.label")
NO_BOX = [0.0, 0.0, 1.0, 1.0]


class Adapter(Store):
    kind = "library over mongod"

    def open(self, *, new: bool) -> None:
        data, port = self.directory / "mongo", servers.free_port()
        data.mkdir(exist_ok=True)
        self.server = servers.start(
            [
                *(MONGO / "mongod", "--dbpath", data, "--logpath", self.directory / "mongod.log"),
                *("--bind_ip", "127.0.0.1", "--port", str(port), "--wiredTigerCacheSizeGB", CACHE_GIB),
            ],
            {"LD_LIBRARY_PATH": str(MONGO / "lib")},
        )
        servers.wait_for(port, lambda: self.server.poll() is None)
        os.environ |= {
            "HOME": str(self.directory),
            "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}",
            "FIFTYONE_DATABASE_NAME": "bench",
            "FIFTYONE_DO_NOT_TRACK": "1",
            "FIFTYONE_EXECUTION_CACHE_ENABLED": "0",
            "FIFTYONE_SHOW_PROGRESS_BARS": "0",
        }
        import fiftyone

        self.fiftyone = fiftyone
        self.version = f"{fiftyone.__version__}, mongod 6.0.27"
        self.dataset = self._make() if new else fiftyone.load_dataset(DATASET)

    def _make(self) -> Any:
        library = self.fiftyone
        dataset = library.Dataset(DATASET, persistent=True)
        for name in ("identity", "data_source", "data_hash", "sensor"):
            dataset.add_sample_field(name, library.StringField)
        dataset.add_sample_field("made_at", library.DateTimeField)
        dataset.add_sample_field("altitude", library.FloatField)
        dataset.add_sample_field("frame", library.IntField)
        dataset.add_sample_field("weather", library.DictField)
        dataset.add_sample_field("embedding", library.VectorField)
        for name, kind in (("location", library.GeoLocation), ("detections", library.Detections)):
            dataset.add_sample_field(name, library.EmbeddedDocumentField, embedded_doc_type=kind)
        for name in INDEXED:
            dataset.create_index(name)
        dataset.create_index([("location.point", "2dsphere")])
        # Its own call refuses an index on what lies within a dictionary.
        dataset._sample_collection.create_index("weather.wind.speed")
        return dataset

    def insert(self, records: list[Record], vectors: Array | None) -> None:
        given = [None] * len(records) if vectors is None else list(vectors)
        samples = [self._sample(*each) for each in zip(records, given, strict=True)]
        self.dataset.add_samples(samples, dynamic=False)

    def _sample(self, record: Record, vector: Array | None) -> Any:
        library, metadata = self.fiftyone, record["metadata"]
        detections = [
            library.Detection(label=entry["label"], confidence=entry["score"], bounding_box=NO_BOX)
            for entry in record["entries"]
        ]
        return library.Sample(
            filepath=f"/inputs/{record['id']}.png",
            identity=record["id"],
            made_at=_moment(record["created_at"]),
            data_source=record["data_source"],
            data_hash=record["data_hash"],
            sensor=metadata["sensor"],
            altitude=metadata["altitude"],
            frame=metadata["frame"],
            weather=metadata["weather"],
            location=library.GeoLocation(point=[record["longitude"], record["latitude"]]),
            detections=library.Detections(detections=detections),
            embedding=vector,
        )

    def finish(self) -> None:
        if self.embedded:
            import fiftyone.brain

            fiftyone.brain.compute_similarity(
                self.dataset, embeddings="embedding", brain_key=SIMILARITY, backend="sklearn", metric="cosine"
            )

    def close(self) -> None:
        servers.stop(self.server)

    def plain(self, found: Any) -> Record:
        longitude, latitude = found.location.point
        made_at: datetime = found.made_at
        return {
            "id": found.identity,
            "created_at": (made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC)).timestamp(),
            "data_source": found.data_source,
            "data_hash": found.data_hash,
            "latitude": latitude,
            "longitude": longitude,
            "metadata": {
                "sensor": found.sensor,
                "altitude": found.altitude,
                "frame": found.frame,
                "weather": {
                    "temp": found.weather["temp"],
                    "wind": {"speed": found.weather["wind"]["speed"]},
                },
            },
            "entries": [
                {"label": each.label, "score": each.confidence} for each in found.detections.detections
            ],
        }

    # --- The operations ---
    def day_page(self, start: float, end: float) -> Answer:
        return Answer(records=self._newest(self._in_window(start, end)))

    def sensor_page(self, sensor: str) -> Answer:
        return self._page_and_count(self._of_sensor(sensor))

    def ranges_page(self, altitude: float, frame: int) -> Answer:
        field = self.fiftyone.ViewField
        asked = (field("altitude") >= altitude) & (field("frame") < frame)
        return self._page_and_count(self.dataset.match(asked))

    def wind_count(self, speed: float) -> Answer:
        windier = self.fiftyone.ViewField("weather.wind.speed") > speed
        return Answer(count=self.dataset.match(windier).count())

    def circle_page(self, latitude: float, longitude: float, meters: float) -> Answer:
        near = self.dataset.geo_near([longitude, latitude], location_field="location", max_distance=meters)
        return self._page_and_count(near)

    def rectangle_count(self, south: float, north: float, west: float, east: float) -> Answer:
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return Answer(count=self.dataset.geo_within([ring], location_field="location").count())

    def entry_page(self, labels: list[str], score: float) -> Answer:
        field = self.fiftyone.ViewField
        fits = field("label").is_in(labels) & (field("confidence") >= score)
        some = field("detections.detections").filter(fits).length() > 0
        return self._page_and_count(self.dataset.match(some))

    def nearest(self, vector: Array) -> Answer:
        return self._nearest(vector, self.dataset)

    def nearest_filtered(self, vector: Array, sensor: str, start: float) -> Answer:
        field = self.fiftyone.ViewField
        asked = (field("sensor") == sensor) & (field("made_at") >= _moment(start))
        return self._nearest(vector, self.dataset.match(asked))

    def altitude_histogram(self, start: float, end: float) -> Answer:
        counts, _, _ = self._in_window(start, end).histogram_values("altitude", bins=BINS)
        return Answer(histogram=[int(count) for count in counts])

    def sensor_values(self) -> Answer:
        return Answer(values=self.dataset.count_values("sensor"))

    def deep_page(self, offset: int) -> Answer:
        return Answer(records=self._newest(self.dataset.view(), offset))

    def delete_sensor(self, sensor: str) -> Answer:
        before = self.dataset.count()
        self.dataset.delete_samples(self._of_sensor(sensor))
        return Answer(count=before - self.dataset.count())

    # --- Helpers ---
    def _in_window(self, start: float, end: float) -> Any:
        made_at = self.fiftyone.ViewField("made_at")
        return self.dataset.match((made_at >= _moment(start)) & (made_at < _moment(end)))

    def _of_sensor(self, sensor: str) -> Any:
        return self.dataset.match(self.fiftyone.ViewField("sensor") == sensor)

    def _newest(self, view: Any, offset: int = 0) -> list[Any]:
        view = view.sort_by("made_at", reverse=True)
        view = view.skip(offset) if offset else view
        # Excluded last: before the sort it would keep the sort from its index.
        return list(view.limit(PAGE).exclude_fields("embedding"))

    def _page_and_count(self, view: Any) -> Answer:
        return Answer(self._newest(view), view.count())

    def _nearest(self, vector: Array, view: Any) -> Answer:
        near = view.sort_by_similarity(vector, k=NEIGHBOURS, brain_key=SIMILARITY)
        return Answer(records=list(near.exclude_fields("embedding")))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
