"""Projects and registered models."""

from http import HTTPStatus

from rest_framework.request import Request

from inference_store.api.authentication import caller_of, user_of
from inference_store.api.operations import Answer, StoreView, operation
from inference_store.contract.enums import TokenScope
from inference_store.contract.inferences import (
    Model,
    ModelList,
    NewProjectRequest,
    NewRegisterModelRequest,
    Project,
    ProjectList,
)
from inference_store.models import Membership, RegisteredModel, Role
from inference_store.models import Project as ProjectRow
from inference_store.services import registration


class Projects(StoreView):
    @operation(
        "list_projects",
        scope=TokenScope.READ,
        gives=ProjectList,
        summary="List projects",
        tag="register",
    )
    def get(self, request: Request) -> Answer:
        """The projects that you may see, and your role in each."""
        user = user_of(request)
        roles = dict(Membership.objects.filter(user=user).values_list("project_id", "role"))
        if user.is_superuser:
            roles = {}
        return ProjectList(
            projects=[
                Project(
                    project_id=project.project_id,
                    name=project.name,
                    role=roles.get(project.project_id, Role.ADMIN.value),
                )
                for project in caller_of(request).within(ProjectRow.objects.visible_to(user))
            ]
        )

    @operation(
        "create_project",
        scope=TokenScope.MANAGE,
        takes=NewProjectRequest,
        gives=Project,
        created=True,
        summary="Create a project",
        refuses=[409],
        tag="register",
    )
    def post(self, request: Request, body: NewProjectRequest) -> Answer:
        """Create a project, whose first admin you become. For staff, or everybody where a setting says so."""
        caller_of(request).require_every_project()
        project = registration.create_project(user=user_of(request), request=body)
        return HTTPStatus.CREATED, Project(
            project_id=project.project_id, name=project.name, role=Role.ADMIN.value
        )


def as_contract(model: RegisteredModel) -> Model:
    return Model(
        model_id=model.model_id,
        created_at=model.created_at,
        updated_at=model.updated_at,
        embedding_size=model.embedding_size,
        project_id=model.project_id,
        task_type=model.task_type,
    )


class Models(StoreView):
    @operation(
        "list_registered_models",
        scope=TokenScope.READ,
        gives=ModelList,
        summary="List models",
        tag="register",
    )
    def get(self, request: Request) -> Answer:
        """The registered models of your projects."""
        models = caller_of(request).within(RegisteredModel.objects.visible_to(user_of(request)))
        return ModelList(models=[as_contract(model) for model in models])

    @operation(
        "register_model_for_inference_storage",
        scope=TokenScope.WRITE,
        takes=NewRegisterModelRequest,
        gives=Model,
        created=True,
        summary="Register a model",
        refuses=[404, 409],
        tag="register",
    )
    def post(self, request: Request, body: NewRegisterModelRequest) -> Answer:
        """Register a model; the same again gives the registered one, with other content 409."""
        caller_of(request).require_project(body.project_id)
        model, created = registration.register_model(user=user_of(request), request=body)
        return (HTTPStatus.CREATED if created else HTTPStatus.OK), as_contract(model)


class OneModel(StoreView):
    @operation(
        "get_registered_model",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=Model,
        summary="Get a model",
        tag="register",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """A registered model."""
        return as_contract(model)
