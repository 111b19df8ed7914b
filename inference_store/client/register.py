"""Models that may store inferences, and the projects they belong to."""

from inference_store.client.calls import call, find
from inference_store.contract.inferences import (
    Model,
    ModelList,
    NewProjectRequest,
    NewRegisterModelRequest,
    Project,
    ProjectList,
)

__all__ = [
    "create_project",
    "get_registered_model",
    "list_projects",
    "list_registered_models",
    "register_model_for_inference_storage",
]


def register_model_for_inference_storage(request_body: NewRegisterModelRequest) -> str | None:
    """Register a model for inference storage; again with the same content it is the same model.

    Args:
        request_body: The model to register.

    Returns:
        The model id.

    Raises:
        InferenceStoreError: the store refused, 409 where the model stands with other content.
    """
    return call(Model, "POST", "models", body=request_body).model_id


def get_registered_model(model_id: str) -> Model | None:
    """Get details about a model registered for inference storage.

    Args:
        model_id: The model id.

    Returns:
        The model; None where there is none that one may see.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return find(Model, "GET", "models", model_id)


def list_registered_models() -> list[Model]:
    """Get the registered models that one may see.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(ModelList, "GET", "models").models


def create_project(project_id: str, name: str | None = None) -> Project:
    """Create a project, whose creator becomes its admin.

    Args:
        project_id: The project id.
        name: What people read.

    Returns:
        The project.

    Raises:
        InferenceStoreError: the store refused; only staff create projects.
    """
    request_body = NewProjectRequest(project_id=project_id, name=name)
    return call(Project, "POST", "projects", body=request_body, repeatable=False)


def list_projects() -> list[Project]:
    """Get the projects that one may see, with one's role in each.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
    """
    return call(ProjectList, "GET", "projects").projects
