"""Protection from retention is set and lifted. Once answered, it holds."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Inference, RegisteredModel
from inference_store.query.matching import matching


def set_protection(*, model: RegisteredModel, inference_id: str, is_protected: bool) -> None:
    changed = Inference.objects.filter(registered_model=model, inference_id=inference_id).update(
        is_protected=is_protected, updated_at=timezone.now()
    )
    if not changed:
        raise Refusal.not_found(f"There is no inference {inference_id!r} of this model.")


def set_protection_by_filter(
    *, model: RegisteredModel, filters: BaseInferenceFilter, is_protected: bool
) -> int:
    """Set or lift it on everything the filter matches; how many rows changed."""
    return _set(matching(model, filters), is_protected)


def set_protection_named(*, model: RegisteredModel, inference_ids: list[str], is_protected: bool) -> int:
    """Set or lift it on those of the inferences that there are; how many rows changed."""
    found = Inference.objects.filter(registered_model=model, inference_id__in=inference_ids)
    return _set(found, is_protected)


@transaction.atomic
def _set(found: QuerySet[Inference], is_protected: bool) -> int:
    # Locked in order of their keys, so that two of these never wait for each other in a circle.
    rows = found.filter(is_protected=not is_protected)
    keys = list(rows.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    return Inference.objects.filter(pk__in=keys).update(is_protected=is_protected, updated_at=timezone.now())
