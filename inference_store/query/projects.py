"""The projects a user may see, with what one asks of them first."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from inference_store.models import Membership, Project, RegisteredModel, Role, User

MOST_ADMINS = 5
"""Of a project: those whom one may ask."""


@dataclass(frozen=True)
class ProjectRow:
    """A project; `role` is the user's there, `admins` some of those who administer it, by name."""

    project: Project
    role: Role
    models: int
    members: int
    admins: list[str]


def project_rows(user: User | AnonymousUser, part: slice) -> list[ProjectRow]:
    """A part of the projects by name. Three queries, two for a superuser's, however many."""
    projects: list[Any] = list(
        Project.objects.visible_to(user)
        .annotate(
            model_count=_count(RegisteredModel.objects.filter(project=OuterRef("pk"))),
            member_count=_count(Membership.objects.filter(project=OuterRef("pk"))),
        )
        .order_by("name", "project_id")[part]
    )
    keys = [project.pk for project in projects]
    own = dict(Membership.objects.of(user).filter(project__in=keys).values_list("project_id", "role"))
    admins: dict[str, list[str]] = {}
    named = Membership.objects.filter(project__in=keys, role=Role.ADMIN, user__is_active=True)
    for project_id, name in named.order_by("user__username").values_list("project_id", "user__username"):
        admins.setdefault(project_id, []).append(name)
    return [
        ProjectRow(
            project=project,
            role=Role.ADMIN if user.is_superuser else Role(own[project.pk]),
            models=project.model_count,
            members=project.member_count,
            admins=admins.get(project.pk, [])[:MOST_ADMINS],
        )
        for project in projects
        if user.is_superuser or project.pk in own
    ]


def _count(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.order_by().values("project").annotate(n=Count("*")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
