"""The audit log is read: a page of it, one record, the inferences that one is about."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.fields.tuple_lookups import TupleLessThan
from django.db.models.functions import Concat, StrIndex

from inference_store.contract.audit import AuditPage
from inference_store.contract.audit import AuditRecord as Told
from inference_store.contract.errors import Refusal
from inference_store.models import AuditedInferences, AuditRecord, AuditSeal

CURSOR = re.compile(r"([0-9]{1,17})-([0-9]{1,18})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_LISTS = 1_000
"""Records of many inferences that a search for one looks up."""
STREAMED_AT_ONCE = 1_000


def records_of(project_id: str) -> QuerySet[AuditRecord]:
    """A project's records with their numbers, newest first."""
    sealed = AuditSeal.objects.filter(record_id=OuterRef("pk"))
    found = AuditRecord.objects.filter(project_id=project_id)
    return found.annotate(sequence=Subquery(sealed.values("sequence"))).order_by("-recorded_at", "-id")


def lists_with(model_id: str, inference_id: str) -> list[int]:
    """The newest records of many inferences of the model that this one is among."""
    wanted = f"\n{inference_id}\n"
    parts = AuditedInferences.objects.filter(
        model_id=model_id, first_id__lte=inference_id, last_id__gte=inference_id
    )
    held = parts.annotate(place=StrIndex(Concat(Value("\n"), F("ids")), Value(wanted))).filter(place__gt=0)
    return list(held.order_by("-record_id").values_list("record_id", flat=True)[:MOST_LISTS])


def page(records: QuerySet[AuditRecord], *, limit: int, cursor: str = "") -> AuditPage:
    """So many of the records, after the cursor's. One query."""
    if cursor:
        records = records.filter(TupleLessThan((F("recorded_at"), F("id")), _position(cursor)))
    rows = list(records[: limit + 1])
    after = rows[limit - 1] if len(rows) > limit else None
    return AuditPage(
        audit_records=[told(row) for row in rows[:limit]],
        next_cursor=None if after is None else _cursor(after),
    )


def _cursor(row: AuditRecord) -> str:
    return f"{(row.recorded_at - EPOCH) // timedelta(microseconds=1)}-{row.pk}"


def _position(cursor: str) -> tuple[datetime, int]:
    read = CURSOR.fullmatch(cursor)
    if read is None:
        raise Refusal.invalid("cursor", "is none that this store gave")
    return EPOCH + timedelta(microseconds=int(read[1])), int(read[2])


def told(row: AuditRecord) -> Told:
    return Told.model_validate(fields_of(row))


def fields_of(row: AuditRecord) -> dict[str, Any]:
    """The record's fields as the contract names them."""
    held = {field.attname: getattr(row, field.attname) for field in AuditRecord._meta.concrete_fields}
    return held | {
        "model_id": row.model_id or None,
        "ids_digest": row.ids_digest or None,
        "filter": json.loads(row.filter) if row.filter else None,
        "details": json.loads(row.details) if row.details else {},
        "sequence": getattr(row, "sequence", None),
    }


def every(records: QuerySet[AuditRecord]) -> Iterator[Told]:
    """All of them, some at a time."""
    return (told(row) for row in records.iterator(STREAMED_AT_ONCE))


def ids_of(record: AuditRecord) -> Iterator[str]:
    """The ids of the inferences that the record is about, each ended by a newline, many at a time."""
    if record.inference_id is not None:
        yield f"{record.inference_id}\n"
    parts = AuditedInferences.objects.filter(record_id=record.pk).order_by("number")
    yield from parts.values_list("ids", flat=True).iterator(50)
