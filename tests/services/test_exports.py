"""Exports: their set and their archive."""

import json
import random
import re

import pytest

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.archive.base import Copy, File, Joined, Piece
from inference_store.client.verification import verify_archive
from inference_store.contract.archive import MEMBER_NAME
from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export
from inference_store.services import deletion, export_set, exporting
from tests import oracle
from tests.making import make_model, make_request, make_upload, store
from tests.query import random_data
from tests.services.exported import (  # noqa: F401
    ALL,
    BOX,
    begin,
    complete,
    content,
    detector,
    ids_of,
    iter_steps,
    lines,
    made,
    opened,
    small_batches,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small_batches")]


# --- What is in it ------------------------------------------------------------------------------------------
def test_it_works(tmp_path):
    model = detector(3, metadata=[("run", "int", "7")])
    export = made(model, **ALL)
    assert (export.progress_count, export.expected_count) == (3, 3)
    with opened(export) as archive:
        names = archive.namelist()
        assert names == [
            *(f"data/i-{number}.bin" for number in range(3)),
            *("inferences.jsonl", "annotations.jsonl", "metadata.jsonl", "manifest.json"),
        ]
        assert archive.read("data/i-1.bin") == b"input 1"
        told = lines(archive, "inferences.jsonl")[1]
        assert told | {"path": "data/i-1.bin", "inference_id": "i-1", "data_hash": "ab" * 32} == told
        box = {"xmin": 1.0, "xmax": 3.0, "ymin": 2.0, "ymax": 4.0}
        assert archive.read("annotations.jsonl").splitlines()[0].startswith(b'{"path":')
        assert lines(archive, "annotations.jsonl")[0] == {
            "path": "data/i-0.bin",
            "annotations": [{"class_label": "cat", "bbox": box}],
        }
        run = {"key": "run", "type": "int", "value": "7"}
        assert lines(archive, "metadata.jsonl")[0]["metadata"] == [run]
    path = tmp_path / "archive.zip"
    path.write_bytes(content(export))
    manifest = verify_archive(path)
    assert [member.name for member in manifest.members] == names[:-1]
    assert manifest.inference_count == 3
    assert blobs.drafts() == []
    assert export.size == path.stat().st_size


def test_only_what_is_asked_for():
    export = made(detector(1))
    with opened(export) as archive:
        assert archive.namelist() == ["data/i-0.bin", "inferences.jsonl", "manifest.json"]
        assert "metadata" not in lines(archive, "inferences.jsonl")[0]


def test_annotations_of_each_task():
    ring = [{"x": 0.0, "y": 0.0}, {"x": 4.0, "y": 0.0}, {"x": 4.0, "y": 4.0}]
    tilted = {"cx": 0.5, "cy": 0.25, "w": 0.125, "h": 0.5, "r": 0.1}
    expected = {
        TaskType.IMAGE_CLASSIFICATION: ({"label": "a", "score": 1}, {"class_label": "a"}),
        TaskType.ORIENTED_OBJECT_DETECTION: (
            {"label": "a", **tilted},
            {"class_label": "a", "oriented_bbox": tilted},
        ),
        TaskType.IMAGE_SEGMENTATION: (
            {"label": "a", "contours": [ring]},
            {"class_label": "a", "contour": [ring]},
        ),
    }
    for task, (entry, annotation) in expected.items():
        model = make_model(task=task)
        store(model, make_request(model, "with", entries=[entry]), make_request(model, "none", entries=[]))
        store(model, make_request(model, "v1", inference={"native": 1}))
        with opened(made(model, include_inferences_as_annotations=True)) as archive:
            assert lines(archive, "annotations.jsonl") == [
                {"path": None, "annotations": [annotation]},
                {"path": None, "annotations": []},
            ]
            assert len(lines(archive, "inferences.jsonl")) == 3


def test_an_empty_set(tmp_path):
    export = made(make_model(task=TaskType.OBJECT_DETECTION), **ALL)
    path = tmp_path / "archive.zip"
    path.write_bytes(content(export))
    assert verify_archive(path).inference_count == 0


def test_an_input_whose_bytes_are_gone_has_no_path():
    model = detector(2)
    blobs.remove(model.inferences.get(inference_id="i-0").data_storage_key)
    with opened(made(model, include_inferences_as_annotations=True)) as archive:
        assert [line["path"] for line in lines(archive, "inferences.jsonl")] == [None, "data/i-1.bin"]
        assert [line["path"] for line in lines(archive, "annotations.jsonl")] == [None, "data/i-1.bin"]


def test_a_large_input(monkeypatch):
    monkeypatch.setattr(exporting, "READ_WHOLE_BYTES", 1000)
    monkeypatch.setattr(blobs, "PIECE_BYTES", 999)
    model, large = make_model(), random.Random(1).randbytes(5000)
    store(model, make_request(model, "large", key=make_upload(model, large)))
    with opened(made(model)) as archive:
        assert archive.read("data/large.bin") == large


HOSTILE = [
    "..\\..\\evil",
    "CON",
    "con.txt",
    "A",
    "a",
    "a.png",
    ".hidden",
    "-rf",
    "a b",
    "\u00e9",
    "e\u0301",
    "%2e%2e",
    "~",
    "x" * 255,
    "x" * 254 + "y",
    "😀" * 60,
    "name.",
    "<script>",
    "a:b",
    "aux",
    "a-" + "0" * 32,
]


def test_hostile_ids_unpack_inside_the_folder(tmp_path):
    """Fault 9."""
    model = make_model()
    for inference_id in HOSTILE:
        key = make_upload(model, inference_id.encode())
        store(model, make_request(model, inference_id, key=key))
    export = made(model)
    folder = tmp_path / "unpacked"
    with opened(export) as archive:
        names = archive.namelist()
        assert len({name.lower() for name in names}) == len(names) == len(HOSTILE) + 2
        for name in names:
            assert MEMBER_NAME.fullmatch(name)
            assert all(re.fullmatch("[A-Za-z0-9._-]+", part) for part in name.split("/"))
        archive.extractall(folder)
        for line in lines(archive, "inferences.jsonl"):
            unpacked = (folder / line["path"]).resolve()
            assert unpacked.is_relative_to(folder.resolve())
            assert unpacked.read_text() == line["inference_id"]


# --- Its set ------------------------------------------------------------------------------------------------
def test_the_set_agrees_with_brute_force():
    rng = random.Random(7)
    model = make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(40)]
    store(model, *requests)
    every = [each.inference_id for each in requests]
    other = detector(2)
    judged = 0
    while judged < 25:
        filters = random_data.as_filter(random_data.conditions(rng, requests))
        include, exclude = rng.sample(every, rng.randrange(4)), rng.sample(every, rng.randrange(4))
        try:
            matched = {each.inference_id for each in oracle.matching(requests, filters)}
        except oracle.Unclear:
            continue
        judged += 1
        request = NewExportTaskRequest(
            filters=filters, include_inference_ids=[*include, "no-such"], exclude_inference_ids=exclude
        )
        export = Export.objects.create(registered_model=model, format="archive", request={})
        count = export_set.fix_set(export, request, WRITERS["archive"])
        keys = [key for batch in export.batches.order_by("pk") for key in batch.keys]
        found = dict(model.inferences.values_list("pk", "inference_id"))
        assert {found[key] for key in keys} == (matched | set(include)) - set(exclude), request
        assert keys == sorted(set(keys))
        assert count == len(keys)
        assert not set(keys) & set(other.inferences.values_list("pk", flat=True))


