"""Retention policies are made and deleted. Nothing changes one: another policy is another row."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from inference_store.contract.enums import AuditAction, DeleteAction
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewRetentionPolicyRequest
from inference_store.models import RegisteredModel, RetentionPolicy, User
from inference_store.services import audit


@transaction.atomic
def create_policy(
    *, model: RegisteredModel, user: User | AnonymousUser, request: NewRetentionPolicyRequest
) -> tuple[RetentionPolicy, bool]:
    """The model's policy, and whether it is new; the same again is the same, a different one is refused."""
    wanted = {
        "automated_interval": request.automated_interval,
        "maximum_record_age": request.maximum_record_age,
        "maximum_blob_age": request.maximum_blob_age,
        "delete_action": DeleteAction(request.delete_action).value,
    }
    policy: RetentionPolicy
    policy, created = RetentionPolicy.objects.get_or_create(
        registered_model=model, defaults=wanted | {"created_by_id": user.pk}
    )
    if any(getattr(policy, name) != value for name, value in wanted.items()):
        raise Refusal.conflict(
            f"The model has another retention policy, {policy.pk}; delete that one first.",
            {
                name: f"is {getattr(policy, name)} there"
                for name, value in wanted.items()
                if getattr(policy, name) != value
            },
        )
    if created:
        audit.record(AuditAction.POLICY_CREATE, model=model, details={"policy": str(policy.pk)} | wanted)
    return policy, created


@transaction.atomic
def delete_policy(*, model: RegisteredModel, policy_id: str) -> str:
    """Delete the policy; its tasks stay, and a run that is under way ends by the limits it began with."""
    try:
        deleted, _ = RetentionPolicy.objects.filter(registered_model=model, pk=UUID(policy_id)).delete()
    except ValueError:
        deleted = 0
    if not deleted:
        raise no_policy(policy_id)
    audit.record(AuditAction.POLICY_DELETE, model=model, details={"policy": policy_id})
    return policy_id


def no_policy(policy_id: str) -> Refusal:
    return Refusal.not_found(f"The model has no such retention policy: {policy_id[:100]!r}.")
