"""Views of a model's inferences that somebody saved under a name."""

from typing import Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference_store.models.access import User
from inference_store.models.registered_model import RegisteredModel

LONGEST_VIEW_NAME = 100
LONGEST_VIEW_QUERY = 8_000


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def visible_to(self, user: User | AnonymousUser) -> "SavedViewQuerySet":
        """Their own and the shared ones, of models that they may see."""
        if user.pk is None:
            return self.none()
        visible = RegisteredModel.objects.visible_to(user).values("pk")
        return self.filter(Q(owner=user.pk) | Q(is_shared=True), registered_model__in=visible)


class SavedView(models.Model):
    """A query string of the explore page, which holds the whole state of that page, under a name.

    Private unless its owner shares it with the project; nobody else ever changes it.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    registered_model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, related_name="saved_views", verbose_name="model"
    )
    name = models.CharField(max_length=LONGEST_VIEW_NAME)
    query = models.TextField(blank=True)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[Any] = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ("name", "created_at", "id")
        constraints = [
            models.UniqueConstraint(fields=["owner", "registered_model", "name"], name="one_view_of_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
