"""Every format: another worker may go on after any batch, and the same bytes come out."""

import random
from typing import Any

import pytest

from inference_store.archive import WRITERS
from inference_store.contract.enums import ExportFormat, TaskType
from inference_store.query.whole import WholeInference
from tests.archive.driver import box, plan, whole, written


def a_set(count: int = 11) -> list[WholeInference]:
    """Of everything a little: pictures and none, lists, empty ones and none, metadata, embeddings."""
    rng = random.Random(5)
    found = []
    for number in range(count):
        entries: Any = [
            box(rng.choice("abc"), 1, 2, rng.uniform(3, 90), 40) for _ in range(rng.randrange(1, 4))
        ]
        entries.append({"label": "nowhere"})
        found.append(
            whole(
                f"i-{number}",
                None if number % 5 == 4 else entries[: rng.choice([0, 4])],
                picture=None if number % 4 == 3 else (100, 50),
                metadata={"int": {"run": number}, "string": {"note": "=1+1"}},
                vector=[float(number), 0.5] if number % 3 else None,
            )
        )
    return found


def test_every_format_has_a_writer() -> None:
    assert list(WRITERS) == [each.value for each in ExportFormat]


@pytest.mark.parametrize("format_", WRITERS)
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_resumed_export_has_the_same_bytes(format_: str, batch: int) -> None:
    wholes = a_set()
    members, counts = written(format_, wholes, batch=batch)
    assert members
    assert (members, counts) == written(format_, wholes, batch=batch, resumed=True)
    assert list(members) == list(written(format_, wholes, batch=batch, resumed=True)[0])


@pytest.mark.parametrize("format_", sorted(set(WRITERS) - {"parquet"}))
def test_batches_leave_no_trace(format_: str) -> None:
    wholes = a_set()
    assert written(format_, wholes, batch=1) == written(format_, wholes, batch=100)


@pytest.mark.parametrize("format_", WRITERS)
def test_an_empty_set(format_: str) -> None:
    members, counts = written(format_, [])
    assert members
    assert not any(counts.values())


@pytest.mark.parametrize("format_", WRITERS)
def test_counts_are_told_as_numbers(format_: str) -> None:
    _, counts = written(format_, a_set())
    assert all(type(number) is int for number in counts.values())


@pytest.mark.parametrize("format_", ["archive", "coco", "yolo"])
def test_inputs_are_copied(format_: str) -> None:
    members, _ = written(format_, [whole("one", [box("cat", 1, 1, 5, 5)], media_type="image/jpeg")])
    folder = "data" if format_ == "archive" else "images"
    assert members[f"{folder}/one.jpg"] == b"input of one"
    assert WRITERS[format_].copies_inputs


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
def test_tables_hold_no_inputs(format_: str) -> None:
    members, _ = written(format_, [whole("one", [])])
    assert not WRITERS[format_].copies_inputs
    assert len(members) == 1


@pytest.mark.parametrize("format_", WRITERS)
def test_hostile_ids(format_: str) -> None:
    """The driver refuses a member's name that is unsafe, or there twice."""
    ids = ["..\\evil", "CON", "a", "A", "a.png", "é", "e\u0301", "-rf", "=1+1", "x" * 255]
    entries = [box("cat", 1, 1, 5, 5)]
    members, _ = written(format_, [whole(each, entries) for each in ids])
    copied = sum(name.startswith(("data/", "images/")) for name in members)
    assert copied == (len(ids) if WRITERS[format_].copies_inputs else 0)


@pytest.mark.parametrize("format_", WRITERS)
def test_numbers_beyond_64_bits_kill_no_export(format_: str) -> None:
    """jsonb gives back 1e308 as a whole number."""
    huge = 10**308
    wholes = [
        whole("box", [box("cat", -huge, 1, huge, 2)]),
        whole("mask", [{"label": "cat", "rle": {"size": [huge, 1], "counts": [1, huge]}}], task=MASK),
        whole("ring", [{"label": "cat", "contours": [RING]}], task=MASK),
        whole("tilt", [{"label": "cat", "cx": huge, "cy": 1, "w": huge, "h": 1, "r": huge}], task=TILTED),
    ]
    wholes[0].entries[0].geometry["bbox"]["xmax"] = huge
    wholes[2].entries[0].geometry["contours"][0][0]["x"] = huge
    wholes[3].entries[0].geometry["oriented_bbox"].update(cx=huge, w=huge, r=huge)
    assert written(format_, wholes)[0]


MASK, TILTED = TaskType.IMAGE_SEGMENTATION, TaskType.ORIENTED_OBJECT_DETECTION
RING = [{"x": 0, "y": 0}, {"x": 9, "y": 0}, {"x": 9, "y": 9}]


def test_a_label_that_came_back_meanwhile_is_counted() -> None:
    wholes = [whole("one", [box("cat", 1, 1, 5, 5), box("dog", 1, 1, 5, 5)])]
    for format_ in ("coco", "yolo"):
        _, counts = written(format_, wholes, planned=plan(wholes, labels=["dog"]))
        assert counts["skipped_entries_without_class"] == 1
