"""The one sealer chains committed audit records, and says what the chain's head is.

Each record gets the next number and an HMAC over it and the seal before it, by a key that is kept outside the
database. Numbers are given here and not when a record is written, so that one that is committed late gets a
late number and leaves no gap.
"""

import hmac
import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import connection, transaction

from inference_store.embedded import home
from inference_store.models import AuditCheckpoint, AuditMark, AuditRecord, AuditSeal
from inference_store.services import jobs

logger = logging.getLogger("inference_store.audit")

SEALED_AT_ONCE = 5_000
MARGIN = 1_000
"""Records looked at again each time: one may have its id already, and its transaction no number yet."""
LOCK = 7_305_441_619
FIRST_SEAL = "0" * 64
COLUMNS = [field.attname for field in AuditRecord._meta.concrete_fields]
RECORD = ", ".join(f"r.{column}" for column in COLUMNS)
UNSEALED = f"""
    select {RECORD} from {AuditRecord._meta.db_table} r
     where r.id > %s and not exists (select from {AuditSeal._meta.db_table} s where s.record_id = r.id)
     order by r.id limit %s
"""  # noqa: S608 # nosec B608
NOW = f"""
    select pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint,
           greatest(coalesce((select max(id) from {AuditRecord._meta.db_table}), 0) - %s, 0)
      from pg_current_snapshot() now
"""  # noqa: S608 # nosec B608
LAST = f"select sequence, record_id, key_id, sealed_at, seal from {AuditSeal._meta.db_table}"  # noqa: S608 # nosec B608
HEAD = re.compile(r"(?<![0-9])([0-9]{1,18}):([0-9a-f]{64})(?![0-9a-f])")


class SealingError(RuntimeError):
    """The chain can't be gone on with; the message says why and what to do."""


class Link(NamedTuple):
    """A row of the seals."""

    sequence: int
    record_id: int
    key_id: str
    sealed_at: datetime
    seal: str


class Head(NamedTuple):
    """Where the chain ends."""

    sequence: int
    seal: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.seal}"


START = Head(0, FIRST_SEAL)


# --- Keys and seals -----------------------------------------------------------------------------------------
def keys() -> dict[str, bytes]:
    """The keys there are by their ids, the one that seals first."""
    texts = [settings.AUDIT_KEY or home.kept_key("audit_key"), *settings.AUDIT_KEY_FALLBACKS]
    return {key_id(text.encode()): text.encode() for text in texts}


def key_id(key: bytes) -> str:
    """Which key it is, without telling it."""
    return hmac.digest(key, b"inference-store audit key", "sha256").hex()[:16]


def spelt(values: Any) -> bytes:
    """What of a record and its place is sealed: a JSON array; moments in UTC to the microsecond."""
    return orjson.dumps([_plain(value) for value in values])


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def seal_of(key: bytes, before: str, link: tuple[Any, ...], record: tuple[Any, ...]) -> str:
    """HMAC-SHA256 over the seal before, the number, the key's id and the time, and the whole record."""
    return hmac.digest(key, bytes.fromhex(before) + spelt((*link, *record)), "sha256").hex()


# --- Checkpoints: where a pruned chain begins ---------------------------------------------------------------
def mac_of(key: bytes, checkpoint: AuditCheckpoint) -> str:
    """HMAC-SHA256 over all else that the checkpoint says, by a key of its own that the chain's makes."""
    own = hmac.digest(key, b"inference-store audit checkpoint", "sha256")
    said = (checkpoint.sequence, checkpoint.seal, checkpoint.sealed_before, checkpoint.made_at)
    return hmac.digest(own, spelt((*said, checkpoint.key_id)), "sha256").hex()


def checkpoint_fault(checkpoint: AuditCheckpoint, known: dict[str, bytes]) -> str:
    """What is wrong with it; nothing where it is ours."""
    key = known.get(checkpoint.key_id)
    if key is None:
        return f"made with the key {checkpoint.key_id}, which is not here (AUDIT_KEY_FALLBACKS)"
    genuine = hmac.compare_digest(mac_of(key, checkpoint).encode(), checkpoint.mac.encode())
    return "" if genuine else "not made by this store, or changed"


def last_checkpoint() -> AuditCheckpoint | None:
    return AuditCheckpoint.objects.first()


def begin(known: dict[str, bytes]) -> Head:
    """What the chain's first seal follows: the last that was pruned. SealingError where that is not ours."""
    checkpoint = last_checkpoint()
    if checkpoint is None:
        return START
    if fault := checkpoint_fault(checkpoint, known):
        raise SealingError(
            f"The checkpoint at number {checkpoint.sequence} is {fault}: run manage.py verify_audit."
        )
    return Head(checkpoint.sequence, checkpoint.seal)


# --- Sealing ------------------------------------------------------------------------------------------------
def seal_records(batches: int = 200) -> int:
    """Seal what is committed; how many records. 0 also where another sealer is at it."""
    sealed, head = 0, None
    for _ in range(batches):
        count, head = _seal_some()
        sealed += count
        if count < SEALED_AT_ONCE:
            break
    if head is not None:
        publish(head, moved=sealed > 0)
    return sealed


