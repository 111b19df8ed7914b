"""Exports for tests: small batches, finished ones, and what is in their archives."""

import json
import zipfile

import pytest

from inference_store import blobs
from inference_store.archive import WRITERS
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, ExportBatch
from inference_store.services import exporting, exports, jobs
from tests.making import make_model, make_request, make_upload, make_user, store

BOX = {"label": "cat", "score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
ALL = {"include_inferences_as_annotations": True, "include_custom_metadata": True}


@pytest.fixture
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


def iter_steps(export, making):
    """The steps of an export one by one, by a worker of its own."""
    job = jobs.claim(Export, export.pk)
    assert job is not None
    more = True
    while more:
        more = making.step(job)
        yield job
