"""Queries of jobs have no time limit: they must not grow with the square, nor outlive who asked."""

import signal
import subprocess
import sys

import pytest
from django.db import connection

from inference_store.contract.enums import ExportFormat, TaskType
from inference_store.contract.jobs import (
    NewExportTaskRequest,
    NewRetentionPolicyRequest,
    NewRetentionTaskRequest,
)
from inference_store.models import RetentionTask
from inference_store.services import exporting, exports, retention, retention_policies, retention_runs
from tests.jobs.stock import stock
from tests.making import make_model, make_user
from tests.workers import environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 2_000
SLEEPS = """
import django
django.setup()
from django.db import connection, transaction
from inference_store.services import jobs
with transaction.atomic():
    jobs.unlimited()
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(600)")
"""


def rows_read():
    """Rows and index entries that were read since the server started."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("select sum(seq_tup_read) from pg_stat_user_tables")
        rows = cursor.fetchone()[0]
        cursor.execute("select sum(idx_tup_read) from pg_stat_user_indexes")
        return int(rows + cursor.fetchone()[0])


@pytest.fixture
def imported():
    """A model of which the planner knows nothing, as it came after the last analyze."""
    stock(make_model(), COUNT, size=10)
    with connection.cursor() as cursor:
        cursor.execute("analyze")
    model = make_model()
    stock(model, COUNT, size=10)
    return model


def test_counting_what_retention_will_take(imported):
    policy = NewRetentionPolicyRequest(automated_interval=0, maximum_record_age=1, maximum_blob_age=1)
    policy, _ = retention_policies.create_policy(model=imported, user=make_user(), request=policy)
    request = NewRetentionTaskRequest(dry_run=False, retention_policy_id=str(policy.pk))
    task = retention.create_task(model=imported, user=make_user(), request=request)
    before = rows_read()
    retention_runs.step(RetentionTask.objects.get(pk=task.pk))
    assert rows_read() - before < 100 * COUNT


@pytest.mark.parametrize("format_", [ExportFormat.ARCHIVE, ExportFormat.YOLO])
def test_fixing_the_set_of_an_export(imported, format_):
    imported.task_type = TaskType.OBJECT_DETECTION.value  # which YOLO can hold
    imported.save()
    request = NewExportTaskRequest(format=format_)
    export = exports.create_export(model=imported, user=make_user(), request=request)
    before = rows_read()
    exporting.Making().step(export)
    assert rows_read() - before < 100 * COUNT
    assert export.expected_count == COUNT


def test_the_query_of_a_killed_worker_ends():
    running = subprocess.Popen([sys.executable, "-c", SLEEPS], env=environment())

    def asked():
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'")
            return cursor.fetchone()[0]

    wait_until(asked, "the query runs")
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_until(lambda: not asked(), "the query has ended", 15)
