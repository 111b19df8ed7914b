"""Models that store their inferences here."""

from typing import Any, ClassVar

from django.contrib.auth.models import AnonymousUser
from django.db import models

from inference_store.contract.enums import TaskType
from inference_store.models.access import Membership, Project, Role, User


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, user: User | AnonymousUser, role: Role = Role.VIEWER) -> "RegisteredModelQuerySet":
        """Models in projects where the user has at least that role; all for a superuser."""
        if user.is_superuser:
            return self
        roles = Membership.objects.of(user).filter(role__in=Role.at_least(role))
        return self.filter(project__in=roles.values("project"))


class RegisteredModel(models.Model):
    """A model in production, of one project. `model_id` is its name on the wire, unique in the store."""

    id = models.AutoField(primary_key=True)
    model_id = models.CharField(max_length=255, unique=True, db_collation="C")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="models")
    task_type = models.CharField(max_length=40, choices=[(task.value, task.value) for task in TaskType])
    embedding_size = models.PositiveIntegerField(
        default=0, help_text="Numbers in each embedding; 0: the model has none."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[Any] = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering = ("model_id",)

    def __str__(self) -> str:
        return self.model_id