def test_batches_end_by_count_or_bytes(monkeypatch):
    monkeypatch.setattr(export_set, "BATCH_BYTES", 100)
    model = make_model()
    for number, size in enumerate([10, 10, 250, 60, 60, 0, 0, 0]):
        store(model, make_request(model, f"i-{number}", key=make_upload(model, b"x" * size)))
    export = Export.objects.create(registered_model=model, format="archive", request={})
    monkeypatch.setattr(WRITERS["archive"], "batch_size", classmethod(lambda cls, model: 4))
    export_set.fix_set(export, NewExportTaskRequest(), WRITERS["archive"])
    batches = list(export.batches.order_by("number"))
    assert [batch.number for batch in batches] == list(range(len(batches)))
    sizes = [len(batch.keys) for batch in batches]
    assert sum(sizes) == 8
    assert max(sizes) <= 4
    assert len(batches) >= 3


def test_inputs_count_only_where_they_are_copied(monkeypatch):
    monkeypatch.setattr(export_set, "BATCH_BYTES", 1)
    model = detector(4)
    for format_, batches in (("archive", 4), ("jsonl", 2)):
        export = Export.objects.create(registered_model=model, format=format_, request={})
        export_set.fix_set(export, NewExportTaskRequest(), WRITERS[format_])
        assert export.batches.count() == batches


def test_what_comes_or_goes_meanwhile():
    model = detector(5)
    export, making = begin(model, **ALL), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)  # the set is fixed, and its first batch is written
    store(model, make_request(model, "late", entries=[BOX]))
    deletion.delete_inference(model=model, inference_id="i-4")
    deletion.delete_inference(model=model, inference_id="i-0")  # written already
    list(steps)
    making.close()
    assert ids_of(complete(export)) == ["i-0", "i-1", "i-2", "i-3"]
    assert export.progress_count == export.expected_count == 4


def test_formats_refuse_models_they_can_not_hold():
    with pytest.raises(Refusal, match="format"):
        begin(make_model(task=TaskType.TEXT_EMBEDDING, embedding_size=2), format="yolo")


def test_filters_are_kept_as_they_were():
    filters = BaseInferenceFilter.model_validate(
        {"metadata_filter": [{"key": "x", "type": "float", "operator": ">", "value": "1e300"}]}
    )
    with opened(made(make_model(), filters=filters)) as archive:
        kept = json.loads(archive.read("manifest.json"))["request"]
    assert NewExportTaskRequest.model_validate(kept).filters == filters


def test_outputs_are_all_known():
    """A new kind of output needs a place in the engine."""
    assert {Copy, File, Piece} == set(exporting.Output.__args__)
    assert Joined not in exporting.Output.__args__
