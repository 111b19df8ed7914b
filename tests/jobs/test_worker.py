"""What a real worker does with jobs."""

import pytest

from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.services import exports
from tests.making import make_model, make_request, make_upload, make_user, store
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_export_is_made(blob_root, worker):
    model = make_model()
    store(model, make_request(model, "one", key=make_upload(model)))
    export = exports.create_export(model=model, user=make_user(), request=NewExportTaskRequest())

    def finished():
        export.refresh_from_db()
        return export.state == "complete"

    wait_until(finished, "the export is complete")
    assert export.progress_count == 1
