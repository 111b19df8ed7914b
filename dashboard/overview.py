"""The models one may see, with what they hold."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce

from dashboard.bounded import in_time
from inference_store.models import Inference, Project, RegisteredModel, User

MOST_MODELS = 500


@dataclass(frozen=True)
class ModelRow:
    """A model; `count` is None where counting would have held up the page."""

    model: RegisteredModel
    count: int | None
    last_seen: datetime | None


@dataclass(frozen=True)
class ProjectGroup:
    project: Project
    rows: list[ModelRow]


def _counts(models: list[int]) -> dict[int, int]:
    """Inferences by model. A model's index is read by itself, so that few models cost little."""
    held = Inference.objects.filter(registered_model=OuterRef("pk")).order_by().values("registered_model")
    total = Subquery(held.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
    return dict(
        RegisteredModel.objects.filter(pk__in=models).annotate(n=Coalesce(total, 0)).values_list("pk", "n")
    )


def overview(user: User | AnonymousUser) -> tuple[list[ProjectGroup], bool]:
    """Models by project, and whether there are more than are shown. Three queries, however many."""
    newest = Inference.objects.filter(registered_model=OuterRef("pk")).order_by("-created_at", "-id")
    models: list[Any] = list(
        RegisteredModel.objects.visible_to(user)
        .select_related("project")
        .annotate(last_seen=Subquery(newest.values("created_at")[:1]))
        .order_by("project__name", "project_id", "model_id")[: MOST_MODELS + 1]
    )
    shown = models[:MOST_MODELS]
    counts = in_time(lambda: _counts([model.pk for model in shown]))
    groups: dict[str, ProjectGroup] = {}
    for model in shown:
        group = groups.setdefault(model.project_id, ProjectGroup(model.project, []))
        group.rows.append(ModelRow(model, counts.get(model.pk) if counts else None, model.last_seen))
    return list(groups.values()), len(models) > MOST_MODELS
