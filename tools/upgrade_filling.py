"""Fill an empty store with something of everything, and write down as JSON what it then holds.

Run by `tools.upgrade_data`, with the code of the release that the data are to be of: so it knows the API,
which is stable, asks the rest whether it is there, and uses nothing of what is beside it.
"""

import base64
import importlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != Path(__file__).resolve().parent]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402

from inference_store.models import Membership, Project, RegisteredModel, Role, Token, User  # noqa: E402

BASE = "/api/inference-store/v1/"
LABELS = ["kestrel", "owl", "heron", "swift", "crane"]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SEARCHED = [("int", "run"), ("float", "quality"), ("string", "site")]
MANAGER = "django.contrib.auth.backends.ModelBackend"

settings.STORAGES = settings.STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
settings.ALLOWED_HOSTS = ["testserver"]


def need(truth: Any, said: Any) -> None:
    if not truth:
        raise SystemExit(f"This is not what was expected: {said}")


class Filling:
    """The store that is filled, and what is told of it."""

    def __init__(self) -> None:
        self.user = User.objects.create_user("alice", is_superuser=True, is_staff=True)
        project = Project.objects.create(project_id="birds", name="Birds")
        Membership.objects.create(user=self.user, project=project, role=Role.ADMIN)
        self.token = Token.objects.issue(self.user, "upgrade")[1]
        for name, task, size in (("detector", "Object Detection", 3), ("sorter", "Image Classification", 0)):
            RegisteredModel.objects.create(
                model_id=name, project=project, task_type=task, embedding_size=size
            )
        self.stored: dict[str, dict[str, Any]] = {}
        self.told: dict[str, Any] = {"token": self.token, "blobs": {}, "has": []}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None where this release has no such address."""
        answer = Client().generic(
            method,
            path if path.startswith("/") else BASE + path,
            "" if body is None else json.dumps(body),
            content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {self.token}",
        )
        if answer.status_code in (404, 405):
            return None
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.content.decode()}")
        return answer.json() if answer.content else {}

    def store(self, model: str, bodies: list[dict[str, Any]]) -> None:
        """The first two alone, the rest at once."""
        for body in bodies[:2]:
            need(self.ask("POST", f"models/{model}/inferences", body), body)
        need(self.ask("POST", f"models/{model}/bulk-create", bodies[2:]), "bulk-create")
        self.stored |= {body["inference_id"]: body for body in bodies}

    def has(self, feature: str) -> None:
        self.told["has"].append(feature)


def metadata_of(number: int) -> list[dict[str, str]]:
    held = {
        "run": ("int", number % 7),
        "quality": ("float", number / 8),
        "site": ("string", f"site {number % 5}"),
    }
    held["weather"] = (
        "json",
        json.dumps({"wind": {"speed": number % 11, "gusts": [number, 0.5]}, "sky": "grey"}),
    )
    return [{"key": key, "type": type_, "value": str(value)} for key, (type_, value) in held.items()]


def body_of(model: str, number: int, lists: str, entry: dict[str, Any], action: str) -> dict[str, Any]:
    standard: dict[str, Any] = {
        "data_hash": f"{number:064x}",
        "data_size": 10 + number,
        "task_type": "Object Detection" if model == "detector" else "Image Classification",
        "inference_action": action,
        "data_source": "gone" if number >= 70 else f"camera-{number % 3}",
    }
    if number % 4:
        standard |= {"latitude": -80 + 2.0 * number, "longitude": -179 + 4.5 * number}
    at = LONG_AGO if model == "sorter" and number < 10 else BEGIN
    return {
        "model_id": model,
        "inference_id": f"{model[0]}-{number:03}",
        "created_at": (at + timedelta(hours=number)).isoformat(),
        "is_protected": number % 10 == 0,
        "data": {
            lists: [
                entry | {"label": LABELS[(number + each) % 5], "score": (number * 13 + each * 29) % 100 / 100}
                for each in range(number % 3 + (lists == "image_classification"))
            ],
            "metadata": {"standard_metadata": standard, "extended_metadata": metadata_of(number)},
        },
    }


def fill_detector(filling: Filling) -> None:
    box = {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
    bodies = [body_of("detector", number, "object_detection", box, "detect") for number in range(80)]
    for number, body in enumerate(bodies):
        body["data"]["embedding"] = [1.0, number / 16 - 2, (number % 9) / 4]
    filling.store("detector", bodies)


def change_detector(filling: Filling) -> None:
    one, at = filling.stored, "models/detector/inferences"
    filling.ask("POST", f"{at}/d-001/metadata", {"key": "seen", "type": "string", "value": "yes, \u00e9"})
    one["d-001"]["data"]["metadata"]["extended_metadata"].append(
        {"key": "seen", "type": "string", "value": "yes, \u00e9"}
    )
    filling.ask("DELETE", f"{at}/d-002/metadata?key=quality")
    one["d-002"]["data"]["metadata"]["extended_metadata"] = [
        each for each in metadata_of(2) if each["key"] != "quality"
    ]
    filling.ask("PUT", f"{at}/d-003/protection", {"is_protected": True})
    one["d-003"]["is_protected"] = True
    filling.ask("DELETE", f"{at}/d-004")
    del one["d-004"]
    gone = filling.ask("POST", "models/detector/bulk-delete", {"filters": {"data_source_filter": "gone"}})
    need(len(gone["inference_ids"]) == 10, gone)
    for name in gone["inference_ids"]:
        del one[name]


def fill_sorter(filling: Filling) -> None:
    bodies = [body_of("sorter", number, "image_classification", {}, "predict") for number in range(30)]
    content = b"an input"
    place = filling.ask("POST", "models/sorter/uploads/data")
    sent = Client().generic("PUT", place["data_presigned_url"].removeprefix("http://testserver"), content)
    need(sent.status_code < 300, sent.content)
    bodies[29]["data_storage_key"] = place["data_storage_key"]
    filling.told["blobs"][place["data_storage_key"]] = base64.b64encode(content).decode()
    filling.store("sorter", bodies)


def run_jobs(filling: Filling) -> None:
    """An export that is complete, and a soft retention that took the oldest nine."""
    task = filling.ask(
        "POST", "models/detector/export-tasks", {"filters": {"data_source_filter": "camera-1"}}
    )
    if task is None:
        return
    importlib.import_module("inference_store.services.exporting").run(task["id"])
    done = filling.ask("GET", f"models/detector/export-tasks/{task['id']}")
    need(done["state"] == "complete", done)
    filling.told["export"] = {"id": task["id"], "count": done["progress_count"]}
    filling.has("exports")
    hours = int((datetime.now(UTC) - datetime(2023, 1, 1, tzinfo=UTC)) / timedelta(hours=1))
    policy = {"automated_interval": 0, "maximum_record_age": hours, "maximum_blob_age": hours}
    policy = filling.ask("POST", "models/sorter/retention-policies", policy | {"delete_action": "soft"})
    begin = {"dry_run": False, "retention_policy_id": policy["id"]}
    task = filling.ask("POST", "models/sorter/retention-tasks", begin)
    importlib.import_module("inference_store.services.retention_runs").run(task["id"])
    done = filling.ask("GET", f"models/sorter/retention-tasks/{task['id']}")
    need(done["state"] == "complete", done)
    taken = [name for name in filling.stored if name.startswith("s-00") and name != "s-000"]
    filling.told["softly_deleted"] = {name: filling.stored.pop(name) for name in taken}
    filling.told["policy"] = policy["id"]
    filling.has("retention")


def keep_catalogues(held: Any) -> None:
    held.FEWEST_ROWS = 1  # as if the model were large
    held.keep_catalogues()


def search(filling: Filling) -> None:
    """Slots, catalogues and vector indexes, where there are some."""
    model = RegisteredModel.objects.get(model_id="detector")
    for feature, module, act in (
        ("slots", "slot_assignment", lambda held: [
            held.assign(model=model, type_=type_, key=key) for type_, key in SEARCHED
        ]),
        ("filled slots", "slot_assignment", lambda held: held.assign_slots()),
        ("catalogues", "catalogues", keep_catalogues),
        ("vector indexes", "vector_indexes", lambda held: held.build_due(at_once=True)),
    ):  # fmt: skip
        try:
            held = importlib.import_module(f"inference_store.services.{module}")
            act(held)
        except (ImportError, AttributeError) as error:
            print(f"without {feature}: {error}")  # noqa: T201
            continue
        filling.has(feature)


def save_view(filling: Filling) -> None:
    client = Client()
    client.force_login(filling.user, MANAGER)
    saved = client.post("/models/detector/views/", {"name": "owls", "query": "label=owl", "is_shared": "yes"})
    if saved.status_code < 400:
        filling.has("views")


def seal(filling: Filling) -> None:
    try:
        sealing = importlib.import_module("inference_store.services.sealing")
    except ImportError:
        return
    filling.told["sealed"] = sealing.seal_records()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "select sequence || ':' || seal from inference_store_auditseal order by sequence desc limit 1"
        )
        filling.told["head"] = cursor.fetchone()[0]
    filling.has("audit")


def main(target: str) -> None:
    filling = Filling()
    fill_detector(filling)
    search(filling)
    change_detector(filling)
    fill_sorter(filling)
    run_jobs(filling)
    save_view(filling)
    seal(filling)
    filling.told["stored"] = filling.stored
    Path(target).write_text(json.dumps(filling.told, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
