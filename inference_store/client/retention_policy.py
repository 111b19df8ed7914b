"""Retention policies: how long a model's records and blobs are kept."""

from inference_store.client.calls import call, find
from inference_store.contract.base import ResponseModel
from inference_store.contract.jobs import NewRetentionPolicyRequest, RetentionPolicy

__all__ = ["create_retention_policy", "delete_retention_policy", "get_retention_policy"]


def create_retention_policy(model_id: str, request_body: NewRetentionPolicyRequest) -> RetentionPolicy | None:
    """Create a new retention policy for a model; the same again is the same policy.

    Args:
        model_id: The model id.
        request_body: The retention policy to attach to the model.

    Returns:
        The retention policy.

    Raises:
        InferenceStoreError: the store refused, 409 where a different policy stands.
    """
    return call(RetentionPolicy, "POST", "models", model_id, "retention-policies", body=request_body)


def get_retention_policy(model_id: str) -> RetentionPolicy | None:
    """Get the current retention policy for a model.

    Args:
        model_id: The model id.

    Returns:
        The retention policy; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(RetentionPolicy, "GET", "models", model_id, "retention-policy")


def delete_retention_policy(model_id: str, retention_policy_id: str) -> str | None:
    """Delete a retention policy for a model; its tasks stay.

    Args:
        model_id: The model id.
        retention_policy_id: The retention policy id.

    Returns:
        The deleted retention policy id; None where there is none.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    path = ("models", model_id, "retention-policies", retention_policy_id)
    deleted = find(ResponseModel, "DELETE", *path, repeatable=False)
    return None if deleted is None else retention_policy_id
