"""What retention takes, brings back and purges is recorded batch by batch, by whom it is done."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from inference_store.models import AuditRecord, RetentionPolicy, RetentionTask, SoftDeletedInference
from inference_store.services import retention, soft_deletion
from tests.making import LONG_AGO, make_model, make_request, store
from tests.services.retaining import carried_out, make_policy

pytestmark = pytest.mark.django_db


def test_a_run_by_itself_is_the_policys():
    model = make_model()
    store(model, *(make_request(model, name, created_at=LONG_AGO) for name in ("a", "b")))
    policy = make_policy(model, interval=1, action="soft")
    RetentionPolicy.objects.filter(pk=policy.pk).update(created_at=timezone.now() - timedelta(hours=9))
    before = AuditRecord.objects.count()
    assert retention.schedule_due() == 1
    task = RetentionTask.objects.get()
    carried_out(task)
    records = list(AuditRecord.objects.order_by("id")[before:])
    wanted = ["retention_task.create", "inference.expire", "retention_task.finish"]
    assert [record.action for record in records] == wanted
    assert {record.actor for record in records} == {f"retention policy {policy.pk}"}
    task.refresh_from_db()
    assert task.audit_record_id == records[-1].pk
    assert records[1].inference_count == 2
    assert json.loads(records[-1].details)["digest"] == task.deleted_digest
    soft_deletion.restore_deleted(model=model, inference_ids=["a"])
    SoftDeletedInference.objects.update(deleted_at=timezone.now() - timedelta(days=99))
    assert soft_deletion.purge_deleted() == 1
    last = AuditRecord.objects.order_by("-id").values_list("action", "inference_id", "model_id")[:2]
    assert list(last) == [
        ("inference.purge", "b", model.model_id),
        ("inference.restore", "a", model.model_id),
    ]
