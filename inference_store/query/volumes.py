"""The models a user may see, with how much they hold and when they last inferred."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce

from inference_store.models import Catalogue, Inference, RegisteredModel, User


def visible_models(user: User | AnonymousUser, most: int) -> list[Any]:
    """The first models by project and id, each with its project and `last_seen`. One query."""
    newest = Inference.objects.filter(registered_model=OuterRef("pk")).order_by("-created_at", "-id")
    return list(
        RegisteredModel.objects.visible_to(user)
        .select_related("project")
        .annotate(last_seen=Subquery(newest.values("created_at")[:1]))
        .order_by("project__name", "project_id", "model_id")[:most]
    )


def last_seen(model: RegisteredModel) -> datetime | None:
    """When the newest of its inferences was made. One query."""
    newest = Inference.objects.filter(registered_model=model).order_by("-created_at", "-id")
    return newest.values_list("created_at", flat=True).first()


def inference_counts(models: list[int]) -> dict[int, int]:
    """Inferences by model: from the catalogues, or by reading a model's own index, one by one."""
    kept = Catalogue.objects.totals(models, "created_at")
    held = Inference.objects.filter(registered_model=OuterRef("pk")).order_by().values("registered_model")
    total = Subquery(held.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
    return (
        dict(
            RegisteredModel.objects.filter(pk__in=set(models) - set(kept))
            .annotate(n=Coalesce(total, 0))
            .values_list("pk", "n")
        )
        | kept
    )
