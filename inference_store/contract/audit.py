"""The audit log as it is told."""

from datetime import datetime
from typing import Any

from inference_store.contract.base import ResponseModel


class AuditRecord(ResponseModel):
    """Who did what to which inferences when.

    `inference_id` where it was one; of more `inference_count` says how many, `ids_digest` is SHA-256 of their
    ids (sorted by code point, each ended by a newline), and the list itself has an address of its own.
    `sequence` is the record's number in the chain; null until it is sealed, some seconds later.
    """

    id: int
    recorded_at: datetime
    action: str
    outcome: str
    project_id: str
    model_id: str | None
    inference_id: str | None
    inference_count: int
    ids_digest: str | None
    filter: dict[str, Any] | None
    details: dict[str, Any]
    actor: str
    actor_id: int | None
    token: str
    door: str
    address: str
    request_id: str
    sequence: int | None


class SealedAuditRecord(AuditRecord):
    """A record with its seal, and the chain's head now as `sequence:seal`."""

    seal: str | None
    head: str | None


class AuditPage(ResponseModel):
    """Records, newest first, and where to go on."""

    audit_records: list[AuditRecord]
    next_cursor: str | None
