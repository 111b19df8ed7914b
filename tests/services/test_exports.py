"""Exports: their set, their archive, and whatever interrupts them."""

import json
import random
import re
import zipfile
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.archive.base import Copy, File, Joined, Piece
from inference_store.client.verification import verify_archive
from inference_store.contract.archive import MEMBER_NAME
from inference_store.contract.enums import TaskType
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Blob, Export, ExportBatch, RetentionPolicy, Role
from inference_store.models.job import hence
from inference_store.services import deletion, export_set, exporting, exports, jobs
from tests import oracle
from tests.making import make_model, make_project, make_request, make_upload, make_user, store
from tests.query import random_data

pytestmark = pytest.mark.django_db(transaction=True)

BOX = {"label": "cat", "score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
ALL = {"include_inferences_as_annotations": True, "include_custom_metadata": True}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Two inferences a batch and one at a read, so that a few make many steps."""
    monkeypatch.setattr(exporting, "READ_AT_ONCE", 1)
    for writer in WRITERS.values():
        monkeypatch.setattr(writer, "batch_size", classmethod(lambda cls, model: 2))


def begin(model, user=None, **request):
    return exports.create_export(
        model=model, user=user or make_user(), request=NewExportTaskRequest(**request)
    )


def made(model, **request):
    """A finished export."""
    export = begin(model, **request)
    exporting.run(export.pk)
    return complete(export)


def complete(export):
    export.refresh_from_db()
    assert export.state == "complete", export.error
    assert not ExportBatch.objects.filter(export=export).exists()
    return export


def opened(export):
    return zipfile.ZipFile(blobs.open_blob(export.archive_key))


def content(export):
    with blobs.open_blob(export.archive_key) as file:
        return file.read()


def lines(archive, name):
    return [json.loads(each) for each in archive.read(name).splitlines()]


def ids_of(export):
    with opened(export) as archive:
        return [line["inference_id"] for line in lines(archive, "inferences.jsonl")]


def detector(count, **fields):
    """A model with so many inferences, each with an input."""
    model = make_model(task=TaskType.OBJECT_DETECTION)
    for number in range(count):
        key = make_upload(model, f"input {number}".encode())
        store(model, make_request(model, f"i-{number}", entries=[BOX], key=key, **fields))
    return model


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


# --- Interrupted --------------------------------------------------------------------------------------------
def iter_steps(export, making):
    """The steps of an export one by one, by a worker of its own."""
    job = jobs.claim(Export, export.pk)
    assert job is not None
    more = True
    while more:
        more = making.step(job)
        yield job


def lapse(export):
    """The claim runs out, as when a worker died."""
    Export.objects.filter(pk=export.pk).update(claimed_until=hence(-1))


@pytest.mark.parametrize("format_", sorted(WRITERS))
def test_killed_after_any_step_the_same_bytes_come_out(format_, blob_root):
    model = detector(5, metadata=[("run", "int", "7"), ("note", "string", "=1+1")])
    undisturbed = content(made(model, format=format_, **ALL))
    assert undisturbed == content(made(model, format=format_, **ALL))
    killed_after = 1
    while True:
        export, making = begin(model, format=format_, **ALL), exporting.Making()
        for taken, _ in enumerate(iter_steps(export, making), start=1):
            if taken == killed_after:
                break
        else:
            break  # it had finished
        making.close()
        for path in (blob_root / "drafts" / str(export.pk)).glob("*"):
            path.write_bytes(path.read_bytes() + b"torn")  # what was written and not yet said to be durable
        lapse(export)
        exporting.run(export.pk)
        assert content(complete(export)) == undisturbed, f"killed after step {killed_after}"
        killed_after += 1
    making.close()
    assert killed_after >= 4
    assert blobs.drafts() == []


def test_a_lost_draft_is_made_anew():
    model = detector(5)
    undisturbed = content(made(model))
    export, making = begin(model), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    making.close()
    blobs.discard_draft(str(export.pk))
    lapse(export)
    exporting.run(export.pk)
    assert content(complete(export)) == undisturbed


def test_one_worker_at_a_time():
    export, making = begin(detector(5)), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    exporting.run(export.pk)  # another is sent the same job: it is taken
    export.refresh_from_db()
    assert (export.state, export.batches_done) == ("running", 1)
    lapse(export)
    exporting.run(export.pk)  # it holds the claim now, but the first still holds the draft
    export.refresh_from_db()
    assert (export.state, export.batches_done) == ("running", 1)
    with pytest.raises(jobs.ClaimLostError):
        next(steps)
    making.close()
    export.refresh_from_db()
    assert export.batches_done == 1
    lapse(export)
    exporting.run(export.pk)
    complete(export)


def test_a_draft_that_can_not_be_written_fails_it(monkeypatch):
    def full(draft, stream, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs.Draft, "append", full)
    export = begin(detector(1))
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "failed"
    assert "disk" in export.error
    assert blobs.drafts() == []
    assert not export.batches.exists()


def test_what_never_gets_on_fails_in_the_end(monkeypatch):
    export = begin(detector(1))
    monkeypatch.setattr(exporting, "whole_inferences", lambda *_: 1 / 0)
    for _ in range(jobs.MOST_ATTEMPTS + 2):
        lapse(export)
        try:
            exporting.run(export.pk)
        except ZeroDivisionError:
            continue
    export.refresh_from_db()
    assert export.state == "failed"
    assert str(jobs.MOST_ATTEMPTS) in export.error


# --- Stopped ------------------------------------------------------------------------------------------------
def test_stopped_before_it_began():
    user = make_user()
    export = begin(detector(1), user)
    assert exports.stop_export(export=export, user=user).state == "stopped"
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "stopped"


def test_stopped_while_it_runs():
    user = make_user()
    export, making = begin(detector(5), user), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    assert exports.stop_export(export=export, user=user).state == "running"
    with pytest.raises(jobs.JobStopped):
        next(steps)
    making.close()
    lapse(export)
    exporting.run(export.pk)
    export.refresh_from_db()
    assert (export.state, export.archive_key) == ("stopped", None)
    assert blobs.drafts() == []
    assert not export.batches.exists()


def test_who_may_stop_it():
    users = {name: make_user() for name in ("one", "two", "editor")}
    project = make_project(editor=users["editor"])
    for name in ("one", "two"):
        project.members.add(users[name], through_defaults={"role": Role.VIEWER})
    model = make_model(project=project)
    with pytest.raises(Refusal, match="editor"):
        exports.stop_export(export=begin(model, users["one"]), user=users["two"])
    for name in ("one", "editor"):
        assert exports.stop_export(export=begin(model, users["one"]), user=users[name]).state == "stopped"


def test_what_has_ended_stays():
    user = make_user()
    model = detector(1)
    export = begin(model, user)
    exporting.run(export.pk)
    assert exports.stop_export(export=export, user=user).state == "complete"
    assert complete(export).archive_key is not None


# --- Expiry -------------------------------------------------------------------------------------------------
def readable(export):
    return exports.told(export).archive_key is not None


def test_an_archive_expires(settings):
    export = made(detector(1))
    hours = (export.expires_at - export.finished_at).total_seconds() / 3600
    assert hours == settings.EXPORT_KEPT_HOURS == 168
    assert readable(export)
    assert exports.expire_archives() == 0
    Export.objects.filter(pk=export.pk).update(expires_at=Now())
    assert not readable(export)
    key = export.archive_key
    assert exports.expire_archives() == 1
    export.refresh_from_db()
    assert (export.state, export.archive_key) == ("complete", None)
    assert blobs.size(key) is None
    assert not Blob.objects.filter(key=key).exists()


def test_an_archive_never_outlives_the_blob_age():
    model = detector(1)
    export = made(model)
    RetentionPolicy.objects.create(
        registered_model=model, automated_interval=0, maximum_record_age=-1, maximum_blob_age=3
    )
    assert exports.told(export).task.expires_at == export.created_at + timedelta(hours=3)
    assert readable(export)
    Export.objects.filter(pk=export.pk).update(created_at=hence(-3 * 3600))
    assert not readable(export)
    assert exports.expire_archives() == 1


def test_its_url_does_not_outlive_it():
    export = made(detector(1))
    Export.objects.filter(pk=export.pk).update(expires_at=hence(60))
    assert exports.told(export).readable_seconds <= 60


def test_the_sweep_leaves_archives_alone():
    from inference_store.services.sweeping import sweep_blobs

    export = made(detector(1))
    Blob.objects.update(created_at=hence(-10 * 24 * 3600))
    assert sweep_blobs() == 0
    assert readable(export)


def test_drafts_nobody_works_at_are_removed():
    export, making = begin(detector(3)), exporting.Making()
    steps = iter_steps(export, making)
    next(steps), next(steps)
    making.close()
    blobs.open_draft(str(uuid4()), {}).close()
    exports.expire_archives()
    assert blobs.drafts() == [str(export.pk)]


# --- Handed out ---------------------------------------------------------------------------------------------
def test_resume_hands_out_what_no_worker_is_at(monkeypatch):
    sent = []
    monkeypatch.setattr(jobs.app, "send_task", lambda name, args, **options: sent.append((name, *args)))
    export = begin(detector(1))
    expected = [("inference_store.run_export", str(export.pk))]
    assert sent == expected
    export.refresh_from_db()
    assert export.state == "scheduled"
    assert jobs.resume() == 0  # it is in the queue
    Export.objects.update(sent_at=hence(-jobs.RESEND_SECONDS - 1))
    assert jobs.resume() == 1  # or was lost with the broker
    assert jobs.claim(Export, export.pk) is not None
    assert jobs.resume() == 0  # a worker is at it
    lapse(export)
    Export.objects.update(sent_at=hence(-2))
    assert jobs.resume() == 1  # and died
    assert sent == expected * 3


def test_nothing_is_sent_when_the_transaction_fails(monkeypatch):
    from django.db import transaction

    sent = []
    monkeypatch.setattr(jobs.app, "send_task", lambda *args, **options: sent.append(args))
    model = detector(1)
    with transaction.atomic():
        begin(model)
        transaction.set_rollback(True)
    assert (sent, Export.objects.count()) == ([], 0)


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
