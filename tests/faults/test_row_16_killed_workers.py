"""Workers are killed at random moments; what they were at ends as if nothing had happened (fault 16)."""

import time
from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone

from inference_store import blobs
from inference_store.celery import app
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import (
    NewExportTaskRequest,
    NewRetentionPolicyRequest,
    NewRetentionTaskRequest,
)
from inference_store.models import Export, ExportBatch, Inference, RetentionTask, SoftDeletedInference
from inference_store.services import exporting, exports, retention, retention_policies, retention_runs
from tests.jobs.killing import ExportWatch, Killer, RetentionWatch, assert_nothing_is_left
from tests.jobs.stock import stock
from tests.making import LONG_AGO, make_model, make_user
from tests.workers import Worker

pytestmark = pytest.mark.django_db(transaction=True)

FEW, MANY = (1_600, 5), (20_000, 20)
"""Inferences, and kills of the whole worker."""
SIZES = [FEW, pytest.param(*MANY, marks=pytest.mark.soak)]


@pytest.fixture
def worker(blob_root, tmp_path):
    """One that is not started yet."""
    app.control.purge()
    running = Worker(tmp_path / "worker.log")
    yield running
    running.kill()


# --- Exports ------------------------------------------------------------------------------------------------
REQUEST = NewExportTaskRequest(include_inferences_as_annotations=True, include_custom_metadata=True)


def begin_export(model):
    return exports.create_export(model=model, user=make_user(), request=REQUEST)


def carry_out(kind, run, job):
    """By one process, at a stretch; the job, and how many seconds it took."""
    began = time.monotonic()
    while kind.objects.active().filter(pk=job.pk).exists():
        run(job.pk)
    job.refresh_from_db()
    assert job.state == "complete", job.error
    return job, time.monotonic() - began


def kill_often(killer, kills, seconds):
    """At random moments of a job that takes so long; every other worker gets on first."""
    for number in range(kills):
        killer.begin()
        if number % 2:
            killer.live_for_a_batch()
        killer.live_for(Random().uniform(0, seconds / kills / 4))
        killer.kill()


@pytest.mark.parametrize(("count", "kills"), SIZES)
def test_an_export_through_kills(worker, count, kills):
    model = make_model()
    stock(model, count)
    quiet, seconds = carry_out(Export, exporting.run, begin_export(model))
    export = begin_export(model)
    killer = Killer(worker, export, ExportWatch(export))
    kill_often(killer, kills - 1, seconds)
    killer.begin()
    killer.kill_child()
    killer.begin()
    killer.live_until(lambda export: export.progress_count == count, "all inferences are written")
    killer.live_for(Random().uniform(0, 0.1))
    killer.kill()
    killer.end()
    assert killer.kills > kills / 2  # with the child's; a quick machine may be done before the last ones
    assert export.progress_count == export.expected_count == count
    assert blobs.sha256(export.archive_key) == blobs.sha256(quiet.archive_key)
    with blobs.open_blob(export.archive_key) as archive:
        assert check_archive(archive.name).inference_count == count
        assert export.size == check_archive(archive.name).size
    assert not ExportBatch.objects.exists()
    assert_nothing_is_left()


# --- Retention ----------------------------------------------------------------------------------------------
def aged(count):
    """A model with so many past the record age, half as many past the blob age alone, and some young ones."""
    model = make_model()
    stock(model, count, size=50)
    stock(model, count // 2, size=50, first=count, created_at=LONG_AGO + timedelta(days=20))
    stock(model, 100, size=50, first=2 * count, created_at=timezone.now() - timedelta(hours=1))
    protected = [f"i-{number:07}" for number in range(0, 2 * count, 100)]
    Inference.objects.filter(registered_model=model, inference_id__in=protected).update(is_protected=True)
    return model


def begin_retention(model, action):
    hours = (timezone.now() - LONG_AGO) // timedelta(hours=1)
    policy = NewRetentionPolicyRequest(
        automated_interval=0,
        maximum_record_age=hours - 10 * 24,
        maximum_blob_age=hours - 30 * 24,
        delete_action=action,
    )
    policy, _ = retention_policies.create_policy(model=model, user=make_user(), request=policy)
    request = NewRetentionTaskRequest(dry_run=False, retention_policy_id=str(policy.pk))
    return retention.create_task(model=model, user=make_user(), request=request)


@pytest.mark.parametrize(
    ("action", "count", "kills"),
    [
        ("soft", *FEW),
        pytest.param("soft", *MANY, marks=pytest.mark.soak),
        pytest.param("hard", *MANY, marks=pytest.mark.soak),
    ],
)
def test_a_retention_run_through_kills(worker, action, count, kills):
    quiet, seconds = carry_out(RetentionTask, retention_runs.run, begin_retention(aged(count), action))
    model = aged(count)
    task = begin_retention(model, action)
    killer = Killer(worker, task, RetentionWatch(task))
    kill_often(killer, kills, seconds)
    killer.end()
    assert killer.kills == kills
    for told in ("record_count", "blob_count"):
        assert getattr(task, f"deleted_{told}") == getattr(task, f"total_{told}")
        assert getattr(task, f"deleted_{told}") == getattr(quiet, f"deleted_{told}")
    assert task.deleted_record_count == count - count // 100
    assert task.deleted_blob_count == task.deleted_record_count + count // 2 - count // 200
    assert task.deleted_digest == quiet.deleted_digest
    assert task.deleted_bytes == quiet.deleted_bytes == 50 * task.deleted_blob_count
    kept = SoftDeletedInference.objects.filter(registered_model=model).count()
    assert kept == (task.deleted_record_count if action == "soft" else 0)
    assert_nothing_is_left()
