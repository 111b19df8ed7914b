"""Sets larger than a page: parts by cursor, limits, offsets, tables."""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from inference_store import client as istore
from tests.client.scripted_store import Answer, Received, ScriptedStore
from tests.client.test_calls import EXPORT, FOUND, INFERENCE, TASK

BOTH_TABLES = pytest.mark.parametrize("make", [istore.to_pandas, istore.to_arrow])


class Holding:
    """Answers searches over so many inferences, as the store pages them."""

    def __init__(self, store: ScriptedStore, rows: int | list[dict[str, Any]]) -> None:
        self.rows = (
            rows if isinstance(rows, list) else [INFERENCE | {"inference_id": str(n)} for n in range(rows)]
        )
        self.store = store
        store.answers = [self.answer]

    def answer(self, request: Received) -> Answer:
        pagination = request.json().get("pagination", {})
        assert 1 <= pagination["limit"] <= 1000
        assert not ("cursor" in pagination and "offset" in pagination)
        start = int(pagination.get("cursor", pagination.get("offset", 0)))
        end = start + pagination["limit"]
        cursor = str(end) if end < len(self.rows) else None
        page = self.rows[start:end]
        if request.path.endswith("/granular"):
            entries = [{"position": 0, "label": "a", "inference": row} for row in page]
            return Answer(200, {"granular_inferences": entries, "next_cursor": cursor})
        return Answer(200, {"inferences": page, "next_cursor": cursor})

    @property
    def limits(self) -> list[int]:
        return [request.json()["pagination"]["limit"] for request in self.store.received]


def asking(**pagination: Any) -> istore.NewGetInferencesRequest:
    return istore.NewGetInferencesRequest(pagination=istore.Pagination(**pagination))


def ids(found: Any) -> list[int]:
    return [int(each.inference_id) for each in found]


def test_without_a_limit_it_is_the_first_fifty(store: ScriptedStore) -> None:
    holding = Holding(store, 120)
    assert ids(istore.filter_inferences("m", istore.NewGetInferencesRequest())) == list(range(50))
    assert holding.limits == [50]


@pytest.mark.parametrize(
    ("limit", "offset", "limits"),
    [
        (1000, None, [1000]),
        (1001, None, [1000, 1]),
        (2300, 10, [1000, 1000, 300]),
        (10**9, 0, [1000, 1000, 1000]),
        (5, 2498, [5]),
    ],
)
def test_a_large_limit_is_fetched_in_parts(
    store: ScriptedStore, limit: int, offset: int | None, limits: list[int]
) -> None:
    holding = Holding(store, 2500)
    start = offset or 0
    wanted = list(range(2500))[start : start + limit]
    assert ids(istore.filter_inferences("m", asking(limit=limit, offset=offset))) == wanted
    assert holding.limits == limits
    store.received.clear()
    granular = istore.filter_granular_inferences("m", asking(limit=limit, offset=offset))
    assert ids(each.inference for each in granular) == wanted


def test_each_part_carries_the_same_filter_and_order(store: ScriptedStore) -> None:
    Holding(store, 2500)
    request = istore.NewGetInferencesRequest(
        filters=istore.BaseInferenceFilter(data_source_filter="camera"),
        pagination=istore.Pagination(limit=2500, sort="created_at", direction="desc"),
        presign=True,
    )
    istore.filter_inferences("m", request)
    for received in store.received:
        body = received.json()
        assert body["filters"] == {"data_source_filter": "camera"}
        assert (body["presign"], body["pagination"]["sort"], body["pagination"]["direction"]) == (
            True,
            "created_at",
            "desc",
        )
    assert request.pagination is not None
    assert request.pagination.cursor is None


def test_iterating_goes_through_everything_page_by_page(store: ScriptedStore) -> None:
    holding = Holding(store, 1203)
    assert ids(istore.iterate_inferences("m")) == list(range(1203))
    assert holding.limits == [500, 500, 500]


def test_iterating_fetches_no_page_that_is_not_asked_for(store: ScriptedStore) -> None:
    Holding(store, 1203)
    rows = istore.iterate_inferences("m", page_size=10)
    assert store.received == []
    assert [next(rows).inference_id for _ in range(10)][-1] == "9"
    assert len(store.received) == 1


def test_iterating_honours_limit_offset_and_cursor(store: ScriptedStore) -> None:
    holding = Holding(store, 1203)
    assert ids(istore.iterate_inferences("m", asking(limit=250, offset=7), page_size=100)) == list(
        range(7, 257)
    )
    assert holding.limits == [100, 100, 50]
    assert ids(istore.iterate_inferences("m", asking(cursor="1200"))) == [1200, 1201, 1202]


