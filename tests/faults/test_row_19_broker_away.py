"""The broker is away, for real; and more schedulers and workers than one (faults 18 and 19)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import redis
from celery.beat import PersistentScheduler
from django.utils import timezone

from inference_store import blobs
from inference_store.celery import app
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest, NewRetentionPolicyRequest
from inference_store.embedded.redis import Redis
from inference_store.models import Export, Project, RetentionPolicy, RetentionTask
from inference_store.services import exports, jobs, retention_policies
from tests.cast import BASE, cast  # noqa: F401
from tests.jobs.killing import ExportWatch
from tests.jobs.stock import stock
from tests.making import make_model, make_user
from tests.servers import HOME
from tests.workers import Beat, Web, Worker, environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE_SECONDS, A_FEW_SECONDS = 2, 8
GIVE_BACK = """
import django
django.setup()
from inference_store.models import Export
from inference_store.services import jobs
jobs.SLICE_SECONDS = 0
jobs.work(Export, {pk!r}, lambda job: True)
"""


class Broker(Redis):
    """One of the test's own, with what a process needs to find it."""

    def __init__(self, place: Path):
        self.place = {"INFERENCE_STORE_HOME": str(place)}
        super().__init__()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def broker(monkeypatch):
    """A broker that is not started yet."""
    place = Path(tempfile.mkdtemp(dir=HOME))
    with monkeypatch.context() as patch:
        patch.setenv("INFERENCE_STORE_HOME", str(place))
        broker = Broker(place)
    yield broker
    if broker.process is not None:
        broker.thaw()
    broker.stop()
    shutil.rmtree(place)


@pytest.fixture
def run(broker, tmp_path):
    """Starts programs that use the broker, all of which end with the test."""
    running = []

    def start(kind):
        program = kind(tmp_path / f"{kind.__name__}-{len(running)}.log", **broker.place)
        running.append(program)
        program.start()
        return program

    yield start
    for program in running:
        program.kill()


@pytest.fixture
def pictures(cast):  # noqa: F811
    model = make_model("pictures", project=Project.objects.get(pk="birds"))
    stock(model, 10)
    return model


def ended(job):
    job.refresh_from_db()
    return not job.is_active


def timed(client, method, path, body=None):
    """The answer, and how many seconds it took."""
    began = time.monotonic()
    answer = client.request(method, path, json=body)
    return answer, time.monotonic() - began


def test_exports_are_asked_for_while_the_broker_is_away(cast, pictures, broker, run, tmp_path):  # noqa: F811
    web = run(Web)
    web.ready()
    headers = {"Authorization": f"Bearer {cast.carol.token}"}
    with httpx.Client(base_url=web.url + BASE, headers=headers, timeout=60) as client:
        client.get("/models")
        asked_for(client, AT_ONCE_SECONDS)
        asked_for(client, AT_ONCE_SECONDS)
        broker.start()
        broker.freeze()
        asked_for(client, A_FEW_SECONDS)
    broker.thaw()
    run(Worker)
    old_schedule(tmp_path / "Beat-2.schedule")
    run(Beat)
    assert Export.objects.count() == 3
    for export in Export.objects.all():
        wait_until(lambda export=export: ended(export), "the export ends")
        assert (export.state, export.progress_count) == ("complete", 10)


def asked_for(client, most_seconds):
    """An export is taken in, and nothing else is slower for it."""
    answer, seconds = timed(client, "POST", "/models/pictures/export-tasks", {})
    assert answer.status_code == 201
    assert answer.json()["state"] == "pending"
    assert seconds < most_seconds
    for path in ("", "/export-tasks", f"/export-tasks/{answer.json()['id']}", "/inferences/i-0000003"):
        told, seconds = timed(client, "GET", f"/models/pictures{path}")
        assert told.status_code == 200, path
        assert seconds < 2


