"""Parquet, CSV and JSON Lines: the values that were stored, with their types."""

import csv
import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference_store.archive import parquet, table
from inference_store.archive.csv_table import CsvTable
from inference_store.archive.parquet import Parquet
from inference_store.client.models import Inference
from inference_store.contract.enums import TaskType
from inference_store.models import RegisteredModel
from inference_store.query.whole import WholeInference, whole_inferences
from tests.archive.driver import box, plan, whole, written
from tests.making import LONG_AGO, make_model, make_request, store


def unpacked(members: dict[str, bytes], folder: Path) -> Path:
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def parts(members: dict[str, bytes]) -> list[pa.Table]:
    return [pq.read_table(io.BytesIO(content)) for content in members.values()]


def rows_of(content: bytes) -> list[dict[str, str]]:
    csv.field_size_limit(2**30)
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    assert len(set(header)) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


# --- From the database to the file, and back ---------------------------------------------------------------
@pytest.fixture
def stored(transactional_db: None) -> list[WholeInference]:
    """As it was sent, by the store's own way in and out."""
    model = make_model("eye", task=TaskType.OBJECT_DETECTION, embedding_size=3)
    store(
        model,
        make_request(
            model,
            "=full",
            entries=[box("=cat", 1, 2, 3, 1e300), {"label": "dog"}],
            metadata=[
                ("n", "int", str(-(2**63))),
                ("x", "float", "1e22"),
                ("note", "string", "-note"),
                ("tree", "json", '{"a": [1, 2.5, "é"], "big": 1e300}'),
                ("mixed", "int", "7"),
            ],
            place=(-47.5, 9.25),
            source="@cam",
            embedding=[0.1, -2, 3],
            created_at=LONG_AGO,
            protected=True,
        ),
        make_request(model, "bare", inference={"native": 1}, metadata=[("mixed", "string", "seven")]),
    )
    return whole_inferences(model, sorted(model.inferences.values_list("pk", flat=True)))


def test_parquet_holds_what_was_stored(stored: list[WholeInference], tmp_path: Path) -> None:
    members, counts = written("parquet", stored, batch=1)
    assert list(members) == ["inferences/part-00000.parquet", "inferences/part-00001.parquet"]
    assert counts == {"parts": 2}
    found = pyarrow.dataset.dataset(unpacked(members, tmp_path) / "inferences").to_table()
    instant, text = pa.timestamp("us", tz="UTC"), pa.string()
    entry = pa.struct([("label", text), ("score", pa.float64()), ("geometry", text)])
    types = {
        instant: ["created_at", "updated_at"],
        pa.float64(): ["latitude", "longitude", "metadata.x"],
        pa.int64(): ["metadata.mixed:int", "metadata.n"],
        pa.bool_(): ["is_protected"],
        pa.list_(entry): ["entries"],
        pa.list_(pa.float32(), 3): ["embedding"],
    }
    expected = {name: type_ for type_, names in types.items() for name in names}
    texts = ["metadata.mixed:string", "metadata.note", "metadata.tree", *table.STANDARD]
    expected |= {name: text for name in texts if name not in expected}
    assert {field.name: field.type for field in found.schema} == expected
    full, bare = found.to_pylist()
    told = stored[0].inference
    assert (full["inference_id"], full["data_source"], full["version"]) == ("=full", "@cam", "v2")
    assert (full["created_at"], full["updated_at"]) == (LONG_AGO, told.updated_at)
    assert (full["latitude"], full["longitude"], full["is_protected"]) == (-47.5, 9.25, True)
    assert (full["data"], full["data_hash"]) == (told.data, "ab" * 32)
    (cat, dog) = full["entries"]
    assert (cat["label"], cat["score"], dog) == (
        "=cat",
        0.5,
        {"label": "dog", "score": None, "geometry": None},
    )
    assert json.loads(cat["geometry"], parse_int=float) == {
        "bbox": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 1e300}
    }
    assert full["embedding"] == np.array([0.1, -2, 3], dtype=np.float32).tolist()
    assert (full["metadata.n"], full["metadata.x"], full["metadata.note"]) == (-(2**63), 1e22, "-note")
    assert json.loads(full["metadata.tree"], parse_int=float) == {"a": [1, 2.5, "é"], "big": 1e300}
    assert (full["metadata.mixed:int"], full["metadata.mixed:string"]) == (7, None)
    absent = {name for name, value in bare.items() if value is None}
    assert absent == {
        *("data_source", "latitude", "longitude", "data_storage_key", "embedding", "metadata.mixed:int"),
        *("metadata.n", "metadata.note", "metadata.tree", "metadata.x"),
    }
    assert (bare["entries"], bare["metadata.mixed:string"]) == ([], "seven")


