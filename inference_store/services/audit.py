"""Who did what to which inferences when: one record a request, in the transaction of its write.

A write that rolls back leaves no record, and one whose record can't be written fails.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection
from django.db.utils import ProgrammingError

from inference_store import calling
from inference_store.calling import Calling
from inference_store.contract.enums import AuditAction
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import AuditedInferences, AuditRecord, AuditSeal, RegisteredModel

IDS_IN_A_ROW = 1_000

RECORD = f"""
    with recorded as (
        insert into {AuditRecord._meta.db_table}
               (recorded_at, action, outcome, project_id, model_id, inference_id, inference_count, ids_digest,
                filter, details, actor_id, actor, token, door, address, request_id)
        values (clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        returning id, model_id),
    listed as (
        insert into {AuditedInferences._meta.db_table}
               (record_id, number, model_id, first_id, last_id, ids)
        select id, number, model_id, first_id, last_id, ids
          from recorded, unnest(%s::text[], %s::text[], %s::text[]) with ordinality
                         as part(first_id, last_id, ids, number))
    select id, (select sequence || ':' || seal from {AuditSeal._meta.db_table} order by sequence desc limit 1)
      from recorded
"""  # noqa: S608 # nosec B608


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record that is written, and the chain's head then (`sequence:seal`; empty: nothing is sealed)."""

    record_id: int
    head: str


_receipts: ContextVar[list[Receipt] | None] = ContextVar("receipts", default=None)


@contextmanager
def receipts() -> Iterator[list[Receipt]]:
    """The receipts of what is recorded within the block, for whoever answers with them."""
    given: list[Receipt] = []
    outer = _receipts.set(given)
    try:
        yield given
    finally:
        _receipts.reset(outer)


def canonical(value: Any) -> str:
    """As JSON; nothing for nothing."""
    return dumped(value) if value else ""


def dumped(value: Any) -> str:
    """As JSON, the same bytes for the same value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()


def caller() -> Calling:
    """Who is being served; a process of ours where it is nobody."""
    return calling.current() or Calling(request_id="", door="")


def caller_fields(inference_id: str) -> dict[str, Any]:
    """Who is being served and for which inference, as the statement that stores a few reads it."""
    by = caller()
    return {
        "name": inference_id,
        "actor_id": by.user_id,
        "actor": by.username,
        "token": by.token,
        "door": by.door,
        "address": by.address,
        "request_id": by.request_id,
    }


def record(
    action: AuditAction,
    *,
    model: RegisteredModel | None = None,
    project_id: str = "",
    inference_id: str | None = None,
    inference_ids: Iterable[str] | None = None,
    filters: BaseInferenceFilter | None = None,
    outcome: str = "done",
    details: dict[str, Any] | None = None,
    actor: tuple[int | None, str] | None = None,
) -> Receipt:
    """Write the request's record, within the caller's transaction.

    `actor` (a user's id and name) stands for whom the work is done, where that is not who is being served.
    """
    if not connection.in_atomic_block:
        raise ProgrammingError("An audit record belongs to the transaction of what it records.")
    by = caller()
    user_id, username = actor or (by.user_id, by.username)
    ids = sorted(inference_ids) if inference_ids is not None else []
    if inference_ids is not None and len(ids) == 1:
        inference_id = ids[0]
    parts = [ids[at : at + IDS_IN_A_ROW] for at in range(0, len(ids), IDS_IN_A_ROW)] if len(ids) > 1 else []
    texts = [spelt(part) for part in parts]
    count = len(ids) if inference_ids is not None else int(inference_id is not None)
    if model is not None:
        project_id = model.project_id
    given = [
        *(action.value, outcome, project_id, model.model_id if model else "", inference_id, count),
        digest_of(texts) if texts else "",
        "" if filters is None else dumped(filters.model_dump(mode="json", exclude_none=True)),
        canonical(details),
        *(user_id, username, by.token, by.door, by.address, by.request_id),
        *([part[0] for part in parts], [part[-1] for part in parts], texts),
    ]
    with connection.cursor() as cursor:
        cursor.execute(RECORD, given)
        record_id, head = cursor.fetchone()
    receipt = Receipt(record_id, head or "")
    if (kept := _receipts.get()) is not None:
        kept.append(receipt)
    return receipt


def spelt(ids: Iterable[str]) -> str:
    """The ids as they are kept and digested: each ended by a newline, which no id holds."""
    return "".join(f"{each}\n" for each in ids)


def digest_of(texts: Iterable[str]) -> str:
    """SHA-256 of the ids: what `LC_ALL=C sort ids.txt | sha256sum` says of a file with one a line."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()
