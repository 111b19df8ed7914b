"""The models one may see, with what they hold."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AnonymousUser

from dashboard.bounded import in_time
from inference_store.models import Project, RegisteredModel, User
from inference_store.query.volumes import inference_counts, visible_models

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


def overview(user: User | AnonymousUser) -> tuple[list[ProjectGroup], bool]:
    """Models by project, and whether there are more than are shown. Three queries, however many."""
    models = visible_models(user, MOST_MODELS + 1)
    shown = models[:MOST_MODELS]
    counts = in_time(lambda: inference_counts([model.pk for model in shown]))
    groups: dict[str, ProjectGroup] = {}
    for model in shown:
        group = groups.setdefault(model.project_id, ProjectGroup(model.project, []))
        group.rows.append(ModelRow(model, counts.get(model.pk) if counts else None, model.last_seen))
    return list(groups.values()), len(models) > MOST_MODELS