def test_a_worker_that_loses_its_broker_goes_on(pictures, broker, run):
    model = make_model()
    stock(model, 2_000)
    request = NewExportTaskRequest(include_custom_metadata=True)
    broker.start()
    worker = run(Worker)
    worker.ready()
    export = exports.create_export(model=model, user=make_user(), request=request)
    hand_out(broker, export)
    watch = ExportWatch(export)
    wait_until(lambda: watch() or export.progress_count, "the export has begun")
    broker.stop()
    assert export.is_active
    wait_until(lambda: watch() or not export.is_active, "the export ends")
    assert (export.state, export.progress_count) == ("complete", 2_000)
    with blobs.open_blob(export.archive_key) as archive:
        assert check_archive(archive.name).inference_count == 2_000
    # The worker is there for the next one, too.
    wait_until(lambda: "Cannot connect to redis" in worker.said(), "the worker has noticed")
    broker.start()
    export = exports.create_export(model=pictures, user=make_user(), request=request)
    hand_out(broker, export)
    wait_until(lambda: ended(export), "the next export ends")
    assert export.state == "complete"


def hand_out(broker, export, times=1):
    """As the store's own processes do that use this broker."""
    with app.connection_for_write(url=f"redis+socket://{broker.socket}") as connection:
        for _ in range(times):
            app.send_task("inference_store.run_export", args=[str(export.pk)], connection=connection)


def test_a_job_given_back_without_a_broker_is_handed_out_once_it_is_back(pictures, broker):
    export = exports.create_export(model=pictures, user=make_user(), request=NewExportTaskRequest())
    app.control.purge()
    code = GIVE_BACK.format(pk=str(export.pk))
    subprocess.run([sys.executable, "-c", code], env=environment(**broker.place), check=True)
    export.refresh_from_db()
    assert (export.state, export.claimed_until) == ("running", None)
    assert jobs.resume() == 1


def old_schedule(path):
    """What a scheduler has written down that stopped long ago: all it has is due as it starts again."""
    scheduler = PersistentScheduler(app, schedule_filename=str(path))
    for entry in scheduler.schedule.values():
        entry.last_run_at = datetime(2026, 1, 1, tzinfo=UTC)
    scheduler.close()


def test_two_schedulers_and_two_workers(cast, broker, run, tmp_path):  # noqa: F811
    model = make_model()
    stock(model, 1_000, size=50)
    policy = NewRetentionPolicyRequest(
        automated_interval=1, maximum_record_age=1, maximum_blob_age=1, delete_action="hard"
    )
    retention_policies.create_policy(model=model, user=cast.users["alice"], request=policy)
    RetentionPolicy.objects.update(created_at=timezone.now() - timedelta(hours=5))
    other = make_model()
    stock(other, 1_000, size=50)
    export = exports.create_export(model=other, user=make_user(), request=NewExportTaskRequest())
    app.control.purge()
    Export.objects.update(sent_at=None, state="pending")
    broker.start()
    hand_out(broker, export, times=6)
    for number in range(2):
        old_schedule(tmp_path / f"Beat-{number}.schedule")
    for beat in (run(Beat), run(Beat)):
        wait_until(lambda beat=beat: "Sending due task schedule retention" in beat.said(), "it is sent")
    workers = [run(Worker), run(Worker)]
    claims = {Export: set(), RetentionTask: set()}

    client = redis.Redis(unix_socket_path=str(broker.socket))

    def both_ended():
        for kind, seen in claims.items():
            seen.update(kind.objects.exclude(claim=None).values_list("claim", flat=True))
        queued = client.llen("celery")
        ended = not Export.objects.active().exists() and RetentionTask.objects.filter(state="complete")
        return ended and not queued

    wait_until(both_ended, "export and run end")
    for worker in workers:
        worker.stop()  # once it has done what it is at
    task = RetentionTask.objects.get()
    assert (task.started_by, task.deleted_record_count, task.deleted_blob_count) == ("schedule", 1_000, 1_000)
    export.refresh_from_db()
    assert (export.state, export.progress_count) == ("complete", 1_000)
    said = "".join(worker.said() for worker in workers)
    assert len(re.findall(r"Task inference_store.schedule_retention\S* succeeded", said)) == 2
    assert len(re.findall(r"Task inference_store.run_export\S* succeeded", said)) >= 6
    assert {kind: len(seen) for kind, seen in claims.items()} == {Export: 1, RetentionTask: 1}