def test_parquet_reads_in_pandas(stored: list[WholeInference], tmp_path: Path) -> None:
    members, _ = written("parquet", stored, batch=1)
    frame = pd.read_parquet(unpacked(members, tmp_path) / "inferences", dtype_backend="pyarrow")
    assert list(frame["inference_id"]) == ["=full", "bare"]
    assert frame["created_at"].dt.tz is not None
    assert frame["created_at"][0] == pd.Timestamp(LONG_AGO)
    assert frame["metadata.n"].tolist()[0] == -(2**63)
    assert frame["metadata.n"].isna().tolist() == [False, True]
    plain = pd.read_parquet(unpacked(members, tmp_path) / "inferences")
    assert plain["embedding"][0].dtype == np.float32
    assert str(plain["created_at"].dtype) == "datetime64[us, UTC]"
    assert plain["latitude"].dtype == "float64"


def test_csv_holds_what_was_stored(stored: list[WholeInference]) -> None:
    members, _ = written("csv", stored)
    full, bare = rows_of(members["inferences.csv"])
    assert (full["inference_id"], full["data_source"]) == ("'=full", "'@cam")
    assert full["created_at"] == "2026-01-01T12:00:00Z"
    assert (full["latitude"], full["longitude"], full["is_protected"]) == ("-47.5", "9.25", "true")
    assert (full["metadata.n"], float(full["metadata.x"])) == (str(-(2**63)), 1e22)
    assert full["metadata.note"] == "'-note"
    assert json.loads(full["metadata.tree"])["a"] == [1, 2.5, "é"]
    assert json.loads(full["entries"], parse_int=float) == [
        {
            "label": "=cat",
            "score": 0.5,
            "geometry": {"bbox": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 1e300}},
        },
        {"label": "dog", "score": None, "geometry": None},
    ]
    assert np.array(json.loads(full["embedding"]), dtype=np.float32).tolist() == stored[0].vector.tolist()
    assert (bare["latitude"], bare["embedding"], bare["metadata.mixed:string"]) == ("", "", "seven")
    frame = pd.read_csv(io.BytesIO(members["inferences.csv"]), parse_dates=["created_at"])
    assert frame["latitude"][0] == -47.5
    assert frame["is_protected"].tolist() == [True, False]


def test_a_line_of_jsonl_is_an_inference_of_the_client(stored: list[WholeInference]) -> None:
    members, _ = written("jsonl", stored)
    lines = members["inferences.jsonl"].splitlines()
    for line, each in zip(lines, stored, strict=True):
        assert Inference.model_validate_json(line) == each.inference
        told = json.loads(line)
        assert {"presigned_url", "embedding_distance"}.isdisjoint(told)
        assert [entry["label"] for entry in told["entries"]] == [entry.label for entry in each.entries]
    first = json.loads(lines[0], parse_int=float)
    assert (first["inference_id"], first["data_source"]) == ("=full", "@cam")
    assert first["entries"][0]["geometry"] == {"bbox": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 1e300}}
    assert {"key": "note", "type": "string", "value": "-note"} in first["metadata"]


# --- CSV --------------------------------------------------------------------------------------------------
@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(-(2**63), 2**63 - 1), st.floats())
def test_numbers_stay_numbers(latitude: float, longitude: float, count: int, ratio: float) -> None:
    if not math.isfinite(ratio):
        return
    metadata = {"int": {"count": count}, "float": {"ratio": ratio}}
    members, _ = written("csv", [whole(place=(latitude, longitude), metadata=metadata)])
    (row,) = rows_of(members["inferences.csv"])
    assert (float(row["latitude"]), float(row["longitude"])) == (latitude, longitude)
    assert (int(row["metadata.count"]), float(row["metadata.ratio"])) == (count, ratio)


