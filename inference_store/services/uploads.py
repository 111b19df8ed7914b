"""Uploads: a key is handed out, written once, and claimed by at most one inference."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from inference_store import blobs
from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.models import Blob, RegisteredModel
from inference_store.services import audit


@transaction.atomic
def new_upload(*, model: RegisteredModel, kind: Blob.Kind) -> str:
    """A new storage key of the model."""
    key = Blob.objects.create(key=blobs.new_key(model.pk), registered_model=model, kind=kind).key
    audit.record(AuditAction.UPLOAD_CREATE, model=model, details={"key": key, "kind": kind.value})
    return key


def receive(*, key: str, chunks: Iterable[bytes], limit_bytes: int | None = None) -> None:
    """Write the bytes of a key, once: a second time is 409, a key that was swept 404."""
    _writable(Blob.objects.filter(key=key))
    limit = settings.BLOB_MAXIMUM_BYTES if limit_bytes is None else limit_bytes
    # The bytes arrive before any lock or connection is held: a slow sender holds up nobody.
    with blobs.receive(chunks, limit) as received, transaction.atomic():
        blob = _writable(
            Blob.objects.select_related("registered_model").select_for_update(of=("self",)).filter(key=key)
        )
        received.keep(key)
        _describe(blob, received.description)
        blob.save(update_fields=DESCRIBED)
        details = {"key": key, "size": blob.size}
        audit.record(AuditAction.UPLOAD_WRITE, model=blob.registered_model, details=details)


COLLECTED_AT_ONCE = 100
"""Rows that are locked while the bucket moves their bytes."""
COLLECTORS = 16


def collect(*, model: RegisteredModel, keys: Iterable[str], kind: Blob.Kind = Blob.Kind.DATA) -> None:
    """Take in what clients sent straight to the bucket under these keys; 413 beyond the maximum.

    Before the caller's transaction: it may take a while. Nothing to do where uploads come through us.
    """
    if not blobs.is_direct() or not (wanted := sorted(set(keys))):
        return
    for start in range(0, len(wanted), COLLECTED_AT_ONCE):
        with transaction.atomic():
            # The lock makes one at a time collect a key: its bytes are chosen once.
            found = list(
                Blob.objects.select_for_update()
                .filter(key__in=wanted[start : start + COLLECTED_AT_ONCE], registered_model=model, kind=kind)
                .filter(uploaded_at=None, doomed_at=None)
                .order_by("key")
            )
            if collected := _collect(found):
                audit.record(AuditAction.UPLOAD_WRITE, model=model, details={"keys": collected})


def _collect(rows: list[Blob]) -> list[str]:
    """The keys for which something had arrived."""
    if not rows:
        return []
    limit = settings.BLOB_MAXIMUM_BYTES
    with ThreadPoolExecutor(min(COLLECTORS, len(rows))) as pool:
        described = list(pool.map(lambda row: blobs.collect(row.key, limit), rows))
    for row, description in zip(rows, described, strict=True):
        if description is not None:
            _describe(row, description)
            row.save(update_fields=DESCRIBED)
    return [row.key for row in rows if row.uploaded_at is not None]


DESCRIBED = ["uploaded_at", "size", "media_type", "width", "height"]


def _describe(blob: Blob, described: blobs.Description) -> None:
    blob.uploaded_at = timezone.now()
    blob.size, blob.media_type = described.size, described.media_type
    blob.width, blob.height = described.width, described.height


def _writable(rows: QuerySet[Blob]) -> Blob:
    blob = rows.filter(doomed_at=None).first()
    if blob is None:
        raise Refusal.not_found("This key is not known any more; ask for a new one.")
    if blob.uploaded_at is not None:
        raise Refusal.conflict("This key was written already; ask for a new one.")
    return blob


FIELD_OF_KIND = {Blob.Kind.DATA: "data_storage_key", Blob.Kind.METADATA: "metadata_storage_key"}


def claim(*, model: RegisteredModel, owners: dict[str, int], kind: Blob.Kind = Blob.Kind.DATA) -> None:
    """Give each storage key its inference, within the caller's transaction.

    400 for a key that is another model's or was never uploaded; 409 for one that has an owner.
    """
    if not owners:
        return
    field = FIELD_OF_KIND[kind]
    rows = {
        blob.key: blob
        for blob in Blob.objects.select_for_update()
        .filter(key__in=list(owners), registered_model=model, kind=kind)
        .order_by("key")
    }
    for key, owner in owners.items():
        blob = rows.get(key)
        if blob is None or blob.uploaded_at is None:
            raise Refusal.invalid(field, f"nothing was uploaded for this model under {key[:80]!r}")
        if blob.inference_id is not None or blob.doomed_at is not None:
            raise Refusal.conflict("The storage key belongs to another inference.", {field: "is taken"})
        blob.inference_id = owner
    Blob.objects.bulk_update(rows.values(), ["inference_id"], batch_size=1_000)
