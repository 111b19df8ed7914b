"""The models a user may see, with how much they hold, when they inferred it, and what it takes to store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, F, IntegerField, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Cast, Coalesce, Extract, Floor

from inference_store import replica
from inference_store.models import Blob, Catalogue, Inference, RegisteredModel, User

HOUR = 3_600


@replica.of_primary
def visible_models(user: User | AnonymousUser, search: str, part: slice) -> list[Any]:
    """A part of the models by project and id, each with its project and `last_seen`. One query.

    `search` finds them by a part of their id, their project's name or their task, whatever the case.
    """
    newest = Inference.objects.filter(registered_model=OuterRef("pk")).order_by("-created_at", "-id")
    models = RegisteredModel.objects.visible_to(user)
    for word in search.split():
        models = models.filter(
            Q(model_id__icontains=word) | Q(project__name__icontains=word) | Q(task_type__icontains=word)
        )
    return list(
        models.select_related("project")
        .annotate(last_seen=Subquery(newest.values("created_at")[:1]))
        .order_by("project__name", "project_id", "model_id")[part]
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


def volumes(models: list[int], since: datetime, step: timedelta) -> dict[int, dict[datetime, int]]:
    """Inferences by model and step of whole hours, from `since` on, a step's beginning. Two queries.

    From the catalogues, by the hour; where a model has none yet, from its own index.
    """
    hours = step // timedelta(hours=1)
    first = int(since.timestamp()) // HOUR
    exact = Catalogue.objects.filter(
        registered_model__in=models, column="created_at", state=Catalogue.State.EXACT
    )
    counted = exact.filter(counts__bucket__gte=first).values_list(
        "registered_model", (F("counts__bucket") - first) / hours
    )
    rows = list(counted.annotate(n=Sum("counts__count")))
    others = Inference.objects.filter(registered_model__in=models, created_at__gte=since).exclude(
        registered_model__in=exact.values("registered_model")
    )
    seconds = Extract("created_at", "epoch") - first * HOUR
    at = Cast(Floor(seconds / (hours * HOUR)), IntegerField())
    rows += others.annotate(at=at).order_by().values_list("registered_model", "at").annotate(n=Count("pk"))
    found: dict[int, dict[datetime, int]] = {model: {} for model in models}
    for model, place, n in rows:
        if n:
            found[model][datetime.fromtimestamp(first * HOUR, UTC) + place * step] = int(n)
    return found


def stored_bytes(models: list[int]) -> dict[int, int]:
    """Bytes by model that the store keeps for it: inputs, and archives of exports. One query."""
    held = Blob.objects.filter(registered_model__in=models, doomed_at__isnull=True)
    rows = held.order_by().values_list("registered_model").annotate(size=Coalesce(Sum("size"), 0))
    return dict.fromkeys(models, 0) | {model: int(size) for model, size in rows}
