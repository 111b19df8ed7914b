"""Random stocks under random policies: exactly what brute force says goes, however often a worker dies."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference_store.query.retention import preview_items
from inference_store.services import (
    deletion,
    jobs,
    protection,
    retention_runs,
    soft_deletion,
    sweeping,
)
from tests.making import make_model, make_request, store
from tests.services import retaining
from tests.services.retaining import Item, carried_out, claimed, due, lay, make_policy, make_task

pytestmark = pytest.mark.django_db(transaction=True)
EXAMPLES = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

AGES = st.sampled_from([0.5, 1.5, 2.5, 3.5, 3.5, 4.5, 5.5])  # ties too
SIZES = st.one_of(st.none(), st.integers(0, 50))
ITEMS = st.lists(st.builds(Item, AGES, st.booleans(), SIZES, st.sampled_from([None, None, 7])), max_size=14)
LIMITS = st.sampled_from([(-1, 0), (-1, 2), (-1, 9), (0, 0), (2, 0), (2, 2), (4, 1), (4, 3), (5, 5), (9, 1)])
ACTIONS = st.sampled_from(["soft", "hard"])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(retention_runs, "TAKEN_AT_ONCE", 3)
    monkeypatch.setattr(retention_runs, "LISTED_AT_ONCE", 4)


def listed(task):
    return [
        (item.inference_id, item.reason.value, item.blob_count, item.blob_bytes)
        for item in preview_items(task)
    ]


def as_listed(taken):
    return [
        (item.inference_id, reason, len(sizes := retaining.sizes(item, reason)), sum(sizes))
        for item, reason in taken
    ]


@EXAMPLES
@given(items=ITEMS, limits=LIMITS, action=ACTIONS)
def test_what_goes_is_what_is_past_its_age(items, limits, action):
    model = make_model()
    policy, expected = make_policy(model, *limits, action=action), due(lay(model, items), *limits)

    preview = carried_out(make_task(policy, dry_run=True))
    assert listed(preview) == as_listed(expected)
    retaining.assert_told(preview, [])
    retaining.assert_left(model, items, [])

    task = carried_out(make_task(policy))
    retaining.assert_told(task, expected)
    retaining.assert_left(model, items, expected)
    gone = {item.key for item, reason in expected if reason == "record"}
    assert retaining.soft_keys(model) == (gone if action == "soft" else set())
    totals = (len(gone), sum(len(retaining.sizes(*each)) for each in expected))
    for each in (preview, task):
        assert (each.total_record_count, each.total_blob_count) == totals


@EXAMPLES
@given(items=ITEMS, limits=LIMITS, action=ACTIONS, data=st.data())
def test_a_run_from_a_preview_takes_what_was_listed_less_what_changed(items, limits, action, data):
    model = make_model()
    policy = make_policy(model, *limits, action=action)
    expected = due(lay(model, items), *limits)
    preview = carried_out(make_task(policy, dry_run=True))

    # None of these is listed, though by now it is past every age.
    late = lay(model, [Item(100, data=5, inference_id="late")])
    fates = {item.key: data.draw(st.sampled_from(["", "", "protect", "delete", "anew"])) for item in items}
    for item in items:
        if fates[item.key] == "protect":
            protection.set_protection(model=model, inference_id=item.inference_id, is_protected=True)
        elif fates[item.key]:
            deletion.delete_inference(model=model, inference_id=item.inference_id)
        if fates[item.key] == "anew":
            late += lay(model, [Item(90, data=3, inference_id=item.inference_id)])

    task = carried_out(make_task(policy, preview=preview))
    assert (task.record_limit, task.blob_limit) == (preview.record_limit, preview.blob_limit)
    assert (task.total_record_count, task.total_blob_count) == (
        preview.total_record_count,
        preview.total_blob_count,
    )
    taken = [(item, reason) for item, reason in expected if not fates[item.key]]
    retaining.assert_told(task, taken)
    kept = {item.key for item in items if fates[item.key] in ("", "protect")}
    gone = {item.key for item, reason in taken if reason == "record"}
    bare = {item.key for item, reason in taken if reason == "blob"}
    rows = dict(model.inferences.values_list("pk", "data_storage_key"))
    assert set(rows) == (kept - gone) | {item.key for item in late}
    for item in [*items, *late]:
        if item.key in rows:
            assert (rows[item.key] is not None) == (item.data is not None and item.key not in bare)


@EXAMPLES
@given(
    items=ITEMS,
    limits=LIMITS,
    action=ACTIONS,
    dry=st.booleans(),
    turns=st.lists(st.integers(0, 3), max_size=6),
)
def test_another_worker_takes_over_between_any_two_steps(items, limits, action, dry, turns):
    model = make_model()
    policy, expected = make_policy(model, *limits, action=action), due(lay(model, items), *limits)
    task = make_task(policy, dry_run=dry)
    more, before = True, None
    while more:
        worker = claimed(task)
        if before is not None:
            with pytest.raises(jobs.ClaimLostError):
                retention_runs.step(before)
        for _ in range(turns.pop() if turns else 2):
            more = more and retention_runs.step(worker)
        before = worker
    retaining.assert_told(task, [] if dry else expected)
    retaining.assert_left(model, items, [] if dry else expected)
    assert task.state == "complete"
    assert task.total_record_count == sum(reason == "record" for _, reason in expected)
    if dry:
        assert listed(task) == as_listed(expected)


@pytest.mark.parametrize("action", ["soft", "hard"])
@pytest.mark.parametrize("death", ["keep", "delete_rows", "doom", "remove_blobs"])
def test_a_worker_dies_within_a_step(action, death, monkeypatch):
    """Up to its commit a step leaves nothing; what it leaves after that is swept."""
    model = make_model()
    items = lay(model, [Item(9, data=3), Item(9, data=4, metadata=1), Item(1.5, data=5), Item(0.5, data=6)])
    task = make_task(make_policy(model, 5, 1, action=action))
    place = soft_deletion if death == "keep" else deletion
    real, deaths = getattr(place, death), []

    def die(*args):
        result = real(*args) if death != "remove_blobs" else None
        if not deaths or (death == "remove_blobs" and len(deaths) < 2):
            deaths.append(1)
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(place, death, die)
    for _ in range(3):
        try:
            retention_runs.run(claimed_free(task).pk)
        except KeyboardInterrupt:
            continue
    assert deaths or (death, action) == ("keep", "hard")
    monkeypatch.undo()
    sweeping.sweep_blobs()
    expected = due(items, 5, 1)
    retaining.assert_told(task, expected)
    retaining.assert_left(model, items, expected)
    assert task.state == "complete"


def claimed_free(task):
    """The task, its claim run out."""
    type(task).objects.filter(pk=task.pk).update(claimed_until=None)
    return task


def test_the_limits_are_exact():
    """Past its age is older than the limit, not as old."""
    model = make_model()
    items = lay(model, [Item(50, data=1), Item(50, data=2), Item(50, data=3), Item(50, data=4)])
    task = make_task(make_policy(model, 10, 5))
    at = [task.record_limit, task.record_limit, task.blob_limit, task.blob_limit]
    earlier = [1, 0, 1, 0]
    for item, limit, microseconds in zip(items, at, earlier, strict=True):
        created_at = limit - timedelta(microseconds=microseconds)
        model.inferences.filter(pk=item.key).update(created_at=created_at)
    carried_out(task)
    taken = [(items[0], "record"), (items[1], "blob"), (items[2], "blob")]
    retaining.assert_told(task, taken)
    retaining.assert_left(model, items, taken)


def test_imported_and_unprotected_meanwhile():
    """They are past their age as well; the totals then are no smaller than what went."""
    model = make_model()
    lay(model, [Item(9, protected=True, inference_id="open", data=1), Item(8, data=1)])
    task = make_task(make_policy(model))
    worker = claimed(task)
    assert retention_runs.step(worker)
    assert (worker.total_record_count, worker.total_blob_count) == (1, 1)
    protection.set_protection(model=model, inference_id="open", is_protected=False)
    store(model, make_request(model, "imported", created_at=retaining.database_clock().replace(year=2001)))
    while retention_runs.step(worker):
        pass
    task.refresh_from_db()
    assert (task.deleted_record_count, task.total_record_count) == (3, 3)
    assert (task.deleted_blob_count, task.total_blob_count) == (2, 2)
    assert not model.inferences.exists()
