"""Whether the stored inputs are what their senders said."""

from collections.abc import Iterator
from dataclasses import dataclass

from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.models import Blob, Inference

READ_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An input that is not what its inference says, and how."""

    model_id: str
    inference_id: str
    key: str
    what: str


def verify_blobs() -> Iterator[Mismatch]:
    """Read every claimed input and compare its SHA-256 and size with those the sender gave."""
    keys = Blob.objects.filter(kind=Blob.Kind.DATA, inference_id__isnull=False).order_by("inference_id")
    last = 0
    while rows := list(keys.filter(inference_id__gt=last)[:READ_AT_ONCE]):
        owners = Inference.objects.select_related("registered_model").in_bulk(
            [row.inference_id for row in rows]
        )
        for row in rows:
            last = row.inference_id or last
            if (owner := owners.get(last)) and (what := _mismatch(row, owner)):
                yield Mismatch(owner.registered_model.model_id, owner.inference_id, row.key, what)


def _mismatch(blob: Blob, owner: Inference) -> str | None:
    try:
        found = blobs.sha256(blob.key)
    except Refusal:
        return "is missing"
    if str(owner.data_hash) != found:
        return f"has the SHA-256 {found}, not {owner.data_hash}"
    if owner.data_size != blob.size:
        return f"has {blob.size} bytes, not {owner.data_size}"
    return None
