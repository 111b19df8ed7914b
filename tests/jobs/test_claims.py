"""Claims: one worker at a time is at a job, and gives it back when its turn is over."""

from datetime import timedelta

import pytest
from django.utils import timezone

from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, ExportBatch
from inference_store.services import exporting, exports, jobs
from tests.jobs.killing import assert_nothing_is_left
from tests.jobs.stock import stock
from tests.making import make_model, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def export(blob_root):
    model = make_model()
    stock(model, 1)
    return exports.create_export(model=model, user=make_user(), request=NewExportTaskRequest())


def test_a_job_that_never_gets_on_is_called_failed(export):
    def die(job):
        raise RuntimeError("as if the worker had died")

    for _ in range(jobs.MOST_ATTEMPTS):
        with pytest.raises(RuntimeError):
            jobs.work(Export, export.pk, die)
        export.refresh_from_db()
        assert export.state == "running"
        Export.objects.filter(pk=export.pk).update(claimed_until=timezone.now() - timedelta(days=2))
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "failed"
    assert "begun 8 times and never got on" in export.error
    assert export.finished_at
    assert not ExportBatch.objects.exists()
    assert jobs.resume() == 0
    assert_nothing_is_left()


def test_a_job_given_back_is_free_at_once(export, settings, monkeypatch):
    settings.JOB_LEASE_SECONDS = 0.003  # renewed all the time
    monkeypatch.setattr(jobs, "SLICE_SECONDS", 0)
    for _ in range(50):
        jobs.work(Export, export.pk, lambda job: True)
        export.refresh_from_db()
        assert export.claimed_until is None
