"""Retention for tests: what is there, what a policy should take by brute force, and tasks carried out."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import connection

from inference_store import blobs
from inference_store.contract.jobs import NewRetentionPolicyRequest, NewRetentionTaskRequest
from inference_store.models import Blob, Entry, Inference, RetentionTask, SoftDeletedInference, User
from inference_store.query.statistics import key_type_counts
from inference_store.services import jobs, retention, retention_policies, retention_runs
from tests.jobs.stock import stored_files
from tests.making import make_request, store


# --- What is there ------------------------------------------------------------------------------------------
@dataclass
class Item:
    """An inference of a test: hours old, and the sizes of its blobs, None where it has none."""

    age: float
    protected: bool = False
    data: int | None = None
    metadata: int | None = None
    inference_id: str = ""
    key: int = 0
    created_at: datetime | None = None

    @property
    def blobs(self):
        return [size for size in (self.data, self.metadata) if size is not None]


def database_clock():
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        return cursor.fetchone()[0]


def put(model, size, kind=Blob.Kind.DATA):
    """An uploaded blob that nobody owns; not forced to the disk."""
    key = blobs.new_key(model.pk)
    with blobs.receive([b"x" * size], size) as received:
        received.keep(key)
    Blob.objects.create(key=key, registered_model=model, kind=kind, size=size, uploaded_at=database_clock())
    return key


def lay(model, items):
    """Store the items in this order."""
    now = database_clock()
    for number, item in enumerate(items):
        item.inference_id = item.inference_id or f"i{number:03}-{uuid4().hex[:4]}"
        item.created_at = now - timedelta(hours=item.age)
        request = make_request(
            model,
            item.inference_id,
            created_at=item.created_at,
            protected=item.protected,
            key=None if item.data is None else put(model, item.data),
            entries=[{"label": "a", "score": 0.5}, {"label": "b"}],
            metadata=[(f"k{number % 3}", "int", str(number))],
        )
        store(model, request)
        item.key = Inference.objects.get(registered_model=model, inference_id=item.inference_id).pk
        if item.metadata is not None:
            key = put(model, item.metadata, Blob.Kind.METADATA)
            Blob.objects.filter(key=key).update(inference_id=item.key)
    return items


# --- What should go -----------------------------------------------------------------------------------------
def due(items, record_age, blob_age):
    """(item, reason) of what a run takes, in its order."""
    in_order = sorted(items, key=lambda item: (item.created_at, item.key))
    open_ = [item for item in in_order if not item.protected]
    past = [item for item in open_ if record_age != -1 and item.age > record_age]
    bare = [item for item in open_ if item not in past and item.data is not None and item.age > blob_age]
    return [(item, "record") for item in past] + [(item, "blob") for item in bare]


def sizes(item, reason):
    return item.blobs if reason == "record" else [item.data]


def digest(taken):
    """Of (inference id, reason), as the contract describes it."""
    value = "0" * 64
    for inference_id, reason in taken:
        value = hashlib.sha256(f"{value} {reason} {inference_id}".encode()).hexdigest()
    return value


def assert_told(task, taken):
    """The task's figures are those of what was taken."""
    task.refresh_from_db()
    going = [size for item, reason in taken for size in sizes(item, reason)]
    assert task.deleted_record_count == sum(reason == "record" for _, reason in taken)
    assert (task.deleted_blob_count, task.deleted_bytes) == (len(going), sum(going))
    assert task.deleted_digest == digest([(item.inference_id, reason) for item, reason in taken])


def assert_left(model, items, taken):
    """What stays is there whole, with its blobs; of what went nothing is left but soft rows."""
    gone = {item.key for item, reason in taken if reason == "record"}
    bare = {item.key for item, reason in taken if reason == "blob"}
    left = [item for item in items if item.key not in gone]
    rows = Inference.objects.filter(registered_model=model)
    assert set(rows.values_list("pk", flat=True)) == {item.key for item in left}
    with_data = {item.key for item in left if item.data is not None and item.key not in bare}
    assert set(rows.exclude(data_storage_key=None).values_list("pk", flat=True)) == with_data
    owned = {(item.key, "data") for item in left if item.key in with_data}
    owned |= {(item.key, "metadata") for item in left if item.metadata is not None}
    found = Blob.objects.filter(registered_model=model)
    assert set(found.values_list("inference_id", "kind")) == owned
    prefix = f"{model.pk}/"
    assert {key for key in stored_files() if key.startswith(prefix)} == set(
        found.values_list("key", flat=True)
    )
    entries = Entry.objects.filter(registered_model=model).values_list("inference_id", flat=True)
    assert Counter(entries) == dict.fromkeys((item.key for item in left), 2)
    held = Counter(f"k{items.index(item) % 3}" for item in left)
    assert key_type_counts(model).counts == {key: {"int": count} for key, count in held.items()}


def soft_keys(model):
    return set(SoftDeletedInference.objects.filter(registered_model=model).values_list("pk", flat=True))


# --- Policies and tasks -------------------------------------------------------------------------------------
def somebody():
    """A user without a password, which would take its time."""
    return User.objects.get_or_create(username="somebody")[0]


def make_policy(model, record=2, blob=1, *, action="hard", interval=0, user=None):
    request = NewRetentionPolicyRequest(
        automated_interval=interval, maximum_record_age=record, maximum_blob_age=blob, delete_action=action
    )
    return retention_policies.create_policy(model=model, user=user or somebody(), request=request)[0]


def make_task(policy, *, dry_run=False, preview=None, user=None):
    request = NewRetentionTaskRequest(
        dry_run=dry_run,
        retention_policy_id=str(policy.pk),
        preview_task_id=str(preview.pk) if preview else None,
    )
    user = user or somebody()
    return retention.create_task(model=policy.registered_model, user=user, request=request)


def carried_out(task):
    retention_runs.run(task.pk)
    task.refresh_from_db()
    assert (task.state, task.error) == ("complete", "")
    return task


def dry_run(policy):
    return carried_out(make_task(policy, dry_run=True))


def claimed(task):
    """The job in the hands of a worker; of another than before, whose claim runs out."""
    RetentionTask.objects.filter(pk=task.pk).update(claimed_until=None)
    return jobs.claim(RetentionTask, task.pk)
