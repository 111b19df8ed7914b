"""Who plays in the tests: alice administers the project, bob edits, carol views, mallory is a stranger."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from inference_store.models import Membership, Project, RegisteredModel, Role, Token, User

BASE = "/api/inference-store/v1"
HASH = "a" * 64
ROLES = {"alice": Role.ADMIN, "bob": Role.EDITOR, "carol": Role.VIEWER, "mallory": None}


@dataclass
class Caller:
    """Calls the API as somebody; nobody where there is no token."""

    token: str | None
    raises: bool = True

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        **extra: Any,
    ) -> Any:
        client = Client(raise_request_exception=self.raises)
        if self.token:
            extra.setdefault("HTTP_AUTHORIZATION", f"Bearer {self.token}")
        address = path if path.startswith("/") else f"{BASE}/{path}"
        if body is None:
            return client.generic(method, address, **extra)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return client.generic(method, address, body, content_type=content_type, **extra)

    def get(self, path: str, **extra: Any) -> Any:
        return self("GET", path, **extra)

    def post(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self("POST", path, body, **extra)

    def put(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self("PUT", path, body, **extra)

    def delete(self, path: str, **extra: Any) -> Any:
        return self("DELETE", path, **extra)


@dataclass
class Cast:
    alice: Caller
    bob: Caller
    carol: Caller
    mallory: Caller
    nobody: Caller
    users: dict[str, User]


@pytest.fixture
def cast(db: None) -> Cast:
    project = Project.objects.create(project_id="birds", name="Birds")
    other = Project.objects.create(project_id="elsewhere", name="Elsewhere")
    users, callers = {}, {}
    for name, role in ROLES.items():
        users[name] = User.objects.create(username=name)
        Membership.objects.create(
            user=users[name], project=project if role else other, role=role or Role.ADMIN
        )
        callers[name] = Caller(Token.objects.issue(users[name], "tests")[1])
    # Their use is noted, so that what is counted is what a call costs.
    Token.objects.update(last_used_at=timezone.now() + timedelta(days=1))
    return Cast(**callers, nobody=Caller(None), users=users)


@pytest.fixture
def detector(cast: Cast) -> RegisteredModel:
    """A registered object detector with embeddings of three numbers."""
    return RegisteredModel.objects.create(
        model_id="detector", project_id="birds", task_type="Object Detection", embedding_size=3
    )


def request_of(inference_id: str = "i-1", **changes: Any) -> dict[str, Any]:
    """What a client sends to store an inference of the detector."""
    standard = {
        "data_hash": HASH,
        "data_size": 10,
        "task_type": "Object Detection",
        "inference_action": "detect",
        "data_source": "camera",
        "latitude": 47.5,
        "longitude": 9.5,
    } | changes.pop("standard", {})
    extended = changes.pop("extended", [{"key": "run", "type": "int", "value": "7"}])
    box = {"label": "kestrel", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}
    data = {
        "object_detection": [box],
        "embedding": [1.0, 0.0, 0.5],
        "metadata": {"standard_metadata": standard, "extended_metadata": extended},
    } | changes.pop("data", {})
    return {"model_id": "detector", "inference_id": inference_id, "data": data} | changes


def ndjson(requests: list[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in requests)
