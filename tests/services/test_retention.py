"""Policies and their tasks: who may run what when, by whose clock, and from which list."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewGetRetentionTasksRequest, NewRetentionTaskRequest
from inference_store.models import RetentionPolicy, RetentionPreviewItem, RetentionTask
from inference_store.query.retention import preview_items, preview_page, retention_tasks
from inference_store.services import jobs, retention, retention_policies, retention_runs
from tests.making import LONG_AGO, make_model, make_request, make_user, store
from tests.services.retaining import (
    Item,
    carried_out,
    claimed,
    database_clock,
    dry_run,
    lay,
    make_policy,
    make_task,
    somebody,
)

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def refusal_of(act, *args, **kwargs):
    with pytest.raises(Refusal) as refused:
        act(*args, **kwargs)
    return refused.value


def at_once(act, threads=2):
    """What each of so many calls at the same time gave, each on a connection of its own."""
    barrier = Barrier(threads)

    def one(_):
        try:
            barrier.wait()
            return act()
        except Refusal as refusal:
            return refusal.status
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


# --- Policies -----------------------------------------------------------------------------------------------
def test_the_same_policy_again_and_another():
    model, user = make_model(), make_user()
    policy = make_policy(model, 5, 3, user=user)
    assert make_policy(model, 5, 3).pk == policy.pk
    for change in ({"record": 6}, {"blob": 2}, {"action": "soft"}, {"interval": 1}):
        refusal = refusal_of(make_policy, model, **{"record": 5, "blob": 3} | change)
        assert (refusal.status, len(refusal.fields)) == (409, 1)
        assert str(policy.pk) in refusal.message
    policy.refresh_from_db()
    assert (policy.maximum_record_age, policy.created_by, policy.last_scheduled_at) == (5, user, None)


def test_a_policy_is_deleted_its_tasks_stay():
    model = make_model()
    policy = make_policy(model)
    task = dry_run(policy)
    assert refusal_of(retention_policies.delete_policy, model=model, policy_id=str(uuid4())).status == 404
    assert refusal_of(retention_policies.delete_policy, model=model, policy_id="x").status == 404
    other = make_model()
    assert refusal_of(retention_policies.delete_policy, model=other, policy_id=str(policy.pk)).status == 404
    retention_policies.delete_policy(model=model, policy_id=str(policy.pk))
    assert not RetentionPolicy.objects.exists()
    assert retention.find_task(model=model, task_id=str(task.pk)).retention_policy_id == policy.pk
    assert make_policy(model, 9, 9).pk != policy.pk


def test_a_run_under_way_outlives_its_policy():
    model = make_model()
    items = lay(model, [Item(9)])
    task = make_task(policy := make_policy(model))
    retention_policies.delete_policy(model=model, policy_id=str(policy.pk))
    assert carried_out(task).deleted_record_count == len(items)


@pytest.mark.django_db(transaction=True)
def test_a_policy_made_many_times_at_once():
    model, user = make_model(), make_user()
    assert len({policy.pk for policy in at_once(lambda: make_policy(model, user=user), 8)}) == 1


# --- Tasks --------------------------------------------------------------------------------------------------
def test_a_task_keeps_what_it_began_with():
    model, user = make_model(), make_user("alice")
    before = database_clock()
    policy = make_policy(model, 5, 3, action="soft")
    task = make_task(policy, user=user)
    after = database_clock()
    task.refresh_from_db()
    assert before <= task.created_at <= after
    assert (task.record_limit, task.blob_limit) == (task.created_at - 5 * HOUR, task.created_at - 3 * HOUR)
    assert (task.started_by, task.user, task.is_automated) == ("alice", user, False)
    assert (task.delete_action, task.maximum_record_age, task.maximum_blob_age) == ("soft", 5, 3)
    policy.refresh_from_db()
    assert policy.last_scheduled_at == task.created_at


def test_a_dry_run_does_not_count_as_a_run():
    policy = make_policy(make_model())
    task = dry_run(policy)
    policy.refresh_from_db()
    assert policy.last_scheduled_at is None
    assert task.deleted_digest == "0" * 64


def test_kept_for_ever():
    model = make_model()
    store(model, make_request(model, created_at=datetime(1965, 1, 1, tzinfo=UTC)))
    task = carried_out(make_task(make_policy(model, -1, 100_000)))
    assert task.record_limit == datetime(1970, 1, 1, tzinfo=UTC)
    assert (task.deleted_record_count, model.inferences.count()) == (0, 1)


def test_the_longest_ages():
    model = make_model()
    longest = 24 * 366 * 1000
    store(model, make_request(model, created_at=datetime(1965, 1, 1, tzinfo=UTC)))
    assert carried_out(make_task(make_policy(model, longest, longest))).deleted_record_count == 0


def test_only_the_standing_policy_is_run():
    model, other = make_model(), make_model()
    make_policy(model)
    for policy_id in (str(uuid4()), "x", "", str(make_policy(other).pk)):
        request = NewRetentionTaskRequest(dry_run=True, retention_policy_id=policy_id)
        refusal = refusal_of(retention.create_task, model=model, user=somebody(), request=request)
        assert refusal.status == 404


def test_an_automated_policy_is_not_run_by_hand():
    policy = make_policy(make_model(), interval=24)
    refusal = refusal_of(make_task, policy)
    assert refusal.status == 409
    assert "every 24 hours" in refusal.message
    preview = dry_run(policy)
    assert refusal_of(make_task, policy, preview=preview).status == 409


def test_one_run_at_a_time():
    policy = make_policy(make_model())
    first = make_task(policy)
    refusal = refusal_of(make_task, policy)
    assert refusal.status == 409
    assert str(first.pk) in refusal.message
    assert dry_run(policy).state == "complete"
    jobs.stop(first)
    carried_out(make_task(policy))
    make_task(policy)


def test_one_run_at_a_time_whatever_the_policy():
    model = make_model()
    first = make_task(policy := make_policy(model))
    retention_policies.delete_policy(model=model, policy_id=str(policy.pk))
    assert str(first.pk) in refusal_of(make_task, make_policy(model, 9, 9)).message


@pytest.mark.django_db(transaction=True)
def test_many_runs_asked_for_at_once():
    policy, user = make_policy(make_model()), make_user()
    answers = at_once(lambda: make_task(policy, user=user).state, 6)
    assert sorted(answers, key=str) == [409] * 5 + ["pending"]
    assert RetentionTask.objects.count() == 1


def test_stopped_between_two_batches(monkeypatch):
    monkeypatch.setattr(retention_runs, "TAKEN_AT_ONCE", 2)
    model = make_model()
    lay(model, [Item(9, data=5) for _ in range(7)])
    task = make_task(make_policy(model))
    worker = claimed(task)
    for _ in range(3):  # one counts
        retention_runs.step(worker)
    assert retention.stop_task(task=task).state == "running"
    with pytest.raises(jobs.JobStopped):
        retention_runs.step(worker)
    task.refresh_from_db()
    assert (task.deleted_record_count, task.total_record_count) == (4, 7)
    assert model.inferences.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_batch_lets_go_of_its_rows_while_somebody_holds_one(monkeypatch):
    monkeypatch.setattr(retention_runs, "LOCK_SECONDS", 0.05)
    model = make_model()
    items = lay(model, [Item(9), Item(9), Item(9)])
    worker = claimed(make_task(make_policy(model)))
    retention_runs.step(worker)  # counts
    with transaction.atomic():
        model.inferences.select_for_update().get(pk=items[1].key)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: (retention_runs.step(worker), connection.close())[0]).result(20)
        model.inferences.select_for_update(nowait=True).get(pk=items[0].key)
        assert model.inferences.count() == 3
    while retention_runs.step(worker):
        pass
    assert (worker.deleted_record_count, model.inferences.count()) == (3, 0)


def test_stopped_before_it_began():
    task = make_task(make_policy(make_model()))
    assert retention.stop_task(task=task).state == "stopped"
    retention_runs.run(task.pk)
    task.refresh_from_db()
    assert (task.state, task.is_counted) == ("stopped", False)


# --- Lists of tasks -----------------------------------------------------------------------------------------
def test_lists_of_tasks():
    model = make_model()
    policy = make_policy(model)
    tasks = [dry_run(policy) for _ in range(5)]
    dry_run(make_policy(make_model()))
    for hours, task in enumerate(tasks):
        RetentionTask.objects.filter(pk=task.pk).update(created_at=LONG_AGO + hours * HOUR)

    def listed(**request):
        found = retention_tasks(model, NewGetRetentionTasksRequest(**request))
        return [next(at for at, task in enumerate(tasks) if task.pk == each.pk) for each in found]

    assert listed() == [0, 1, 2, 3, 4]
    assert listed(pagination={"direction": "desc", "limit": 2, "offset": 1}) == [3, 2]
    assert listed(pagination={"sort": "created_at", "offset": 2**63 - 1}) == []
    assert listed(retention_policy_id=str(policy.pk).upper(), state_filter="complete") == [0, 1, 2, 3, 4]
    assert listed(retention_policy_id="no uuid") == listed(state_filter="failed") == []
    window = {"start": "2026-01-01T13:00:00Z", "end": "2026-01-01T15:00:00Z"}
    assert listed(time_window_filter=window) == [1, 2, 3]
    for field, wrong in (("sort", "score"), ("cursor", "x"), ("limit", 1001)):
        assert f"pagination.{field}" in refusal_of(listed, pagination={field: wrong}).fields


# --- Lists of dry runs --------------------------------------------------------------------------------------
def test_only_a_fresh_complete_dry_run_of_this_policy_can_be_run(settings):
    model, other = make_model(), make_model()
    lay(model, [Item(9)])
    policy = make_policy(model)
    unfinished, real = make_task(policy, dry_run=True), carried_out(make_task(policy))
    foreign = dry_run(make_policy(other))
    earlier = dry_run(policy)
    retention_policies.delete_policy(model=model, policy_id=str(policy.pk))
    policy = make_policy(model, 3, 3)
    fresh = dry_run(policy)
    for preview, status in ((unfinished, 409), (real, 409), (foreign, 400), (earlier, 409)):
        refusal = refusal_of(make_task, policy, preview=preview)
        assert (refusal.status, list(refusal.fields)) == (status, ["preview_task_id"])
    refusal = refusal_of(make_task, policy, preview=fresh, dry_run=True)
    assert (refusal.status, list(refusal.fields)) == (400, ["preview_task_id"])
    assert carried_out(make_task(policy, preview=fresh)).preview == fresh


def test_a_list_is_kept_so_long(settings):
    settings.RETENTION_PREVIEW_KEPT_HOURS = 2
    model = make_model()
    lay(model, [Item(9), Item(9), Item(9)])
    policy = make_policy(model)
    young, old, in_use = dry_run(policy), dry_run(policy), dry_run(policy)
    run = make_task(policy, preview=in_use)
    now = database_clock()
    for task, hours in ((young, 1.9), (old, 2.1), (in_use, 2.1)):
        RetentionTask.objects.filter(pk=task.pk).update(finished_at=now - hours * HOUR)
    assert retention.purge_previews() == 3
    assert [item.inference_id for item in preview_page(young).items]
    assert refusal_of(preview_page, old).status == 404
    assert refusal_of(preview_page, in_use).status == 404
    assert carried_out(run).deleted_record_count == 3
    assert refusal_of(make_task, policy, preview=old).status == 409
    assert retention.purge_previews() == 3
    assert set(RetentionPreviewItem.objects.values_list("task", flat=True)) == {young.pk}
    # A list whose first items went is none, however long it would be kept.
    settings.RETENTION_PREVIEW_KEPT_HOURS = 1000
    assert refusal_of(preview_page, old).status == 404


def test_a_list_purged_while_it_is_read_breaks_off(monkeypatch):
    monkeypatch.setattr("inference_store.query.retention.READ_AT_ONCE", 2)
    model = make_model()
    lay(model, [Item(9) for _ in range(5)])
    task = dry_run(make_policy(model))
    items = preview_items(task)
    next(items)
    task.items.filter(position__lte=3).delete()
    with pytest.raises(RuntimeError, match="purged"):
        list(items)


def test_pages_of_a_list():
    model = make_model()
    items = lay(model, [Item(20 - age, data=age) for age in range(7)] + [Item(1.5, data=30)])
    task = dry_run(make_policy(model))
    listed, cursor = [], ""
    while cursor is not None:
        page = preview_page(task, limit=3, cursor=cursor)
        listed, cursor = [*listed, *page.items], page.next_cursor
    assert [item.inference_id for item in listed] == [item.inference_id for item in items]
    assert [item.reason.value for item in listed] == ["record"] * 7 + ["blob"]
    assert listed == list(preview_items(task))
    assert preview_page(task, cursor="8").items == []
    for wrong in ("x", "-1", "1.5", "²", "9" * 19):
        assert refusal_of(preview_page, task, cursor=wrong).status == 400


# --- The schedule -------------------------------------------------------------------------------------------
def ago(policy, hours, last=None):
    now = database_clock()
    last = last and now - last * HOUR
    RetentionPolicy.objects.filter(pk=policy.pk).update(created_at=now - hours * HOUR, last_scheduled_at=last)
    return policy


def test_what_is_due():
    def with_interval(interval, *times):
        return ago(make_policy(make_model(), interval=interval), *times)

    due = [with_interval(2, 2.01), with_interval(2, 99, 2.01), with_interval(1, 500, 400)]
    for times in ((0, 500), (2, 1.99), (2, 99, 1.99), (24 * 366 * 1000, 9)):
        with_interval(*times)
    assert retention.schedule_due() == 3
    tasks = RetentionTask.objects.all()
    assert {task.retention_policy_id for task in tasks} == {policy.pk for policy in due}
    assert all(
        (each.started_by, each.is_automated, each.dry_run) == ("schedule", True, False) for each in tasks
    )
    assert retention.schedule_due() == 0, "missed intervals are caught up once"
    for task in tasks:
        carried_out(task)
        policy = RetentionPolicy.objects.get(pk=task.retention_policy_id)
        assert policy.last_scheduled_at == task.created_at
    assert retention.schedule_due() == 0


def test_a_run_under_way_is_waited_for():
    policy = ago(make_policy(make_model(), interval=1), 5)
    assert retention.schedule_due() == 1
    run = RetentionTask.objects.get()
    ago(policy, 5, 2)
    last = RetentionPolicy.objects.get().last_scheduled_at
    assert retention.schedule_due() == 0
    assert RetentionPolicy.objects.get().last_scheduled_at == last
    carried_out(run)
    assert retention.schedule_due() == 1


@pytest.mark.django_db(transaction=True)
def test_many_schedulers_at_once():
    """Fault 18."""
    for _ in range(5):
        ago(make_policy(make_model(), interval=1), 3)
    assert sum(at_once(retention.schedule_due, 6)) == 5
    assert RetentionTask.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_a_scheduler_passes_over_what_another_holds():
    policy = ago(make_policy(make_model(), interval=1), 3)
    with transaction.atomic():
        RetentionPolicy.objects.select_for_update().get(pk=policy.pk)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: (retention.schedule_due(), connection.close())[0]).result(10) == 0
    assert retention.schedule_due() == 1


@pytest.mark.parametrize("days", [1, -1])
def test_a_machine_s_clock_a_day_off_deletes_nothing_early_or_late(days, monkeypatch):
    """Fault 18: only the database's clock counts."""
    model = make_model()
    items = lay(model, [Item(23, data=1), Item(25, data=2), Item(47, data=3), Item(49, data=4)])
    policy = ago(make_policy(model, 48, 24, interval=24), 24.5)
    other = ago(make_policy(make_model(), interval=24), 23.5)
    real_now, real_time = timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: real_now() + timedelta(days=days))
    monkeypatch.setattr(time, "time", lambda: real_time() + days * 86_400)
    assert retention.schedule_due() == 1
    task = carried_out(RetentionTask.objects.get())
    assert task.retention_policy_id == policy.pk != other.pk
    assert (task.deleted_record_count, task.deleted_blob_count) == (1, 3)
    left = dict(model.inferences.values_list("inference_id", "data_storage_key"))
    assert [left.get(item.inference_id) is not None for item in items] == [True, False, False, False]
    assert len(left) == 3


# --- How it is asked ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("reason", "index"), [("record", "inference_page"), ("blob", "inference_blob")])
def test_a_batch_is_found_by_the_index_of_its_reason(reason, index):
    """Whatever is protected, and from wherever it goes on."""
    model = make_model()
    requests = [
        make_request(model, created_at=LONG_AGO + number * HOUR, protected=number % 2 == 0)
        for number in range(400)
    ]
    store(model, *requests)
    model.inferences.filter(pk__in=model.inferences.order_by("id").values("pk")[:200]).update(
        data_storage_key="k"
    )
    task = make_task(make_policy(model, 3, 2))
    task.reason, task.after_time, task.after_key = reason, LONG_AGO + 5 * HOUR, 5
    with connection.cursor() as cursor:
        cursor.execute("analyze inference_store_inference")
        # Of so few rows the planner may sort some; what counts is that the index gives the order.
        cursor.execute("set enable_bitmapscan = off; set enable_sort = off")
        if reason == "blob":
            task.record_limit = LONG_AGO
        plan = retention_runs.next_rows(task).explain()
        cursor.execute("reset enable_bitmapscan; reset enable_sort")
    assert index in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
