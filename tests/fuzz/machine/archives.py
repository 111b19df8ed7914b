"""Reads a downloaded export and holds it against the rows that it should be of."""

import csv
import io
import json
import zipfile

import pyarrow.parquet as pq

from inference_store.client.verification import verify_archive
from tests.fuzz.machine.contents import DETECTION, INPUTS
from tests.fuzz.machine.looking import read, told
from tests.fuzz.machine.world import DATA

PICTURES = INPUTS[:2]


def fits(format_, model):
    """Whether the format can hold what such a model infers."""
    return format_ not in ("coco", "yolo") or model.task == DETECTION


def check(path, format_, model, rows, with_parts):
    """`with_parts`: annotations and metadata were asked for too."""
    manifest = verify_archive(path)
    assert (manifest.model_id, manifest.format) == (model.model_id, format_)
    assert manifest.inference_count == len(rows), "the manifest counts otherwise"
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {each.name for each in manifest.members} | {"manifest.json"}
        CHECKS[format_](archive, model, rows, with_parts)


def _lines(archive, name):
    return [json.loads(line) for line in archive.read(name).splitlines()]


def input_of(model, row):
    """The bytes of its input, None where it has none."""
    owned = model.owned(row, (DATA,))
    return owned[0].content if owned else None


def _archive(archive, model, rows, with_parts):
    lines = _lines(archive, "inferences.jsonl")
    assert len(lines) == len(rows), "rows of the archive"
    for line, row in zip(lines, rows, strict=True):
        wanted = told(row, model)
        del wanted["metadata"]
        found = read(line)
        del found["metadata"]
        assert found == wanted, "a row of the archive"
        content = input_of(model, row)
        assert (line["path"] is None) == (content is None), f"input of {row.inference_id!r}"
        if content is not None:
            assert archive.read(line["path"]) == content, f"bytes of {row.inference_id!r}"
    inputs = [name for name in archive.namelist() if name.startswith("data/")]
    assert len(inputs) == sum(input_of(model, row) is not None for row in rows), "inputs of the archive"
    if not with_parts:
        return
    noted = _lines(archive, "annotations.jsonl")
    wanted = [row for row in rows if row.listed is not None or row.embedding is not None]
    assert [[each["class_label"] for each in line["annotations"]] for line in noted] == [
        [label for label, _ in row.entries] for row in wanted
    ], "annotations"
    held = {line["inference_id"]: line["metadata"] for line in _lines(archive, "metadata.jsonl")}
    assert held == {row.inference_id: told(row, model)["metadata"] for row in rows}, "metadata"


def _jsonl(archive, model, rows, with_parts):
    lines = _lines(archive, "inferences.jsonl")
    assert [read(line) for line in lines] == [told(row, model) for row in rows], "rows of the export"
    entries = [[(each["label"], each["score"]) for each in line["entries"]] for line in lines]
    assert entries == [row.entries for row in rows], "entries of the export"


def _cells(row):
    """Of a table: what its columns of metadata hold, as text, without empty ones."""
    return {key: value for key, (type_, value) in row.metadata.items()}


def _key_of(column):
    return column.removeprefix("metadata.").partition(":")[0]


def _csv(archive, model, rows, with_parts):
    text = archive.read("inferences.csv").decode()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["inference_id"].lstrip("'") for line in lines] == [row.inference_id for row in rows], "ids"
    for line, row in zip(lines, rows, strict=True):
        assert line["is_protected"] == ("true" if row.protected else "false")
        assert line["data_source"] == (row.source or "")
        assert line["data_storage_key"] == (row.data_key or "")
        assert [(e["label"], e["score"]) for e in json.loads(line["entries"])] == row.entries
        held = {_key_of(key): value for key, value in line.items() if key.startswith("metadata.") and value}
        assert {key: value.lstrip("'") for key, value in held.items()} == _cells(row), "metadata cells"


def _parquet(archive, model, rows, with_parts):
    found = []
    for name in sorted(archive.namelist()):
        if name.endswith(".parquet"):
            found += pq.read_table(io.BytesIO(archive.read(name))).to_pylist()
    assert [each["inference_id"] for each in found] == [row.inference_id for row in rows], "ids"
    for line, row in zip(found, rows, strict=True):
        assert (line["is_protected"], line["data_source"]) == (row.protected, row.source)
        assert [(e["label"], e["score"]) for e in line["entries"]] == row.entries
        if model.embedding_size:
            assert line["embedding"] == row.embedding
        held = {
            _key_of(key): str(value)
            for key, value in line.items()
            if key.startswith("metadata.") and value is not None
        }
        assert held == _cells(row), "metadata cells"


def _with_picture(model, rows):
    return [row for row in rows if row.listed is not None and input_of(model, row) in PICTURES]


def _coco(archive, model, rows, with_parts):
    whole = json.loads(archive.read("annotations.json"))
    seen = _with_picture(model, rows)
    assert [each["inference_id"] for each in whole["images"]] == [row.inference_id for row in seen], "images"
    names = {each["id"]: each["name"] for each in whole["categories"]}
    found = [(each["inference_id"], names[each["category_id"]]) for each in whole["annotations"]]
    assert found == [(row.inference_id, label) for row in seen for label, _ in row.entries], "annotations"


def _yolo(archive, model, rows, with_parts):
    seen = _with_picture(model, rows)
    texts = [archive.read(name) for name in archive.namelist() if name.startswith("labels/")]
    assert [text.count(b"\n") for text in texts] == [len(row.entries) for row in seen], "boxes"
    pictures = [archive.read(name) for name in archive.namelist() if name.startswith("images/")]
    assert pictures == [input_of(model, row) for row in seen], "pictures"


CHECKS = {
    "archive": _archive,
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
    "coco": _coco,
    "yolo": _yolo,
}
