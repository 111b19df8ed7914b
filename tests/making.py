"""What tests need to exist: plain functions with sensible defaults."""

from datetime import UTC, datetime
from itertools import count

from inference_store.contract.enums import ACTIONS_OF_TASK, TaskType
from inference_store.contract.inferences import LIST_OF_TASK, NewInferenceStorageRequest
from inference_store.models import Blob, Membership, Project, RegisteredModel, Role, User
from inference_store.services import ingest, uploads

HASH = "ab" * 32
LONG_AGO = datetime(2026, 1, 1, 12, tzinfo=UTC)
_numbers = count(1)


def make_user(username=None, **fields):
    return User.objects.create_user(username or f"user-{next(_numbers)}", password="a secret", **fields)


def make_project(project_id=None, **members):
    """A project; members by role: `make_project(editor=alice)`."""
    project_id = project_id or f"project-{next(_numbers)}"
    project = Project.objects.create(project_id=project_id, name=project_id)
    for role, user in members.items():
        Membership.objects.create(user=user, project=project, role=Role(role))
    return project


def make_model(model_id=None, *, task=TaskType.IMAGE_CLASSIFICATION, embedding_size=0, project=None):
    return RegisteredModel.objects.create(
        model_id=model_id or f"model-{next(_numbers)}",
        project=project or make_project(),
        task_type=task.value,
        embedding_size=embedding_size,
    )


def make_request(
    model,
    inference_id=None,
    *,
    action=None,
    entries=None,
    metadata=(),
    place=None,
    source=None,
    data_hash=HASH,
    size=10,
    embedding=None,
    inference=None,
    created_at=None,
    key=None,
    protected=False,
):
    """A request to store an inference; `entries` become the list of the model's task.

    `metadata`: (key, type, value) each; `place`: (latitude, longitude).
    """
    task = TaskType(model.task_type)
    latitude, longitude = place or (None, None)
    data = {
        "embedding": embedding,
        "inference": inference,
        "metadata": {
            "standard_metadata": {
                "data_hash": data_hash,
                "data_size": size,
                "task_type": task,
                "inference_action": action or min(ACTIONS_OF_TASK[task]),
                "data_source": source,
                "latitude": latitude,
                "longitude": longitude,
            },
            "extended_metadata": [
                {"key": name, "type": type_, "value": value} for name, type_, value in metadata
            ],
        },
    }
    if entries is not None:
        data[LIST_OF_TASK[task]] = entries
    return NewInferenceStorageRequest.model_validate(
        {
            "model_id": model.model_id,
            "inference_id": inference_id or f"inference-{next(_numbers)}",
            "data": data,
            "data_storage_key": key,
            "is_protected": protected,
            "created_at": created_at,
        }
    )


def store(model, *requests):
    """Store them; their ids."""
    return ingest.store_inferences(model=model, requests=list(requests)).inference_ids


def make_upload(model, content=b"the input", kind=Blob.Kind.DATA):
    """A key under which the bytes were uploaded."""
    key = uploads.new_upload(model=model, kind=kind)
    uploads.receive(key=key, chunks=[content])
    return key
