"""A retention run by the running store's worker, while a client loads pages and another protects records.

python -m bench.retention --count 500000 --action soft
"""

import argparse
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from bench.inside import emptied, percentile

# isort: split

from django.db import connection, connections

from inference_store.client import errors, inference, models, retention_policy, retention_task
from inference_store.models import Inference, RegisteredModel
from inference_store.services import ingest

AT_ONCE = 5_000
OLD = datetime(2025, 1, 1, tzinfo=UTC)
IDLE_PAGES = 300
LOCKED = """
    select coalesce(max(extract(epoch from clock_timestamp() - activity.xact_start)), 0)
      from pg_locks lock join pg_stat_activity activity using (pid)
     where lock.relation = 'inference_store_inference'::regclass and lock.mode = 'RowExclusiveLock'
       and activity.wait_event_type is distinct from 'Lock' and activity.backend_type = 'client backend'
"""


def store(model: RegisteredModel, prefix: str, count: int, begin: datetime) -> None:
    """So many inferences a second apart, with two entries and five metadata keys each."""
    box = {"score": 0.5, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    for first in range(0, count, AT_ONCE):
        requests = []
        for number in range(first, min(count, first + AT_ONCE)):
            values = {
                "sensor": ("string", f"sensor-{number % 12:02d}"),
                "altitude": ("float", str(number % 4000 / 4)),
                "frame": ("int", str(number)),
                "night": ("json", "true" if number % 2 else "false"),
                "weather": ("json", f'{{"temp": {number % 30}}}'),
            }
            standard = {
                "data_hash": f"{number:064x}",
                "data_size": 20_000,
                "task_type": models.TaskType.OBJECT_DETECTION,
                "inference_action": models.InferenceAction.DETECT,
            }
            extended = [{"key": key, "type": kind, "value": value} for key, (kind, value) in values.items()]
            data = {
                "object_detection": [box | {"label": f"label-{number % 20}"}, box | {"label": "other"}],
                "metadata": {"standard_metadata": standard, "extended_metadata": extended},
            }
            request = {
                "model_id": model.model_id,
                "inference_id": f"{prefix}-{number:07}",
                "data": data,
                "created_at": begin + timedelta(seconds=number),
            }
            requests.append(models.NewInferenceStorageRequest.model_validate(request))
        ingest.store_inferences(model=model, requests=requests)


class Repeated(threading.Thread):
    """Does something over and over, and keeps how many seconds each time took, or what it gave."""

    def __init__(self, action: Callable[[], float | None], pause: float) -> None:
        super().__init__(daemon=True)
        self.action, self.pause = action, pause
        self.found: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(self.pause):
            if (found := self.action()) is not None:
                self.found.append(found)
        connections.close_all()

    def stop(self) -> list[float]:
        self.done.set()
        self.join()
        return self.found


def page(model_id: str) -> float:
    """Seconds for the newest page of the model."""
    began = time.perf_counter()
    newest = models.Pagination(limit=50, direction=models.PaginationSortDirection.DESCENDING)
    found = inference.filter_inferences(model_id, models.NewGetInferencesRequest(pagination=newest))
    assert len(found) == 50
    return time.perf_counter() - began


def longest_lock() -> float:
    """The age in seconds of the oldest transaction that has changed inferences and is at work."""
    with connection.cursor() as cursor:
        cursor.execute(LOCKED)
        return float(cursor.fetchone()[0])


class Protector:
    """Protects records that are about to go."""

    def __init__(self, model_id: str, task_id: str, count: int) -> None:
        self.model_id, self.task_id, self.count = model_id, task_id, count
        self.random = Random(0)
        self.protected: set[str] = set()
        self.missed = 0

    def __call__(self) -> float | None:
        task = retention_task.get_retention_task(self.model_id, self.task_id)
        assert task is not None
        number = task.deleted_record_count + len(self.protected) + self.random.randrange(1_000)
        if number >= self.count:
            return None
        began = time.perf_counter()
        try:
            found = inference.set_protection(self.model_id, f"old-{number:07}", True)
            self.protected.add(found.inference_id)
        except errors.InferenceStoreError as error:
            if error.status != 404:
                raise
            self.missed += 1
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--action", choices=["soft", "hard"], default="soft")
    parser.add_argument("--project", default="demo")
    arguments = parser.parse_args()
    count = arguments.count
    with emptied("bench-retention", arguments.project) as model:
        store(model, "old", count, OLD)
        store(model, "young", 10_000, datetime.now(UTC) - timedelta(hours=3))
        idle = [page(model.model_id) for _ in range(IDLE_PAGES)]
        measure(model, count, arguments.action, idle)


def measure(model: RegisteredModel, count: int, action: str, idle: list[float]) -> None:
    hours = 24
    wanted = models.NewRetentionPolicyRequest(
        automated_interval=0, maximum_record_age=hours, maximum_blob_age=hours, delete_action=action
    )
    policy = retention_policy.create_retention_policy(model.model_id, wanted)
    assert policy is not None
    try:
        request = models.NewRetentionTaskRequest(dry_run=False, retention_policy_id=policy.id)
        task = retention_task.create_retention_task(model.model_id, request)
        assert task is not None
        protector = Protector(model.model_id, task.id, count)
        watchers = [
            Repeated(lambda: page(model.model_id), 0.02),
            Repeated(longest_lock, 0.05),
            Repeated(protector, 0.1),
        ]
        for watcher in watchers:
            watcher.start()
        while task.state not in ("complete", "failed", "stopped"):
            time.sleep(0.5)
            task = retention_task.get_retention_task(model.model_id, task.id)
            assert task is not None
        pages, locks, waits = (watcher.stop() for watcher in watchers)
    finally:
        retention_policy.delete_retention_policy(model.model_id, policy.id)
    assert task.state == "complete", task.error
    assert task.finished_at
    assert task.created_at
    seconds = (task.finished_at - task.created_at).total_seconds()
    left = set(
        Inference.objects.filter(registered_model=model, inference_id__startswith="old").values_list(
            "inference_id", flat=True
        )
    )
    assert left == protector.protected, "a protected record is gone, or an old one is left"
    assert task.deleted_record_count == count - len(left), task.deleted_record_count
    print(
        f"{action} deletion   {task.deleted_record_count / seconds:10,.0f} records/s   ({count:,} old ones)"
    )
    for name, told in (("page, idle", idle), ("page, meanwhile", pages), ("protection", waits)):
        middle, p95, most = (1000 * percentile(told, share) for share in (0.5, 0.95, 1))
        print(f"{name:15} {middle:8,.0f} ms; p95 {p95:,.0f}, longest {most:,.0f} ms; {len(told):,} times")
    print(f"the longest transaction seen {1000 * max(locks):,.0f} ms ({len(locks):,} looks, every 50 ms)")
    print(f"protected in time {len(left):,}, too late {protector.missed:,}; none of these was deleted")


if __name__ == "__main__":
    main()
