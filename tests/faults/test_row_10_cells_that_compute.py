"""Cells that a spreadsheet would compute: neutral in every CSV, untouched in JSON Lines and Parquet."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st

from inference_store.archive import table
from inference_store.archive.csv_table import neutral
from inference_store.models import RegisteredModel
from inference_store.services import retention_runs
from tests.archive.driver import whole, written
from tests.archive.test_tables import parts, rows_of
from tests.cast import Cast, request_of

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "'=1", "''-1", "-"]
HARMLESS = ["", "a", "'a", "a=1", " =1", "1", '"', 'a "b", c', "a\r\nb", "\u2028", "é😀", ";", "'"]
TEXTS = DANGEROUS + HARMLESS
KEYS = ["=cmd", "-k", "a:int", "a", 'q"uote', "comma,", "new\nline"]


def restored(cell: str) -> str:
    """A cell as it was, by the rule of docs/exports.md."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r\n＝＋－＠]", cell) else cell


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(TEXTS)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5), st.lists(texts.filter(bool), unique=True))
@example([(text, text) for text in TEXTS], KEYS)
def test_cells_are_neutral_and_come_back(values: list[tuple[str, str]], keys: list[str]) -> None:
    wholes = [
        whole(data_source=source, data=data, metadata={"string": dict.fromkeys(keys, source)})
        for source, data in values
    ]
    members, _ = written("csv", wholes)
    rows = rows_of(members["inferences.csv"])
    for row in rows:
        for cell in [*row, *row.values()]:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    names = [restored(name) for name in rows[0]]
    assert names[len(table.STANDARD) :] == [f"metadata.{key}" for key in sorted(keys)]
    for row, (source, data) in zip(rows, values, strict=True):
        assert restored(row["data_source"]) == source
        assert restored(row["data"]) == data
        assert all(restored(row[neutral(name)]) == source for name in names[len(table.STANDARD) :])


@pytest.mark.parametrize("text", DANGEROUS)
def test_what_computes_is_quoted(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_does_not_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_nothing_is_neutralised_in_the_others(tmp_path: Path) -> None:
    wholes = [whole(data_source=text, metadata={"string": {"=k": text}}) for text in DANGEROUS]
    lines = written("jsonl", wholes)[0]["inferences.jsonl"].splitlines()
    assert [json.loads(line)["data_source"] for line in lines] == DANGEROUS
    (part,) = parts(written("parquet", wholes, batch=100)[0])
    assert part["data_source"].to_pylist() == part["metadata.=k"].to_pylist() == DANGEROUS


AGES = {"automated_interval": 0, "maximum_record_age": 0, "maximum_blob_age": 0}


def test_every_csv_that_can_be_downloaded(cast: Cast, detector: RegisteredModel) -> None:
    """Lists of what would be deleted, and the audit log: by whoever may read them."""
    hostile = ["=1+1", "+1", "-1", "@x", "=cmd|' calc'!A0"]
    for name in hostile:
        assert cast.bob.post("models/detector/inferences", request_of(name)).status_code == 201
        told = cast.alice(
            "PUT",
            f"models/detector/inferences/{name.replace('/', '%2F')}/protection",
            {"is_protected": False},
        )
        assert told.status_code in (200, 404)
    policy = cast.alice.post("models/detector/retention-policies", AGES).json()["id"]
    asked = {"dry_run": True, "retention_policy_id": policy}
    task = cast.alice.post("models/detector/retention-tasks", asked).json()["id"]
    retention_runs.run(task)
    preview = cast.carol.get(f"models/detector/retention-tasks/{task}/preview.csv")
    browser = Client()
    browser.force_login(cast.users["alice"])
    audit = browser.get("/projects/birds/audit/records.csv")
    for answer in (preview, audit):
        rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert "'=1+1" in cells
    lines = cast.carol.get(f"models/detector/retention-tasks/{task}/preview.jsonl")
    told = [json.loads(line)["inference_id"] for line in b"".join(lines.streaming_content).splitlines()]
    assert "=1+1" in told
