"""The workload in this store's own terms: requests to store and find, and answered objects as records."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.compare.operations import BINS, NEIGHBOURS, PAGE
from bench.compare.workload import Array, Record
from inference_store.contract.enums import (
    InferenceAction,
    MetadataFilterOperator,
    MetadataFilterType,
    MetadataStatisticsType,
    MetadataType,
    PaginationSortDirection,
    PaginationSortField,
    TaskType,
)
from inference_store.contract.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    EmbeddingFilter,
    GeoCircle,
    GeolocationFilter,
    GeoPoint,
    GeoRectangle,
    MetadataFilter,
    NewGetInferencesRequest,
    Pagination,
    TimeWindowFilter,
)
from inference_store.contract.inferences import (
    Inference,
    NewInferenceAndMetadataCollection,
    NewInferenceStorageRequest,
)
from inference_store.contract.metadata import (
    MetadataStatistics,
    NewExtendedMetadataRequest,
    NewGetMetadataStatisticsRequest,
    NewMetadataCollectionRequest,
    NewStandardMetadataRequest,
)

MODEL_ID = "compared"
PROJECT_ID = "bench"
INPUT_BYTES = 20_000
TYPES = {
    "sensor": MetadataType.STRING,
    "altitude": MetadataType.FLOAT,
    "frame": MetadataType.INT,
    "weather": MetadataType.JSON,
}


# --- Storing ------------------------------------------------------------------------------------------------
def storage_request(record: Record, vector: Array | None) -> NewInferenceStorageRequest:
    """The inference as the SDK's object, its time imported."""
    spelled = {
        "sensor": record["metadata"]["sensor"],
        "altitude": repr(record["metadata"]["altitude"]),
        "frame": str(record["metadata"]["frame"]),
        "weather": json.dumps(record["metadata"]["weather"]),
    }
    metadata = NewMetadataCollectionRequest(
        standard_metadata=NewStandardMetadataRequest(
            data_hash=record["data_hash"],
            data_size=INPUT_BYTES,
            task_type=TaskType.OBJECT_DETECTION,
            inference_action=InferenceAction.DETECT,
            data_source=record["data_source"],
            latitude=record["latitude"],
            longitude=record["longitude"],
        ),
        extended_metadata=[
            NewExtendedMetadataRequest(key=key, type=TYPES[key], value=value)
            for key, value in spelled.items()
        ],
    )
    return NewInferenceStorageRequest(
        model_id=MODEL_ID,
        inference_id=record["id"],
        created_at=datetime.fromtimestamp(record["created_at"], UTC),
        data=NewInferenceAndMetadataCollection(
            object_detection=record["entries"],
            embedding=vector,
            metadata=metadata,
        ),
    )


def each_storage_request(
    records: list[Record], vectors: Array | None
) -> Iterator[NewInferenceStorageRequest]:
    """One made when it is asked for, so that the next are made while those before are on their way."""
    given = [None] * len(records) if vectors is None else list(vectors)
    return (storage_request(record, vector) for record, vector in zip(records, given, strict=True))


def storage_requests(records: list[Record], vectors: Array | None) -> list[NewInferenceStorageRequest]:
    return list(each_storage_request(records, vectors))


def record_of(found: Inference) -> Record:
    """An answered inference as it was given."""
    metadata = {each.key: each.value for each in found.metadata or []}
    place = found.data_coordinates
    assert place is not None
    return {
        "id": found.inference_id,
        "created_at": found.created_at.timestamp(),
        "data_source": found.data_source or "",
        "data_hash": found.data_hash,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "metadata": {
            "sensor": metadata["sensor"],
            "altitude": float(metadata["altitude"]),
            "frame": int(metadata["frame"]),
            "weather": json.loads(metadata["weather"]),
        },
        "entries": json.loads(found.data or "[]"),
    }


# --- Finding ------------------------------------------------------------------------------------------------
def newest(filters: BaseInferenceFilter, offset: int | None = None) -> NewGetInferencesRequest:
    """A page of what matches, newest first."""
    pagination = Pagination(
        sort=PaginationSortField.CREATED_AT,
        direction=PaginationSortDirection.DESCENDING,
        limit=PAGE,
        offset=offset,
    )
    return NewGetInferencesRequest(filters=filters, pagination=pagination)


