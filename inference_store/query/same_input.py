"""One input seen by several models, by its data hash."""

import math
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Max

from inference_store.models import Entry, Inference, RegisteredModel, User


@dataclass(frozen=True)
class SameInput:
    """An inference about the same input; `labels` are (label, entries, best score), best first."""

    model_id: str
    task_type: str
    inference_id: str
    created_at: datetime
    labels: list[tuple[str, int, float | None]]


def same_input(
    user: User | AnonymousUser, model: RegisteredModel, data_hash: str, most: int
) -> list[SameInput]:
    """Other models' inferences about that input that the user may see, newest first. Two queries."""
    visible = Inference.objects.visible_to(user).exclude(registered_model=model)
    rows = list(
        visible.filter(data_hash=bytes.fromhex(data_hash))
        .order_by("-created_at", "-id")
        .values_list(
            "pk", "registered_model__model_id", "registered_model__task_type", "inference_id", "created_at"
        )[:most]
    )
    labels: dict[int, list[tuple[str, int, float | None]]] = {row[0]: [] for row in rows}
    entries = Entry.objects.filter(inference_id__in=list(labels)).values_list("inference_id", "label")
    for key, label, count, best in entries.annotate(n=Count("position"), best=Max("score")):
        labels[key].append((label, count, best))
    return [SameInput(*row[1:], sorted(labels[row[0]], key=_best_first)) for row in rows]


def _best_first(row: tuple[str, int, float | None]) -> tuple[float, int, str]:
    label, count, best = row
    return -(best if best is not None else -math.inf), -count, label
