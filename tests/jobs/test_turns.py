"""Whose job a free worker takes: nobody waits for all that somebody else has started."""

import threading

import pytest
from django.core.cache import cache
from django.db import connection

from inference_store import tasks
from inference_store.celery import app
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, RetentionTask
from inference_store.services import exports, jobs, readiness
from tests.jobs.stock import stock
from tests.making import make_model, make_user
from tests.services.exported import small_batches  # noqa: F401
from tests.services.retaining import make_policy, make_task
from tests.workers import Worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def model(blob_root):
    model = make_model()
    stock(model, 6)
    return model


def begin(model, user, count=1):
    request = NewExportTaskRequest()
    return [exports.create_export(model=model, user=user, request=request) for _ in range(count)]


def turns(messages):
    """Who comes to a turn, as a worker takes so many messages."""
    seen = []
    for _ in range(messages):
        before = set(all_turns())
        tasks.run_export("which does not matter")
        seen += [name for turn, name in sorted(set(all_turns()) - before)]
    return "".join(seen)


def all_turns():
    for kind in (Export, RetentionTask):
        yield from kind.objects.exclude(turn_at=None).values_list("turn_at", "started_by")


def test_who_starts_many_lets_others_on(model):
    begin(model, make_user("a"), 4)
    begin(model, make_user("b"), 2)
    assert turns(4) == "abab"
    begin(model, make_user("c"))
    assert turns(3) == "caa"
    assert set(Export.objects.values_list("state", flat=True)) == {"complete"}
    assert turns(1) == ""  # a message for what is done already


def test_long_ones_take_turns(model, small_batches, monkeypatch):  # noqa: F811
    monkeypatch.setattr(jobs, "SLICE_SECONDS", 0)
    begin(model, make_user("a"), 2)
    begin(model, make_user("b"))
    assert turns(6) == "ababab"
    firsts, seconds = Export.objects.filter(started_by="a").values_list("batches_done", flat=True)
    assert abs(firsts - seconds) <= 1  # those of one user in turns as well


def test_exports_and_retention_take_turns(model):
    begin(model, make_user("a"), 3)
    task = make_task(make_policy(model), user=make_user("r"), dry_run=True)
    assert turns(4) == "araa"
    task.refresh_from_db()
    assert task.state == "complete"


def test_workers_that_ask_at_once_get_different_ones(model):
    begin(model, make_user("a"), 8)
    begin(model, make_user("b"), 8)
    together, got = threading.Barrier(4), []

    def ask():
        for _ in range(4):
            together.wait(timeout=30)
            job = jobs.whose_turn()
            assert jobs.claim(type(job), job.pk)
            got.append(job.pk)
        connection.close()

    workers = [threading.Thread(target=ask) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(timeout=60)
    assert len(set(got)) == 16


def test_what_is_short_goes_before_jobs(model, tmp_path):
    app.control.purge()
    cache.delete(readiness.HEARTBEAT)
    begin(model, make_user("a"), 5)
    app.send_task("inference_store.heartbeat")  # as the scheduler does
    worker = Worker(tmp_path / "worker.log")
    worker.start()
    try:
        wait_until(lambda: not Export.objects.active().exists(), "all exports are over")
    finally:
        worker.kill()
    first = Export.objects.order_by("started_at").first()
    assert cache.get(readiness.HEARTBEAT) < first.started_at.timestamp()