def test_iterating_over_nothing(store: ScriptedStore) -> None:
    Holding(store, 0)
    assert list(istore.iterate_inferences("m")) == []


@pytest.mark.parametrize("size", [0, 1001])
def test_a_page_size_out_of_bounds_is_told_at_once(size: int) -> None:
    with pytest.raises(ValueError, match="page_size"):
        istore.iterate_inferences("m", page_size=size)


def test_retention_tasks_beyond_a_page_are_fetched_in_parts(store: ScriptedStore) -> None:
    tasks = [TASK | {"id": str(number)} for number in range(1200)]

    def answer(request: Received) -> Answer:
        pagination = request.json()["pagination"]
        start = pagination["offset"]
        return Answer(200, {"retention_tasks": tasks[start : start + pagination["limit"]]})

    store.answers = [answer]
    request = istore.NewGetRetentionTasksRequest(pagination=istore.Pagination(limit=5000, offset=3))
    found = istore.filter_retention_tasks("m", request)
    assert [task.id for task in found] == [str(number) for number in range(3, 1200)]
    assert len(store.received) == 2


def test_exports_beyond_a_page_are_fetched_in_parts(store: ScriptedStore) -> None:
    tasks = [EXPORT | {"id": str(number)} for number in range(2100)]

    def answer(request: Received) -> Answer:
        limit, offset = int(request.query["limit"][0]), int(request.query["offset"][0])
        assert 1 <= limit <= 1000
        return Answer(200, {"export_tasks": tasks[offset : offset + limit]})

    store.answers = [answer]
    found = istore.list_export_tasks("m", limit=2000, offset=50)
    assert [task.id for task in found] == [str(number) for number in range(50, 2050)]
    assert len(istore.list_export_tasks("m")) == 50
    assert len(store.received) == 3


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"offset": -1}])
def test_a_part_that_cannot_be_is_told_at_once(store: ScriptedStore, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        istore.list_export_tasks("m", **wrong)
    assert store.received == []


def test_a_preview_is_read_page_by_page(store: ScriptedStore) -> None:
    items = [FOUND | {"inference_id": str(number)} for number in range(2100)]

    def answer(request: Received) -> Answer:
        limit, start = int(request.query["limit"][0]), int(request.query.get("cursor", ["0"])[0])
        end = start + limit
        return Answer(200, {"items": items[start:end], "next_cursor": str(end) if end < 2100 else None})

    store.answers = [answer]
    found = istore.get_retention_preview("m", "t")
    assert ids(found) == list(range(2100))
    assert found[0].reason is istore.RetentionReason.RECORD
    assert len(store.received) == 3
    store.received.clear()
    rows = istore.iterate_retention_preview("m", "t")
    assert store.received == []
    assert next(rows).inference_id == "0"
    assert len(store.received) == 1


# --- Tables ------------------------------------------------------------------------------------------------
def row(number: int, *metadata: tuple[str, str, str], **fields: Any) -> dict[str, Any]:
    listed = [{"key": key, "type": type_, "value": value} for key, type_, value in metadata]
    return INFERENCE | {"inference_id": str(number), "metadata": listed, "data_coordinates": None} | fields


ROWS = [
    row(0, ("n", "int", "9223372036854775807"), ("x", "float", "0.5"), ("s", "string", "é"), data="[1, 0.5]"),
    row(1, ("j", "json", '{"a": 1}'), ("two", "int", "1"), data='[{"label": "a"}]', embedding=[0.25, 2.0]),
    row(2, ("two", "string", "x"), data=None, data_coordinates={"latitude": -1.5, "longitude": 179.0}),
    row(3, is_protected=True, data="[]", data_source="camera"),
]
STANDARD_COLUMNS = [
    "model_id",
    "inference_id",
    "created_at",
    "updated_at",
    "inference_action",
    "data",
    "data_hash",
    "data_source",
    "latitude",
    "longitude",
    "data_storage_key",
    "is_protected",
    "version",
]
METADATA_COLUMNS = [
    "metadata.j",
    "metadata.n",
    "metadata.s",
    "metadata.two:int",
    "metadata.two:string",
    "metadata.x",
]


def test_a_data_frame_has_typed_columns(store: ScriptedStore) -> None:
    Holding(store, ROWS)
    frame = istore.to_pandas("m")
    assert list(frame.columns) == [*STANDARD_COLUMNS, "embedding", *METADATA_COLUMNS]
    assert {name: str(frame[name].dtype) for name in frame} == {
        **dict.fromkeys(STANDARD_COLUMNS, "string"),
        "created_at": "datetime64[us, UTC]",
        "updated_at": "datetime64[us, UTC]",
        "latitude": "float64",
        "longitude": "float64",
        "is_protected": "bool",
        "embedding": "object",
        "metadata.j": "string",
        "metadata.n": "Int64",
        "metadata.s": "string",
        "metadata.two:int": "Int64",
        "metadata.two:string": "string",
        "metadata.x": "float64",
    }
    assert frame["created_at"][0] == pd.Timestamp("2026-01-31T12:00:00Z")
    assert frame["metadata.n"][0] == 2**63 - 1
    assert frame["metadata.n"].isna().tolist() == [False, True, True, True]
    assert frame["metadata.j"][1] == '{"a": 1}'
    assert frame["latitude"].tolist()[2] == -1.5
    assert np.isnan(frame["latitude"][0])
    assert frame["is_protected"].tolist() == [False, False, False, True]
    vectors = frame["embedding"]
    assert [None if vector is None else vector.tolist() for vector in vectors] == [
        [1, 0.5],
        [0.25, 2],
        None,
        None,
    ]
    assert vectors[0].dtype == np.float32


def test_an_arrow_table_has_typed_columns(store: ScriptedStore) -> None:
    Holding(store, ROWS)
    table = istore.to_arrow("m")
    assert table.column_names == [*STANDARD_COLUMNS, "embedding", *METADATA_COLUMNS]
    types = {
        "created_at": pa.timestamp("us", "UTC"),
        "latitude": pa.float64(),
        "data": pa.string(),
        "is_protected": pa.bool_(),
        "embedding": pa.list_(pa.float32()),
        "metadata.n": pa.int64(),
        "metadata.x": pa.float64(),
        "metadata.j": pa.string(),
    }
    assert {name: table.schema.field(name).type for name in types} == types
    table.validate(full=True)
    assert table["embedding"].to_pylist() == [[1, 0.5], [0.25, 2], None, None]
    assert table["metadata.n"].to_pylist() == [2**63 - 1, None, None, None]
    assert table["metadata.two:string"].to_pylist() == [None, None, "x", None]


@BOTH_TABLES
def test_a_query_adds_distances_and_presigning_urls(store: ScriptedStore, make: Any) -> None:
    Holding(store, [row(0, embedding_distance=0.5, presigned_url="http://x"), row(1)])
    request = istore.NewGetInferencesRequest(
        embedding_filters=istore.EmbeddingFilter(query_embedding=[1.0]), presign=True
    )
    table = make("m", request)
    rows = table.to_dict("records") if isinstance(table, pd.DataFrame) else table.to_pylist()
    assert (rows[0]["embedding_distance"], rows[0]["presigned_url"]) == (0.5, "http://x")
    assert "embedding" not in rows[0]


@BOTH_TABLES
def test_an_empty_set_keeps_its_columns(store: ScriptedStore, make: Any) -> None:
    Holding(store, [])
    table = make("m")
    assert len(table) == 0
    assert list(table.columns if isinstance(table, pd.DataFrame) else table.column_names) == STANDARD_COLUMNS


@BOTH_TABLES
def test_a_table_takes_all_pages_and_a_limit_caps_it(store: ScriptedStore, make: Any) -> None:
    Holding(store, 2100)
    assert len(make("m")) == 2100
    assert len(make("m", asking(limit=1500))) == 1500


def test_columns_never_overwrite_each_other(store: ScriptedStore) -> None:
    Holding(
        store,
        [
            row(0, ("a", "int", "1"), ("a:int", "string", "y")),
            row(1, ("a", "string", "x"), ("é ", "float", "1")),
        ],
    )
    frame = istore.to_pandas("m")
    assert list(frame.columns)[-4:] == [
        "metadata.a:int",
        "metadata.a:string",
        "metadata.a:int:string",
        "metadata.é ",
    ]


def test_a_native_list_of_huge_numbers_is_no_embedding(store: ScriptedStore) -> None:
    Holding(store, [row(0, data=json.dumps([10**400]))])
    assert "embedding" not in istore.to_pandas("m").columns


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [(istore.to_pandas, "pandas", "pandas"), (istore.to_arrow, "pyarrow", "arrow")],
)
def test_a_missing_package_is_named_with_its_extra(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch, make: Any, module: str, extra: str
) -> None:
    # None in sys.modules is how Python itself marks a module that can't be imported.
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"inference-store\[{extra}\]"):
        make("m")
    assert store.received == []
