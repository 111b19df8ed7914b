"""Who may call what, for every route that the URL conf knows (fault 14)."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import URLPattern
from django.utils import timezone

from inference_store.api import urls
from inference_store.models import Export, RegisteredModel, RetentionPolicy, RetentionTask, Token, User
from tests.cast import Cast, request_of

METHODS = ("GET", "POST", "PUT", "DELETE")
CALLERS = ("nobody", "mallory", "carol", "bob", "alice")
READ = (401, 404, 200, 200, 200)
WRITE = (401, 404, 403, 200, 200)
RULE = (401, 404, 403, 403, 200)
OWN = (401, 200, 200, 200, 200)
FILTERS: dict[str, Any] = {"filters": {}}
POLICY, TASK = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
AGES = {"automated_interval": 0, "maximum_record_age": 2, "maximum_blob_age": 1}

# route name -> method -> (expected status of each caller, a good body). What is not named is 405.
MATRIX: dict[str, dict[str, tuple[tuple[int, ...], Any]]] = {
    "projects": {"GET": (OWN, None), "POST": ((401, 403, 403, 403, 403), {"project_id": "p"})},
    "models": {
        "GET": (OWN, None),
        "POST": (
            WRITE,
            {"model_id": "new", "project_id": "birds", "task_type": "Text Embedding"},
        ),
    },
    "model": {"GET": (READ, None)},
    "inferences": {"GET": (READ, None), "POST": (WRITE, request_of("new"))},
    "search": {"POST": (READ, {})},
    "count": {"GET": (READ, None), "POST": (READ, {})},
    "granular": {"GET": (READ, None), "POST": (READ, {})},
    "map-cells": {"POST": (READ, {})},
    "bulk-create": {"POST": (WRITE, [request_of("new")])},
    # Nothing was uploaded, which only somebody who may write is told.
    "create-from-upload": {
        "POST": ((401, 404, 403, 400, 400), {"inference_id": "u", "metadata_storage_key": "k"})
    },
    "bulk-delete": {"POST": (WRITE, FILTERS)},
    "protection": {"PUT": (RULE, {"is_protected": True})},
    "bulk-protection": {"POST": (RULE, FILTERS | {"is_protected": True})},
    "inference": {"GET": (READ, None), "DELETE": (WRITE, None)},
    "metadata": {
        "GET": (READ, None),
        "POST": (WRITE, {"key": "k", "type": "int", "value": "1"}),
        "DELETE": (WRITE, None),
    },
    "metadata-keys": {"GET": (READ, None)},
    "metadata-statistics": {"POST": (READ, {"key": "run", "type": "int"})},
    "upload-data": {"POST": (WRITE, None)},
    "upload-metadata": {"POST": (WRITE, None)},
    "retention-policies": {"POST": (RULE, AGES)},
    "retention-policy": {"GET": (READ, None)},
    "one-retention-policy": {"DELETE": (RULE, None)},
    "retention-tasks": {"POST": (RULE, {"dry_run": True, "retention_policy_id": POLICY})},
    "retention-task-search": {"POST": (READ, {})},
    "retention-task": {"GET": (READ, None)},
    "stop-retention-task": {"POST": (RULE, None)},
    "retention-preview": {"GET": (READ, None)},
    "retention-preview-lines": {"GET": (READ, None)},
    "retention-preview-csv": {"GET": (READ, None)},
    "export-tasks": {"GET": (READ, None), "POST": (READ, {})},
    "export-task": {"GET": (READ, None)},
    # It is alice's: an editor may stop it, another viewer may not.
    "stop-export-task": {"POST": (WRITE, None)},
    # By signature, whoever calls.
    "blob": {"GET": ((403,) * 5, None), "PUT": ((403,) * 5, None)},
    "audit": {"GET": (RULE, None)},
    "audit-record": {"GET": ((401, 404, 403, 403, 404), None)},
    "audited-inferences": {"GET": ((401, 404, 403, 403, 404), None)},
    "openapi": {"GET": ((200,) * 5, None)},
    "docs": {"GET": ((200,) * 5, None)},
    "unknown": dict.fromkeys(METHODS, ((404,) * 5, None)),
}
QUERIES = {("metadata", "DELETE"): "?key=run"}
ROUTES: list[URLPattern] = urls.urlpatterns


def address(route: URLPattern) -> str:
    if route.name == "unknown":
        return "no/such/thing"
    path = str(route.pattern).replace("<id:model_id>", "detector").replace("<id:inference_id>", "i-1")
    path = path.replace("<id:policy_id>", POLICY).replace("<id:task_id>", TASK)
    path = path.replace("<id:project_id>", "birds").replace("<id:record_id>", "0")
    return path.replace("<path:key>", "1/" + "0" * 32)


def make_retention(model: RegisteredModel) -> None:
    """A policy, and a dry run that found nothing."""
    policy, _ = RetentionPolicy.objects.get_or_create(
        registered_model=model, defaults=AGES | {"id": POLICY, "delete_action": "soft"}
    )
    ages = {name: age for name, age in AGES.items() if name.startswith("maximum")}
    limits = dict.fromkeys(("record_limit", "blob_limit", "finished_at"), timezone.now())
    RetentionTask.objects.get_or_create(
        id=TASK,
        registered_model=model,
        defaults={"retention_policy_id": policy.pk, "dry_run": True, "state": "complete"} | ages | limits,
    )


def make_export(model: RegisteredModel, user: User) -> None:
    Export.objects.get_or_create(
        id=TASK, registered_model=model, user=user, defaults={"format": "archive", "request": {}}
    )


def test_every_route_has_its_row() -> None:
    assert {route.name for route in ROUTES} == set(MATRIX)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_matrix(cast: Cast, detector: RegisteredModel, route: URLPattern, method: str) -> None:
    expected, body = MATRIX[route.name].get(method, (None, None))
    path = address(route) + QUERIES.get((route.name, method), "")
    for position, name in enumerate(CALLERS):
        cast.bob.post("models/detector/inferences", request_of("i-1"))
        cast.bob.post("models/detector/inferences/i-1/metadata", {"key": "run", "type": "int", "value": "7"})
        make_retention(detector)
        make_export(detector, cast.users["alice"])
        answer = getattr(cast, name)(method, path, body)
        if expected is None:
            # Nobody learns less than that they must say who they are.
            assert answer.status_code in (405, 401 if name == "nobody" else 405), (name, answer.content)
        else:
            wanted = expected[position]
            allowed = (200, 201) if wanted == 200 else (wanted,)
            assert answer.status_code in allowed, (name, answer.content)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "code", "fields"}
        if answer.status_code == 401:
            assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Bearer ist_%00", "Basic YTpi", "Bearer \xff", "x"])
def test_no_token(cast: Cast, header: str) -> None:
    answer = cast.nobody.get("models", HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_expired_token_and_inactive_user(cast: Cast) -> None:
    Token.objects.filter(user=cast.users["bob"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert cast.bob.get("models").status_code == 401
    cast.users["alice"].is_active = False
    cast.users["alice"].save()
    assert cast.alice.get("models").status_code == 401


def test_a_session_is_no_token(cast: Cast, client: Any) -> None:
    client.force_login(cast.users["alice"])
    assert client.get("/api/inference-store/v1/models").status_code == 401
