"""The store as its users reach it: requests through the whole middleware, jobs by the tasks of workers."""

import json
from datetime import datetime
from itertools import count
from uuid import uuid4

import psycopg
from django.utils import timezone

from inference_store import tasks
from inference_store.models import (
    Blob,
    Membership,
    Project,
    RegisteredModel,
    Role,
    SoftDeletedInference,
    Token,
    User,
)
from inference_store.models.job import hence
from inference_store.services import catalogues, segments, slot_assignment
from inference_store.services.backups import HELD
from inference_store.services.soft_deletion import restore_deleted
from tests.cast import BASE, Caller
from tests.fuzz.machine.contents import CLASSIFICATION, DETECTION
from tests.fuzz.machine.looking import SLOT_COLUMNS, Eye
from tests.fuzz.machine.world import Model, World
from tests.workers import database

_numbers = count(1)


class Surface:
    """Two projects, each with an admin of its own; three models, two of them of one task."""

    def __init__(self):
        self.admins = {}
        for name in ("ada", "ben"):
            user, _ = User.objects.get_or_create(username=name)
            self.admins[name] = user, Caller(Token.objects.issue(user, "machine")[1])
        self.nobody = Caller(None)
        self.backup = None

    def begin(self):
        """New projects and models: what ran before is out of sight, not out of the tables."""
        number, since = next(_numbers), timezone.now()
        self.callers, models, projects = {}, [], []
        for name, tasks_ in (("ada", (DETECTION, CLASSIFICATION)), ("ben", (DETECTION,))):
            user, caller = self.admins[name]
            project = Project.objects.create(project_id=f"{name}-{number}", name=name)
            Membership.objects.create(user=user, project=project, role=Role.ADMIN)
            projects.append(project.project_id)
            for task in tasks_:
                model = Model(
                    f"{name}-{task.split()[0]}-{number}",
                    project.project_id,
                    task,
                    3 if task == DETECTION else 0,
                )
                models.append(model)
                self.callers[model.model_id] = caller
        self.world = World(models)
        for model in models:
            self._register(model)
        rows = RegisteredModel.objects.filter(project_id__in=projects)
        self.rows = {row.model_id: row for row in rows}
        self.eye = Eye({row.model_id: row.pk for row in rows}, projects, since)
        self.eye.check(self.world)

    def _register(self, model):
        body = {name: getattr(model, name) for name in ("model_id", "project_id", "embedding_size")} | {
            "task_type": model.task
        }
        self.ask(model, "POST", f"{BASE}/models", body, wanted=201)
        self.world.record("model.create", model)

    def end(self):
        """Nothing is left that what works on all models would find in the next way."""
        if self.backup is not None:
            self.backup.execute("select pg_advisory_unlock_all()")
        self.expire_archives()
        self.sweep()

    def close(self):
        if self.backup is not None:
            self.backup.close()

    # --- Requests ---------------------------------------------------------------------------------------
    def ask(self, model, method, path, body=None, *, wanted):
        """The answer's JSON; `path` below the model unless it begins with a slash."""
        address = path if path.startswith("/") else f"{BASE}/models/{model.model_id}/{path}"
        answer = self.callers[model.model_id](method, address, body)
        assert answer.status_code == wanted, (
            f"{method} {address}: {answer.status_code}, not {wanted}: " + (answer.content.decode()[:500])
        )
        return json.loads(answer.content)

    def bytes_of(self, url, wanted=200):
        answer = self.nobody.get(_path(url))
        assert answer.status_code == wanted, f"{answer.status_code}, not {wanted}"
        return b"".join(answer.streaming_content) if wanted == 200 else b""

    def put(self, url, content, *, wanted):
        answer = self.nobody.put(_path(url), content, content_type="application/octet-stream")
        assert answer.status_code == wanted, f"PUT: {answer.status_code}, not {wanted}: {answer.content!r}"

    # --- What time does, and what operators do ----------------------------------------------------------
    def let_uploads_age(self, keys):
        Blob.objects.filter(key__in=keys).update(created_at=hence(-25 * 3600))

    def let_soft_rows_age(self, keys):
        SoftDeletedInference.objects.filter(pk__in=keys).update(deleted_at=hence(-31 * 86_400))

    def hold(self):
        """As a backup does; on a connection of its own."""
        if self.backup is None:
            self.backup = psycopg.connect(**database(), autocommit=True)
        self.backup.execute("select pg_advisory_lock(%s)", [HELD])

    def release(self):
        self.backup.execute("select pg_advisory_unlock(%s)", [HELD])

    def index(self, model):
        """Begin what large models have: catalogues, columns for the keys that are searched by, segments."""
        row = self.rows[model.model_id]
        for column in catalogues.ALWAYS:
            catalogues.begin(row, column)
        for key, type_ in (("run", "int"), ("site", "string")):
            slot_assignment.assign(model=row, type_=type_, key=key)
        for column in SLOT_COLUMNS:
            catalogues.begin(row, column)
        segments.build_due(row)

    def work(self, task, pk):
        """What a worker does with a job of that kind."""
        getattr(tasks, task)(str(pk))

    def restore(self, model, ids, task_id):
        told = restore_deleted(model=self.rows[model.model_id], inference_ids=ids, task_id=task_id)
        return told.restored, told.refused

    def purge(self):
        return tasks.purge_deleted()

    def sweep(self):
        return tasks.sweep_blobs()

    def expire_archives(self):
        return tasks.expire_archives()


def _path(url):
    return url.removeprefix("http://testserver")


def unknown():
    return str(uuid4())


def moment(text):
    return datetime.fromisoformat(text)
