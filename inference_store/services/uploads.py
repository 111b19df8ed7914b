"""Uploads: a key is handed out, written once, and claimed by at most one inference."""

from collections.abc import Iterable

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
        described = received.description
        blob.uploaded_at = timezone.now()
        blob.size, blob.media_type = described.size, described.media_type
        blob.width, blob.height = described.width, described.height
        blob.save(update_fields=["uploaded_at", "size", "media_type", "width", "height"])
        details = {"key": key, "size": blob.size}
        audit.record(AuditAction.UPLOAD_WRITE, model=blob.registered_model, details=details)


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
