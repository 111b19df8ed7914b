"""What is behind the routes: a project with something of everything, people, and their credentials."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.utils import timezone

from inference_store.contract.enums import TaskType, TokenScope
from inference_store.models import (
    AuditRecord,
    Blob,
    Export,
    Identity,
    Membership,
    Project,
    RegisteredModel,
    RetentionPolicy,
    RetentionTask,
    Role,
    SavedView,
    Token,
    User,
)
from tests.access.expecting import STRANGER, Who
from tests.cast import request_of
from tests.dashboard.conftest import store_seen
from tests.making import make_model, make_upload

MODEL, FRESH, HIDDEN = "detector", "fresh", "hidden"
POLICY = "00000000-0000-4000-8000-000000000001"
PREVIEW, RUNNING_TASK = "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"
EXPORT, RUNNING_EXPORT = "00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000005"
VIEW = "00000000-0000-4000-8000-000000000006"
AGES = {"automated_interval": 0, "maximum_record_age": 2, "maximum_blob_age": 1}
UPLOADED = "<a key that was uploaded>"
"""In a body: stands for what only the world knows (see `World.filled`)."""

MEMBERS = {"viewer": Role.VIEWER, "editor": Role.EDITOR, "admin": Role.ADMIN, "staff admin": Role.ADMIN}
PEOPLE = [
    Who("nobody", None),
    Who("stranger", STRANGER),
    Who("viewer", 0),
    Who("editor", 1),
    Who("admin", 2),
    Who("staff", STRANGER, is_staff=True),
    Who("staff admin", 2, is_staff=True),
    Who("superuser", 2, is_staff=True, is_superuser=True),
    Who("disabled", None),
]
READ_ONLY, NO_DELETE = frozenset({TokenScope.READ}), frozenset(TokenScope) - {TokenScope.DELETE}
TOKENS = [
    Who("expired", None),
    Who("revoked", None),
    # Of the admin, who could do everything with a better one.
    Who("read only", 2, scopes=READ_ONLY),
    Who("no delete", 2, scopes=NO_DELETE),
    Who("export only", 2, scopes=frozenset({TokenScope.EXPORT})),
    Who("token of another project", STRANGER, is_everywhere=False),
    Who("superuser's of the project", 2, is_staff=True, is_superuser=True, is_everywhere=False),
]


@dataclass
class World:
    people: dict[str, User] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    browsers: dict[str, Client] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    """What a pattern's arguments or a body's placeholders stand for."""

    def browser(self, who: Who) -> Client:
        """With the person's session, where they have one."""
        return self.browsers.get(who.name) or Client()

    def bearer(self, who: Who) -> dict[str, str]:
        secret = self.secrets.get(who.name)
        return {"HTTP_AUTHORIZATION": f"Bearer {secret}"} if secret else {}

    def filled(self, body: Any) -> Any:
        """The body with what stands for a key or an id put in its place."""
        if isinstance(body, dict):
            return {name: self.filled(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self.filled(each) for each in body]
        return self.keys.get(body, body) if isinstance(body, str) else body


def make_world() -> World:
    world = World()
    projects = {name: Project.objects.create(project_id=name, name=name) for name in ("birds", "elsewhere")}
    for who in PEOPLE:
        if who.name == "nobody":
            continue
        user = User.objects.create(
            username=who.name, is_staff=who.is_staff, is_superuser=who.is_superuser, email="x@example.org"
        )
        world.people[who.name] = user
        world.secrets[who.name] = Token.objects.issue(user, "tests")[1]
        # Whoever is no member here is one elsewhere, with every right there.
        role = MEMBERS.get(who.name)
        Membership.objects.create(
            user=user, project=projects["birds" if role else "elsewhere"], role=role or Role.ADMIN
        )
        world.browsers[who.name] = Client()
        world.browsers[who.name].force_login(user)
    Membership.objects.create(user=world.people["disabled"], project=projects["birds"], role=Role.ADMIN)
    User.objects.filter(username="disabled").update(is_active=False)
    _more_tokens(world)
    _things(world, projects)
    return world


def _more_tokens(world: World) -> None:
    """Tokens that are less than their users."""
    admin = world.people["admin"]
    # The database tells it by when the transaction of the test began.
    past = timezone.now() - timedelta(hours=1)
    expired, world.secrets["expired"] = Token.objects.issue(admin, "expired")
    Token.objects.filter(pk=expired.pk).update(expires_at=past)
    revoked, world.secrets["revoked"] = Token.objects.issue(admin, "revoked")
    revoked.delete()
    for who in TOKENS:
        if who.is_everywhere and who.rank is not None:
            scopes = [each.value for each in who.scopes]
            world.secrets[who.name] = Token.objects.issue(admin, who.name, scopes=scopes)[1]
    root, projects = world.people["superuser"], {each.pk: each for each in Project.objects.all()}
    for name, project in (("token of another project", "elsewhere"), ("superuser's of the project", "birds")):
        world.secrets[name] = Token.objects.issue(root, name, project=projects[project])[1]
    # That they are used is no change, however long it takes.
    Token.objects.update(last_used_at=timezone.now() + timedelta(days=1))


def _things(world: World, projects: dict[str, Project]) -> None:
    """One of everything in `birds`, and a model elsewhere."""
    detector = make_model(MODEL, task=TaskType.OBJECT_DETECTION, embedding_size=3, project=projects["birds"])
    fresh = make_model(FRESH, task=TaskType.OBJECT_DETECTION, project=projects["birds"])
    make_model(HIDDEN, project=projects["elsewhere"])
    store_seen(
        detector,
        "i-1",
        embedding=[1.0, 0.0, 0.5],
        metadata=[("run", "int", "7")],
        place=(47.5, 9.5),
    )
    encoded = json.dumps(request_of("uploaded")["data"]).encode()
    key = make_upload(detector, encoded, Blob.Kind.METADATA)
    _jobs(detector, world.people["admin"])
    view = SavedView.objects.create(
        id=VIEW, owner=world.people["admin"], registered_model=detector, name="a view", is_shared=True
    )
    record = AuditRecord.objects.create(
        project_id="birds", model_id=MODEL, action="inference.delete", inference_id="i-0", inference_count=1
    )
    attempt = AccessAttempt.objects.create(
        username="admin", ip_address="203.0.113.9", path_info="/login/", failures_since_start=5
    )
    identity = Identity.objects.create(
        user=world.people["viewer"], issuer="https://id.example.org", subject="viewer"
    )
    types = ContentType.objects.get_for_models(User, RegisteredModel)
    world.keys = {
        UPLOADED: key,
        "model_id": MODEL,
        "inference_id": "i-1",
        "policy_id": POLICY,
        "task_id": PREVIEW,
        "export_id": EXPORT,
        "view_id": UUID(str(view.pk)),
        "position": 0,
        "kind": "csv",
        "key": f"{detector.pk}/{'0' * 32}",
        "record_id": record.pk,
        "auditrecord": record.pk,
        "accessattempt": attempt.pk,
        "identity": identity.pk,
        "app_label": "inference_store",
        "content_type_id": types[User].pk,
        "url": "no/such/page",
        "project": "birds",
        "project_id": "birds",
        "user_id": world.people["viewer"].pk,
        "token_id": Token.objects.get(user=world.people["admin"], name="tests").pk,
        "registeredmodel": detector.pk,
        "<fresh>": fresh.pk,
        "user": world.people["viewer"].pk,
        "token": Token.objects.get(user=world.people["staff admin"]).pk,
    }


def _jobs(model: RegisteredModel, user: User) -> None:
    policy = RetentionPolicy.objects.create(id=POLICY, registered_model=model, delete_action="soft", **AGES)
    ages = {name: age for name, age in AGES.items() if name.startswith("maximum")}
    limits = dict.fromkeys(("record_limit", "blob_limit"), timezone.now())
    shared = {"registered_model": model, "user": user, "started_by": user.username}
    of_policy = shared | ages | limits | {"retention_policy_id": policy.pk, "dry_run": True}
    RetentionTask.objects.create(
        id=PREVIEW, state="complete", is_counted=True, finished_at=timezone.now(), **of_policy
    )
    RetentionTask.objects.create(id=RUNNING_TASK, state="running", **of_policy)
    archive = make_upload(model, b"an archive", Blob.Kind.ARCHIVE)
    Export.objects.create(
        id=EXPORT,
        state="complete",
        format="archive",
        request={},
        archive_key=archive,
        size=10,
        finished_at=timezone.now(),
        expires_at=timezone.now() + timedelta(days=1),
        **shared,
    )
    Export.objects.create(id=RUNNING_EXPORT, state="running", format="archive", request={}, **shared)


# --- Whether anything was changed ---------------------------------------------------------------------------
NOT_OURS = {"django_session", "django_migrations"}


def digest() -> dict[str, tuple[int, int]]:
    """Of every table: how many rows it has, and a sum over what they hold. Of the blobs: their names."""
    tables = sorted(set(connection.introspection.table_names()) - NOT_OURS)
    selects = [
        f"select '{table}', count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text from \"{table}\" t"
        for table in tables
    ]
    with connection.cursor() as cursor:
        cursor.execute(" union all ".join(selects))
        found = {name: (count, total) for name, count, total in cursor.fetchall()}
    files = sorted(str(path) for path in Path(settings.BLOB_ROOT).rglob("*") if path.is_file())
    return found | {"files": (len(files), hash(tuple(files)))}
