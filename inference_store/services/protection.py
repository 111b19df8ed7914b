"""Protection from retention is set and lifted. Once answered, it holds."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from inference_store.contract.enums import AuditAction
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Inference, RegisteredModel
from inference_store.query.matching import matching
from inference_store.services import audit


@transaction.atomic
def set_protection(*, model: RegisteredModel, inference_id: str, is_protected: bool) -> None:
    changed = Inference.objects.filter(registered_model=model, inference_id=inference_id).update(
        is_protected=is_protected, updated_at=timezone.now()
    )
    if not changed:
        raise Refusal.not_found(f"There is no inference {inference_id!r} of this model.")
    audit.record(_action(is_protected), model=model, inference_id=inference_id)


def _action(is_protected: bool) -> AuditAction:
    return AuditAction.INFERENCE_PROTECT if is_protected else AuditAction.INFERENCE_UNPROTECT


def set_protection_by_filter(
    *, model: RegisteredModel, filters: BaseInferenceFilter, is_protected: bool
) -> int:
    """Set or lift it on everything the filter matches; how many rows changed."""
    return _set(model, matching(model, filters), is_protected, filters)


def set_protection_named(*, model: RegisteredModel, inference_ids: list[str], is_protected: bool) -> int:
    """Set or lift it on those of the inferences that there are; how many rows changed."""
    found = Inference.objects.filter(registered_model=model, inference_id__in=inference_ids)
    return _set(model, found, is_protected)


@transaction.atomic
def _set(
    model: RegisteredModel,
    found: QuerySet[Inference],
    is_protected: bool,
    filters: BaseInferenceFilter | None = None,
) -> int:
    # Locked in order of their keys, so that two of these never wait for each other in a circle.
    rows = found.filter(is_protected=not is_protected)
    ids = dict(rows.select_for_update(of=("self",)).order_by("pk").values_list("pk", "inference_id"))
    changed = Inference.objects.filter(pk__in=[*ids]).update(
        is_protected=is_protected, updated_at=timezone.now()
    )
    audit.record(_action(is_protected), model=model, inference_ids=ids.values(), filters=filters)
    return changed