def nearest(vector: Array, filters: BaseInferenceFilter) -> NewGetInferencesRequest:
    """The nearest of what matches."""
    return NewGetInferencesRequest(
        filters=filters,
        embedding_filters=EmbeddingFilter(query_embedding=vector.tolist()),
        pagination=Pagination(limit=NEIGHBOURS),
    )


def altitude_statistics(filters: BaseInferenceFilter) -> NewGetMetadataStatisticsRequest:
    return NewGetMetadataStatisticsRequest(
        filters=filters,
        key="altitude",
        type=MetadataStatisticsType.FLOAT,
        distribution_bin_count=BINS,
    )


def sensor_statistics() -> NewGetMetadataStatisticsRequest:
    return NewGetMetadataStatisticsRequest(key="sensor", type=MetadataStatisticsType.STRING)


def histogram_of(statistics: MetadataStatistics) -> list[int]:
    return list((statistics.distribution or {}).values()) or [0] * BINS


def values_of(statistics: MetadataStatistics) -> dict[str, int]:
    return dict(statistics.distribution or {})


def in_window(start: float, end: float | None = None) -> BaseInferenceFilter:
    """From a time on and until before another: the store's windows hold both ends."""
    last = None
    if end is not None:
        last = _instant(datetime.fromtimestamp(end, UTC) - timedelta(microseconds=1))
    first = _instant(datetime.fromtimestamp(start, UTC))
    return BaseInferenceFilter(time_window_filter=TimeWindowFilter(start=first, end=last))


def of_sensor(sensor: str) -> BaseInferenceFilter:
    asked = _asked("sensor", MetadataFilterOperator.EQUAL, MetadataFilterType.STRING, sensor)
    return BaseInferenceFilter(metadata_filter=[asked])


def of_sensor_since(sensor: str, start: float) -> BaseInferenceFilter:
    window = in_window(start).time_window_filter
    return of_sensor(sensor).model_copy(update={"time_window_filter": window})


def in_ranges(altitude: float, frame: int) -> BaseInferenceFilter:
    high = _asked(
        "altitude", MetadataFilterOperator.GREATER_OR_EQUAL, MetadataFilterType.FLOAT, repr(altitude)
    )
    early = _asked("frame", MetadataFilterOperator.LESS, MetadataFilterType.INT, str(frame))
    return BaseInferenceFilter(metadata_filter=[high, early])


def windier(speed: float) -> BaseInferenceFilter:
    path = "weather.wind.speed"
    asked = _asked(path, MetadataFilterOperator.GREATER, MetadataFilterType.JSON_FLOAT, repr(speed))
    return BaseInferenceFilter(metadata_filter=[asked])


def in_circle(latitude: float, longitude: float, meters: float) -> BaseInferenceFilter:
    circle = GeoCircle(center=GeoPoint(latitude=latitude, longitude=longitude), radius=meters)
    return BaseInferenceFilter(location_filter=GeolocationFilter(gps_coordinates_circle=circle))


def in_rectangle(south: float, north: float, west: float, east: float) -> BaseInferenceFilter:
    corners = (GeoPoint(latitude=south, longitude=west), GeoPoint(latitude=north, longitude=east))
    rectangle = GeoRectangle(p1=corners[0], p2=corners[1])
    return BaseInferenceFilter(location_filter=GeolocationFilter(gps_coordinates_rectangle=rectangle))


def with_entry(labels: list[str], score: float) -> BaseInferenceFilter:
    wanted = DeconstructedInferenceFilter(labels=labels, minimum_score=score)
    return BaseInferenceFilter(deconstructed_inference_filter=wanted)


def _asked(
    key: str, operator: MetadataFilterOperator, type_: MetadataFilterType, value: str
) -> MetadataFilter:
    return MetadataFilter(key=key, operator=operator, type=type_, value=value)


def _instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
