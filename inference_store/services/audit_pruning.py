"""The oldest end of the audit log is removed, and a checkpoint says up to where.

A part is gone through before it goes, so that what was tampered with stays to be looked at. Its checkpoint,
the record of its removal and the removal itself are one transaction.
"""

import logging
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from inference_store.contract.enums import AuditAction
from inference_store.models import AuditCheckpoint, AuditedInferences, AuditRecord, AuditSeal
from inference_store.services import audit, jobs, sealing
from inference_store.services.audit_verification import verify_part
from inference_store.services.sealing import Head, SealingError

logger = logging.getLogger("inference_store.audit")

LOCK = 7_305_441_620
PRUNED_AT_ONCE = 20_000
DAY = "date_trunc('day', clock_timestamp() at time zone 'UTC') at time zone 'UTC'"
"""Whole days, so that there is something to prune once a day."""
FIRST_KEPT = f"""
    select coalesce(
        (select sequence from {AuditSeal._meta.db_table} where sealed_at >= %s order by sequence limit 1),
        (select max(sequence) from {AuditSeal._meta.db_table}))
"""  # noqa: S608 # nosec B608
REMOVALS = [
    f"""
    delete from {AuditedInferences._meta.db_table} p using {AuditSeal._meta.db_table} s
     where s.sequence <= %s and p.record_id = s.record_id
    """,  # noqa: S608 # nosec B608
    f"""
    delete from {AuditRecord._meta.db_table} r using {AuditSeal._meta.db_table} s
     where s.sequence <= %s and r.id = s.record_id
    """,  # noqa: S608 # nosec B608
    f"delete from {AuditSeal._meta.db_table} where sequence <= %s",  # noqa: S608 # nosec B608
]


def prune(days: int | None = None, at_once: int = PRUNED_AT_ONCE) -> int:
    """Remove what was sealed longer ago than AUDIT_DAYS, or so many days; how many records.

    A SealingError where what would go is not as it was sealed.
    """
    days = settings.AUDIT_DAYS if days is None else days
    if days <= 0:
        return 0
    removed = 0
    while some := _prune_some(days, at_once):
        removed += some
    return removed


@transaction.atomic
def _prune_some(days: int, at_once: int) -> int:
    jobs.unlimited()
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(f"select {DAY} - make_interval(days => %s), clock_timestamp()", [days])
        sealed_before, now = cursor.fetchone()
        beginning = sealing.begin(sealing.keys())
        last = _last_to_go(beginning, sealed_before, at_once)
        if last is None:
            return 0
        _keep_checkpoint(last, sealed_before, now)
        audit.record(
            AuditAction.AUDIT_PRUNE,
            details={
                "from": beginning.sequence + 1,
                "through": last.sequence,
                "seal": last.seal,
                "sealed_before": sealed_before.isoformat(),
            },
        )
        for removal in REMOVALS:
            cursor.execute(removal, [last.sequence])
    count = last.sequence - beginning.sequence
    logger.info("audit log pruned up to %s", last, extra={"audit_pruned": count})
    return count


def _last_to_go(beginning: Head, sealed_before: datetime, at_once: int) -> Head | None:
    """The chain's last seal always stays: the next one follows it."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST_KEPT, [sealed_before])
        first_kept: int | None = cursor.fetchone()[0]
    if first_kept is None or first_kept - 1 <= beginning.sequence:
        return None
    through = min(first_kept - 1, beginning.sequence + at_once)
    found = verify_part(through)
    if found.wrong or found.head.sequence != through:
        raise SealingError(
            f"Nothing is pruned: of what would go, {'; '.join(found.wrong[:3]) or 'the end is missing'}. "
            "Run manage.py verify_audit."
        )
    return found.head


def _keep_checkpoint(last: Head, sealed_before: datetime, now: datetime) -> None:
    name, key = next(iter(sealing.keys().items()))
    checkpoint = AuditCheckpoint(
        sequence=last.sequence, seal=last.seal, sealed_before=sealed_before, made_at=now, key_id=name
    )
    checkpoint.mac = sealing.mac_of(key, checkpoint)
    checkpoint.save(force_insert=True)
