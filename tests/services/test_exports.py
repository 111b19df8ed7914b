"""Exports: their set, their archive, and whatever interrupts them."""

import hashlib
import json
import zipfile
from uuid import uuid4

import pytest

from inference_store import blobs
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.contract.enums import TaskType
from inference_store.models import Blob, Export, ExportBatch
from inference_store.services import exporting, exports, jobs
from tests.making import make_model, make_request, make_upload, make_user, store

pytestmark = pytest.mark.django_db(transaction=True)


def begin(model, **request):
    return exports.create_export(model=model, user=make_user(), request=NewExportTaskRequest(**request))


def made(model, **request):
    """A finished export."""
    export = begin(model, **request)
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "complete", export.error
    return export


def opened(export):
    return zipfile.ZipFile(blobs.open_blob(export.archive_key))


def lines(archive, name):
    return [json.loads(each) for each in archive.read(name).splitlines()]


def detector(count=0, **fields):
    model = make_model(task=TaskType.OBJECT_DETECTION)
    box = {"label": "cat", "score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    for number in range(count):
        key = make_upload(model, f"input {number}".encode())
        store(model, make_request(model, f"i-{number}", entries=[box], key=key, **fields))
    return model


def test_it_works():
    model = detector(3, metadata=[("run", "int", "7")])
    export = made(model, include_inferences_as_annotations=True, include_custom_metadata=True)
    assert (export.progress_count, export.expected_count) == (3, 3)
    with opened(export) as archive:
        assert archive.testzip() is None
        print(archive.namelist())
        print(lines(archive, "inferences.jsonl")[0], lines(archive, "annotations.jsonl")[0], lines(archive, "metadata.jsonl")[0])
        print(archive.read("manifest.json").decode())
    assert blobs.drafts() == []
    assert not ExportBatch.objects.exists()