# --- Columns ------------------------------------------------------------------------------------------------
types = st.sampled_from(["int", "float", "string", "json"])
keys = st.text(st.sampled_from("ab:int"), min_size=1, max_size=6) | st.sampled_from(
    ["a", "a:int", "a:int:int"]
)


@given(st.lists(st.tuples(keys, types), unique=True))
@example(
    [("a", "int"), ("a", "string"), ("a:int", "string"), ("a:int:string", "int"), ("a:int:string", "json")]
)
def test_no_two_keys_share_a_column(pairs: list[tuple[str, str]]) -> None:
    writer = Parquet(plan(keys=sorted(pairs)), {})
    assert len(writer.columns) == len(table.STANDARD) + len(pairs)
    kinds = sorted(kind for name, kind in writer.columns.items() if name.startswith("metadata."))
    assert kinds == sorted({"json": "string"}.get(type_, type_) for _, type_ in pairs)


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_keys_that_came_meanwhile_are_counted(format_: str) -> None:
    wholes = [whole(metadata={"int": {"a": 1, "late": 2}})]
    members, counts = written(format_, wholes, planned=plan(keys=[("a", "int")]))
    assert counts["skipped_metadata_values"] == 1
    assert all(b"late" not in content for content in members.values())


@pytest.mark.parametrize("writer", [Parquet, CsvTable])
def test_too_many_keys_share_one_column(writer: type[Parquet | CsvTable]) -> None:
    keys = [(f"k{number:05}", "int") for number in range(table.MOST_METADATA_COLUMNS + 1)]
    assert len(writer(plan(keys=keys[1:]), {}).columns) == len(table.STANDARD) + len(keys) - 1
    (name,) = set(writer(plan(keys=keys), {}).columns) - set(table.STANDARD)
    assert name == "metadata"
    wholes = [whole(metadata={"int": {"k00001": 5}, "string": {"late": "x"}})]
    format_ = "parquet" if writer is Parquet else "csv"
    members, counts = written(format_, wholes, planned=plan(keys=keys))
    (content,) = members.values()
    held = parts(members)[0]["metadata"][0].as_py() if writer is Parquet else rows_of(content)[0]["metadata"]
    assert json.loads(held) == [
        {"key": "k00001", "type": "int", "value": "5"},
        {"key": "late", "type": "string", "value": "x"},
    ]
    assert not counts.get("skipped_metadata_values")


# --- Parts --------------------------------------------------------------------------------------------------
def test_every_part_has_the_same_schema() -> None:
    wholes = [whole(vector=[1.0, 2.0]), whole(metadata={"int": {"a": 1}}), whole()]
    found = parts(written("parquet", wholes, batch=1)[0])
    assert len(found) == 3
    assert len({str(part.schema) for part in found}) == 1


def test_an_empty_set_still_has_its_columns() -> None:
    (part,) = parts(written("parquet", [], planned=plan(embedding_size=4, keys=[("a", "int")]))[0])
    assert part.num_rows == 0
    assert part.schema.field("embedding").type == pa.list_(pa.float32(), 4)
    assert part.schema.field("metadata.a").type == pa.int64()
    (header,) = csv.reader(io.StringIO(written("csv", [])[0]["inferences.csv"].decode(), newline=""))
    assert header == list(table.STANDARD)


def test_large_rows_make_a_part_before_the_batch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 1_000)
    wholes = [whole(f"i-{number}", data="x" * 600) for number in range(5)]
    for resumed in (False, True):
        members, counts = written("parquet", wholes, batch=3, resumed=resumed)
        assert [part.num_rows for part in parts(members)] == [2, 1, 2]
        assert counts == {"parts": 3}


def test_batches_are_smaller_where_embeddings_are_wide() -> None:
    sizes = [Parquet.batch_size(RegisteredModel(embedding_size=width)) for width in (0, 100, 1_000, 16_000)]
    assert sizes == [2_000, 2_000, 500, 31]
    assert CsvTable.batch_size(RegisteredModel(embedding_size=16_000)) == 31


def test_instants_are_in_utc() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
    (part,) = parts(written("parquet", [whole(created_at=moment)])[0])
    assert part["created_at"][0].as_py() == moment
    (row,) = rows_of(written("csv", [whole(created_at=moment)])[0]["inferences.csv"])
    assert datetime.fromisoformat(row["created_at"]) == moment
