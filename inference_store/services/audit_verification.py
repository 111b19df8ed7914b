"""The audit log is gone through from its first record, and whatever is not as it was sealed is told."""

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from inference_store.models import AuditedInferences, AuditRecord, AuditSeal
from inference_store.services import jobs, sealing
from inference_store.services.audit import digest_of
from inference_store.services.sealing import Head, Link

READ_AT_ONCE = 2_000
SEALED_WITHIN = timedelta(minutes=10)
"""A record that was written so long ago and is not sealed is told: no sealer runs, or it passed it by."""
MOST_FOUND = 1_000
END = 2**63 - 1

CHAIN = f"""
    declare chain no scroll cursor for
    select s.sequence, s.record_id, s.key_id, s.sealed_at, s.seal, {sealing.RECORD}
      from {AuditSeal._meta.db_table} s left join {AuditRecord._meta.db_table} r on r.id = s.record_id
     where s.sequence <= %s order by s.sequence
"""  # noqa: S608 # nosec B608
UNSEALED = f"""
    select id, recorded_at < clock_timestamp() - make_interval(secs => %s) from {AuditRecord._meta.db_table} r
     where not exists (select from {AuditSeal._meta.db_table} s where s.record_id = r.id) order by id
"""  # noqa: S608 # nosec B608
STRAYS = f"""
    select distinct record_id from {AuditedInferences._meta.db_table} p
     where not exists (select from {AuditRecord._meta.db_table} r where r.id = p.record_id) limit %s
"""  # noqa: S608 # nosec B608


@dataclass(slots=True)
class Verified:
    """What was gone through, and what is wrong with it, one line each."""

    sealed: int = 0
    waiting: int = 0
    pruned: Head = sealing.START
    """The last that was pruned, as the checkpoint says."""
    not_compared: int = 0
    """Heads that were written down elsewhere, of records that were pruned."""
    head: Head = sealing.START
    wrong: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        if len(self.wrong) <= MOST_FOUND:
            self.wrong.append(text if len(self.wrong) < MOST_FOUND else "… and more")


def verify(heads: Iterable[Head] = (), project_id: str | None = None) -> Verified:
    """Go through the whole chain, from where it was pruned, a bounded part in memory at a time.

    `heads` are ones that were written down elsewhere; each must be in the chain still, or before it begins.
    With `project_id` the lists of ids of other projects' records are left out.
    """
    is_own = not connection.in_atomic_block
    with transaction.atomic():
        if is_own:
            with connection.cursor() as cursor:
                # One state of the log, whatever is written meanwhile.
                cursor.execute("set transaction isolation level repeatable read, read only")
        jobs.unlimited()
        return _verified(heads, project_id)


def verify_part(through: int) -> Verified:
    """Go through the chain up to that number, within the caller's transaction."""
    found, known = Verified(), sealing.keys()
    _begin(found, known)
    _check_chain(found, known, {}, None, through)
    return found


def _verified(heads: Iterable[Head], project_id: str | None) -> Verified:
    found, known = Verified(), sealing.keys()
    wanted = {head.sequence: head.seal for head in heads}
    _begin(found, known)
    found.not_compared = sum(wanted.pop(number, None) is not None for number in _before(found, wanted))
    if found.pruned.sequence and wanted.pop(found.pruned.sequence, found.pruned.seal) != found.pruned.seal:
        found.tell(f"number {found.pruned.sequence}: pruned with another seal than the head kept elsewhere")
    _check_chain(found, known, wanted, project_id, END)
    if found.pruned.sequence and not found.sealed:
        found.tell(f"number {found.pruned.sequence + 1}: missing; the end of the chain is never pruned")
    for sequence in sorted(wanted):
        found.tell(f"number {sequence}: missing, though it was the head once: the end was cut off")
    _check_rest(found)
    return found


def _before(found: Verified, wanted: Iterable[int]) -> list[int]:
    return [number for number in wanted if number < found.pruned.sequence]


def _begin(found: Verified, known: dict[str, bytes]) -> None:
    """Where the chain begins: as it was pruned, if it is we who say so."""
    checkpoint = sealing.last_checkpoint()
    if checkpoint is None:
        return
    if fault := sealing.checkpoint_fault(checkpoint, known):
        found.tell(f"the checkpoint at number {checkpoint.sequence}: {fault}")
    else:
        found.pruned = found.head = Head(checkpoint.sequence, checkpoint.seal)


