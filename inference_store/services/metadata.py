"""Metadata of a stored inference is added, replaced and deleted."""

from django.db import transaction
from django.utils import timezone

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.metadata import Metadata, NewExtendedMetadataRequest
from inference_store.models import Inference, RegisteredModel
from inference_store.services import audit
from inference_store.services.slots import FilledSlots


def _locked(model: RegisteredModel, inference_id: str) -> Inference:
    row: Inference | None = (
        Inference.objects.select_for_update()
        .filter(registered_model=model, inference_id=inference_id)
        .only("id", "metadata")
        .first()
    )
    if row is None:
        raise Refusal.not_found(f"There is no inference {inference_id!r} of this model.")
    return row


def _save(row: Inference, slots: FilledSlots) -> None:
    row.metadata = {type_: held for type_, held in row.metadata.items() if held}
    row.updated_at = timezone.now()
    for column, value in zip(slots.columns, slots.values(row.metadata), strict=True):
        setattr(row, column, value)
    row.save(update_fields=["metadata", "updated_at", *slots.columns])
    slots.finish()


@transaction.atomic
def put_metadata(
    *, model: RegisteredModel, inference_id: str, request: NewExtendedMetadataRequest
) -> Metadata:
    """Attach a value; a key that is held already, under whatever type, is replaced."""
    slots, row = FilledSlots(model), _locked(model, inference_id)
    for held in row.metadata.values():
        held.pop(request.key, None)
    row.metadata.setdefault(str(request.type), {})[request.key] = request.parsed()
    _save(row, slots)
    audit.record(
        AuditAction.METADATA_SET,
        model=model,
        inference_id=inference_id,
        details={"key": request.key, "type": str(request.type)},
    )
    return Metadata(key=request.key, type=str(request.type), value=request.value)


@transaction.atomic
def delete_metadata(*, model: RegisteredModel, inference_id: str, key: str) -> str:
    """Delete a key's value; 404 where it is not held."""
    slots, row = FilledSlots(model), _locked(model, inference_id)
    if not any(key in held for held in row.metadata.values()):
        raise Refusal.not_found(f"Inference {inference_id!r} holds no metadata {key[:80]!r}.")
    for held in row.metadata.values():
        held.pop(key, None)
    _save(row, slots)
    audit.record(AuditAction.METADATA_DELETE, model=model, inference_id=inference_id, details={"key": key})
    return key
