"""What a real worker does with jobs."""

import pytest

from inference_store import calling
from inference_store.calling import Calling
from inference_store.celery import app
from inference_store.contract.enums import AuditAction
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import AuditRecord
from inference_store.services import exports
from tests.making import make_model, make_request, make_upload, make_user, store
from tests.services.retaining import make_policy, make_task
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


def test_a_job_is_done_under_the_request_that_asked_for_it(blob_root, worker):
    """What the worker writes names that request, by the job's row."""
    with calling.serving(Calling("asked-for-it", calling.API)):
        task = make_task(make_policy(make_model()), dry_run=True)

    def finished():
        task.refresh_from_db()
        return not task.is_active

    wait_until(finished, "the dry run is over")
    record = AuditRecord.objects.get(action=AuditAction.TASK_FINISH)
    assert (record.request_id, record.door) == ("asked-for-it", calling.JOB)


def test_a_message_carries_the_id_of_the_request_that_sent_it():
    with calling.serving(Calling("asked-for-it", calling.API)), app.connection_for_write() as broker:
        app.send_task("inference_store.resume_jobs", connection=broker, queue="watched")
        queue = broker.SimpleQueue("watched")
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
    assert message.headers[calling.TASK_HEADER] == "asked-for-it"