def _check_chain(
    found: Verified, known: dict[str, bytes], wanted: dict[int, str], project_id: str | None, through: int
) -> None:
    expected, before = found.pruned.sequence + 1, found.pruned.seal
    for link, record in _chain(through):
        if link.sequence <= found.pruned.sequence:
            found.tell(f"number {link.sequence} (record {link.record_id}): there, though it was pruned")
            continue
        if link.sequence != expected:
            gap = (
                f"number {expected}"
                if link.sequence == expected + 1
                else f"{expected} to {link.sequence - 1}"
            )
            found.tell(f"{gap}: missing, before record {link.record_id}")
        _check(found, known, before, link, record)
        if record is not None and project_id in (None, record["project_id"]):
            _check_ids(found, link, record)
        if wanted.pop(link.sequence, link.seal) != link.seal:
            found.tell(f"number {link.sequence}: has another seal than the head that was kept elsewhere")
        expected, before = link.sequence + 1, link.seal
        found.sealed, found.head = found.sealed + 1, Head(link.sequence, link.seal)


def _chain(through: int) -> Iterator[tuple[Link, dict[str, Any] | None]]:
    with connection.cursor() as cursor:
        cursor.execute(CHAIN, [through])
        try:
            yield from _fetched(cursor)
        finally:
            cursor.execute("close chain")


def _fetched(cursor: Any) -> Iterator[tuple[Link, dict[str, Any] | None]]:
    while True:
        cursor.execute(f"fetch {READ_AT_ONCE} from chain")
        rows = cursor.fetchall()
        for row in rows:
            record = dict(zip(sealing.COLUMNS, row[5:], strict=True))
            yield Link(*row[:5]), record if record["id"] is not None else None
        if len(rows) < READ_AT_ONCE:
            return


def _check(
    found: Verified, known: dict[str, bytes], before: str, link: Link, record: dict[str, Any] | None
) -> None:
    where = f"number {link.sequence} (record {link.record_id})"
    if record is None:
        found.tell(f"{where}: the record is gone")
        return
    key = known.get(link.key_id)
    if key is None:
        found.tell(f"{where}: sealed with the key {link.key_id}, which is not here (AUDIT_KEY_FALLBACKS)")
        return
    place = (link.sequence, link.key_id, link.sealed_at)
    try:
        seal = sealing.seal_of(key, before, place, tuple(record.values()))
    except ValueError:  # the seal before is no seal
        seal = ""
    if not hmac.compare_digest(seal, link.seal):
        found.tell(f"{where}: it, its place or its seal was changed, or the one before it")


def _check_ids(found: Verified, link: Link, record: dict[str, Any]) -> None:
    """That the list of ids is the one that was digested, part by part."""
    if not record["ids_digest"]:
        return
    parts = AuditedInferences.objects.filter(record_id=record["id"]).order_by("number")
    count = 0

    def texts() -> Iterator[str]:
        nonlocal count
        for model_id, first, last, ids in parts.values_list(
            "model_id", "first_id", "last_id", "ids"
        ).iterator(50):
            listed = ids.splitlines() if ids else []
            count += len(listed)
            if not listed or (model_id, first, last) != (record["model_id"], listed[0], listed[-1]):
                found.tell(
                    f"number {link.sequence} (record {link.record_id}): a part of its list was changed"
                )
            yield ids

    if digest_of(texts()) != record["ids_digest"] or count != record["inference_count"]:
        found.tell(f"number {link.sequence} (record {link.record_id}): its list of inferences was changed")


def _check_rest(found: Verified) -> None:
    with connection.cursor() as cursor:
        cursor.execute(UNSEALED, [SEALED_WITHIN.total_seconds()])
        for record_id, is_old in cursor.fetchall():
            found.waiting += 1
            if is_old:
                found.tell(
                    f"record {record_id}: not sealed for {SEALED_WITHIN.total_seconds() / 60:.0f} minutes"
                )
        cursor.execute(STRAYS, [MOST_FOUND])
        for (record_id,) in cursor.fetchall():
            found.tell(f"record {record_id}: gone, though it was never sealed; its list is there")