@transaction.atomic
def _seal_some() -> tuple[int, Head | None]:
    jobs.unlimited()
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0, None
        head = _held_head()
        mark = _mark()
        cursor.execute(UNSEALED, [mark.low_id, SEALED_AT_ONCE])
        records = cursor.fetchall()
        if records:
            head = _chain(head, records)
        if len(records) < SEALED_AT_ONCE:
            _move(mark)
    return len(records), head


def _held_head() -> Head:
    """The chain's end, whose own seal is right; or there is nothing to go on from."""
    last = last_link()
    known = keys()
    beginning = begin(known)
    if last is None and beginning.sequence:
        raise SealingError(
            f"Nothing is left after number {beginning.sequence}, up to which the chain was pruned, and its "
            "end never is: records were cut off. Run manage.py verify_audit."
        )
    if last is None:
        head = START
    else:
        if last.key_id not in known:
            raise SealingError(
                f"The last seal was made with the key {last.key_id}, which is not here: set AUDIT_KEY, or "
                "add the key to AUDIT_KEY_FALLBACKS."
            )
        if seal_again(last, known, beginning) != last.seal:
            raise SealingError(
                f"The last seal, number {last.sequence}, does not fit its record: run manage.py verify_audit."
            )
        head = Head(last.sequence, last.seal)
    kept = kept_head()
    # What was pruned can't be compared any more, but for the last of it.
    if kept is not None and kept.sequence >= max(beginning.sequence, 1) and not _holds(kept, beginning):
        raise SealingError(
            f"The chain does not hold {kept}, which AUDIT_HEAD_FILE says it did: records were cut off or "
            "changed, or an older database was restored. Run manage.py verify_audit; then move the file away."
        )
    return head


def last_link() -> Link | None:
    with connection.cursor() as cursor:
        cursor.execute(f"{LAST} order by sequence desc limit 1")
        row = cursor.fetchone()
    return Link(*row) if row else None


def seal_at(sequence: int) -> str | None:
    return AuditSeal.objects.filter(sequence=sequence).values_list("seal", flat=True).first()


def _holds(kept: Head, beginning: Head) -> bool:
    return kept == beginning or seal_at(kept.sequence) == kept.seal


def seal_again(link: Link, known: dict[str, bytes], beginning: Head) -> str:
    """What the link's seal should be, by its record and the seal before it as they are now."""
    before = beginning.seal if link.sequence == beginning.sequence + 1 else seal_at(link.sequence - 1)
    record = AuditRecord.objects.filter(pk=link.record_id).values_list(*COLUMNS).first()
    if before is None or record is None:
        return ""
    return seal_of(known[link.key_id], before, (link.sequence, link.key_id, link.sealed_at), record)


def _chain(head: Head, records: list[tuple[Any, ...]]) -> Head:
    name, key = next(iter(keys().items()))
    sequence, seal = head
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now = cursor.fetchone()[0]
        columns = "sequence, record_id, key_id, sealed_at, seal"
        statement = f"copy {AuditSeal._meta.db_table} ({columns}) from stdin"
        with connection.wrap_database_errors, cursor.copy(statement) as copy:
            for record in records:
                sequence += 1
                seal = seal_of(key, seal, (sequence, name, now), record)
                copy.write_row((sequence, record[0], name, now, seal))
    return Head(sequence, seal)


def _mark() -> AuditMark:
    return AuditMark.objects.get_or_create(pk=1)[0]


def _move(mark: AuditMark) -> None:
    """Note what need not be looked at again: below it, no transaction can add any more."""
    with connection.cursor() as cursor:
        cursor.execute(NOW, [MARGIN])
        oldest, next_, newest = cursor.fetchone()
    if mark.next_transaction > next_:  # the data came from another server, whose transactions were others
        mark.low_id = 0
    elif oldest >= mark.next_transaction:
        mark.low_id = mark.next_id
    else:
        return
    mark.next_id, mark.next_transaction = newest, next_
    mark.save()


# --- Telling ------------------------------------------------------------------------------------------------
def publish(head: Head, *, moved: bool) -> None:
    """Tell the log, and the file outside the database that the next look at the chain is compared with."""
    if moved:
        logger.info("audit head %s", head, extra={"audit_sequence": head.sequence, "audit_seal": head.seal})
    if settings.AUDIT_HEAD_FILE and head.sequence and kept_head() != head:
        path = Path(settings.AUDIT_HEAD_FILE)
        new = path.with_name(f".{path.name}.new")
        with open(new, "w") as file:
            file.write(f"{head} {datetime.now(UTC).isoformat(timespec='seconds')}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)


def kept_head() -> Head | None:
    """The head that AUDIT_HEAD_FILE holds."""
    path = Path(settings.AUDIT_HEAD_FILE) if settings.AUDIT_HEAD_FILE else None
    if path is None or not path.exists():
        return None
    return next(heads_in(path.read_text()), None)


def heads_in(text: str) -> Iterator[Head]:
    """Every `number:seal` in a text, for example a log."""
    for found in HEAD.finditer(text):
        yield Head(int(found[1]), found[2])
