"""/metrics: who may read it, and what it says."""

from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from inference_store.models import RegisteredModel
from inference_store.services import readiness
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_ROOT = tmp_path / "blobs"
    readiness.kept.forget()
    cache.delete(readiness.HEARTBEAT)


def read(**headers: str) -> dict[tuple[str, ...], float]:
    answer = Client().get("/metrics", **headers)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name.removeprefix("inference_store_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_without_a_token_this_machine_alone_may_read() -> None:
    assert ("audit_head",) in read()
    assert Client().get("/metrics", REMOTE_ADDR="203.0.113.7").status_code == 403
    forged = Client().get("/metrics", REMOTE_ADDR="203.0.113.7", HTTP_X_FORWARDED_FOR="127.0.0.1")
    assert forged.status_code == 403


def test_with_a_token_its_bearer_alone_may(settings: Any) -> None:
    settings.METRICS_TOKEN = "for-prometheus"
    assert Client().get("/metrics").status_code == 403
    assert Client().get("/metrics", HTTP_AUTHORIZATION="Bearer for-prometheuz").status_code == 403
    assert read(HTTP_AUTHORIZATION="Bearer for-prometheus", REMOTE_ADDR="203.0.113.7")


def test_it_tells_what_waits(cast: Cast, detector: RegisteredModel) -> None:
    assert read()["jobs", "export", "waiting"] == 0
    for _ in range(2):
        assert cast.carol.post("models/detector/export-tasks", {}).status_code == 201
    with connection.cursor() as cursor:
        cursor.execute("update inference_store_export set created_at = created_at - interval '5 minutes'")
    policy = {
        "maximum_record_age": 10,
        "maximum_blob_age": 5,
        "automated_interval": 1,
        "delete_action": "hard",
    }
    assert cast.alice.post("models/detector/retention-policies", policy).status_code == 201
    with connection.cursor() as cursor:
        cursor.execute("update inference_store_retentionpolicy set created_at = now() - interval '3 hours'")
    said = read()
    assert said["jobs", "export", "waiting"] == 2
    assert said["jobs", "export", "running"] == 0
    assert 300 <= said["job_waiting_seconds", "export"] < 360
    assert said["job_running_seconds", "export"] == 0
    assert 7_200 <= said["retention_overdue_seconds",] < 7_260
    assert said["ready", "database"] == 1
    assert said["ready", "jobs"] == 0


def test_more_jobs_cost_no_more_queries(cast: Cast, detector: RegisteredModel) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            read()
        return len(asked)

    before = queries()
    for _ in range(20):
        cast.carol.post("models/detector/export-tasks", {})
    assert queries() == before
