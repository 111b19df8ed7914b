"""What to watch, as Prometheus reads it. Each figure costs the same however much is stored."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Now
from kombu.exceptions import ChannelError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_store import counters, replica
from inference_store.celery import app
from inference_store.models import AuditSeal, Blob, Inference
from inference_store.services import readiness, retention
from inference_store.services.jobs import TASK_NAMES

logger = logging.getLogger(__name__)

MOST_DOOMED = 10_000


class Store(Collector):
    """All figures, asked when they are collected."""

    def collect(self) -> Iterator[Metric]:
        parts = readiness.kept.look().parts
        yield _parts(parts)
        if parts.get("database") == readiness.OK:
            try:
                yield from self._of_the_database()
            except (OperationalError, InterfaceError):
                # It went away since it was last looked at.
                logger.warning("The database can't be asked for figures.", exc_info=True)
        yield from _queue()

    def _of_the_database(self) -> Iterator[Metric]:
        yield from _jobs()
        yield _gauge(
            "retention_overdue_seconds", "How long the most overdue policy waits to run.", _overdue()
        )
        yield _gauge("inferences", "Inferences, as PostgreSQL estimates them.", _estimated())
        doomed = Blob.objects.exclude(doomed_at=None)[:MOST_DOOMED].count()
        yield _gauge("blobs_doomed", f"Blobs whose bytes wait to be removed, {MOST_DOOMED} at most.", doomed)
        head = AuditSeal.objects.aggregate(head=Max("sequence"))["head"]
        if replica.is_configured():
            yield from _replica()
        yield _gauge("audit_head", "The number of the last sealed audit record.", head or 0)


def exposition() -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Store())
    return generate_latest(registry) + _counted()


def _counted() -> bytes:
    try:
        return generate_latest(counters.counts().registry())
    except Exception:
        # A file may have been torn by a loss of power; what is asked of the database is told all the same.
        logger.exception("What was counted can't be read.")
        return b""


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"inference_store_{name}", text, value=value)


def _jobs() -> Iterator[Metric]:
    jobs = GaugeMetricFamily("inference_store_jobs", "Jobs that have not ended.", labels=["kind", "state"])
    waiting, running = (
        GaugeMetricFamily(
            f"inference_store_job_{each}_seconds", f"The oldest that is {each}.", labels=["kind"]
        )
        for each in ("waiting", "running")
    )
    claimed = Q(claimed_until__gte=Now())
    for kind in TASK_NAMES:
        name = kind._meta.model_name or ""
        found = kind.objects.active().aggregate(
            waiting=Count("pk", filter=~claimed | Q(claimed_until=None)),
            running=Count("pk", filter=claimed),
            since=Min("created_at", filter=~claimed | Q(claimed_until=None)),
            began=Min("started_at", filter=claimed),
        )
        jobs.add_metric([name, "waiting"], found["waiting"])
        jobs.add_metric([name, "running"], found["running"])
        waiting.add_metric([name], _seconds_since(found["since"]))
        running.add_metric([name], _seconds_since(found["began"]))
    yield from (jobs, waiting, running)


def _queue() -> Iterator[Metric]:
    """What the broker holds; nothing where it is away, which `ready` tells."""
    try:
        with app.connection_for_read() as broker:
            broker.ensure_connection(max_retries=0, timeout=int(readiness.PATIENCE_SECONDS))
            queue = app.conf.task_default_queue
            channel: Any = broker.default_channel
            waiting = channel.queue_declare(queue, passive=True).message_count
    except ChannelError:  # nothing waits
        waiting = 0
    except Exception:  # noqa: BLE001  (whatever it is, the broker is away)
        return
    yield _gauge("queue_messages", "Messages that wait for a worker.", waiting)


def _parts(parts: dict[str, str]) -> Metric:
    ready = GaugeMetricFamily("inference_store_ready", "1 where the part is there.", labels=["part"])
    for part, said in parts.items():
        ready.add_metric([part], float(said == readiness.OK))
    return ready


def _replica() -> Iterator[Metric]:
    """No figure where there is none: a replica that is away is no replica without a lag."""
    with suppress(replica.UnfitError, replica.AwayError):
        if (lag := replica.current_lag(patience=0.0)) is not None:
            yield _gauge("replica_lag_seconds", "How far the replica is behind.", lag)


def _overdue() -> float:
    return _seconds_since(retention.due_policies().aggregate(due=Min("due_at"))["due"])


def _seconds_since(moment: datetime | None) -> float:
    """By the database's clock; 0 where there is no such moment."""
    with connection.cursor() as cursor:
        cursor.execute("select coalesce(extract(epoch from now() - %s::timestamptz), 0)", [moment])
        return float(cursor.fetchone()[0])


def _estimated() -> float:
    with connection.cursor() as cursor:
        cursor.execute(
            "select greatest(reltuples, 0) from pg_class where oid = %s::regclass", [Inference._meta.db_table]
        )
        return float(cursor.fetchone()[0])
