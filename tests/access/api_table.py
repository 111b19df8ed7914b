"""The API, route by route. Written by hand: the declarations of the handlers are checked against it."""

from inference_store.contract.enums import TokenScope
from tests.access.expecting import (
    ADMIN,
    EDITOR,
    VIEWER,
    Lines,
    always,
    anybody,
    anybody_known,
    may,
    staff_only,
)
from tests.access.world import AGES, EXPORT, FRESH, POLICY, RUNNING_EXPORT, RUNNING_TASK, UPLOADED
from tests.cast import request_of

NEW_MODEL = {"model_id": "new", "project_id": "birds", "task_type": "Text Embedding"}
METADATA = {"key": "wind", "type": "int", "value": "1"}
FILTERS = {"filters": {}}
READ, WRITE, DELETE, MANAGE = TokenScope.READ, TokenScope.WRITE, TokenScope.DELETE, TokenScope.MANAGE
EXPORT_SCOPE = TokenScope.EXPORT

API: Lines = {
    "api:projects": {"GET": anybody_known(), "POST": staff_only({"project_id": "a-new-one"})},
    "api:models": {"GET": anybody_known(), "POST": may(EDITOR, NEW_MODEL)},
    "api:model": {"GET": may(VIEWER)},
    "api:inferences": {"GET": may(VIEWER), "POST": may(EDITOR, request_of("new"))},
    "api:inference": {"GET": may(VIEWER), "DELETE": may(EDITOR, scope=DELETE)},
    "api:search": {"POST": may(VIEWER, {}, changes=False)},
    "api:count": {"GET": may(VIEWER), "POST": may(VIEWER, {}, changes=False)},
    "api:granular": {"GET": may(VIEWER), "POST": may(VIEWER, {}, changes=False)},
    "api:map-cells": {"POST": may(VIEWER, {}, changes=False)},
    "api:bulk-create": {"POST": may(EDITOR, [request_of("new")])},
    "api:create-from-upload": {
        "POST": may(EDITOR, {"inference_id": "uploaded", "metadata_storage_key": UPLOADED})
    },
    "api:bulk-delete": {"POST": may(EDITOR, FILTERS, DELETE)},
    "api:protection": {"PUT": may(ADMIN, {"is_protected": True}, WRITE, READ)},
    "api:bulk-protection": {"POST": may(ADMIN, FILTERS | {"is_protected": True}, WRITE)},
    "api:metadata": {
        "GET": may(VIEWER),
        "POST": may(EDITOR, METADATA),
        "DELETE": may(EDITOR, query="?key=run"),
    },
    "api:metadata-keys": {"GET": may(VIEWER)},
    "api:metadata-statistics": {"POST": may(VIEWER, {"key": "run", "type": "int"}, changes=False)},
    "api:upload-data": {"POST": may(EDITOR)},
    "api:upload-metadata": {"POST": may(EDITOR)},
    "api:retention-policies": {"POST": may(ADMIN, AGES, DELETE).on(model_id=FRESH)},
    "api:retention-policy": {"GET": may(VIEWER)},
    "api:one-retention-policy": {"DELETE": may(ADMIN, scope=DELETE)},
    "api:retention-tasks": {"POST": may(ADMIN, {"dry_run": True, "retention_policy_id": POLICY}, DELETE)},
    "api:retention-task-search": {"POST": may(VIEWER, {}, changes=False)},
    "api:retention-task": {"GET": may(VIEWER)},
    "api:stop-retention-task": {"POST": may(ADMIN, scope=DELETE).on(task_id=RUNNING_TASK)},
    "api:retention-preview": {"GET": may(VIEWER)},
    "api:retention-preview-lines": {"GET": may(VIEWER)},
    "api:retention-preview-csv": {"GET": may(VIEWER)},
    "api:export-tasks": {"GET": may(VIEWER), "POST": may(VIEWER, {}, EXPORT_SCOPE)},
    "api:export-task": {"GET": may(VIEWER).on(task_id=EXPORT)},
    # The admin began it: an editor may stop it, another viewer may not.
    "api:stop-export-task": {"POST": may(EDITOR, scope=EXPORT_SCOPE).on(task_id=RUNNING_EXPORT)},
    # By signature, whoever calls: tests/access/test_signed.py.
    "api:blob": {"GET": always(403), "PUT": always(403)},
    "api:audit": {"GET": may(ADMIN, scope=MANAGE)},
    "api:audit-record": {"GET": may(ADMIN, scope=MANAGE)},
    "api:audited-inferences": {"GET": may(ADMIN, scope=MANAGE)},
    "api:openapi": {"GET": anybody()},
    "api:docs": {"GET": anybody()},
    "api:unknown": {method: always(404) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")},
}
DECIDED_INSIDE = {("api:models", "POST"), ("api:stop-export-task", "POST")} | {
    (f"api:{name}", "GET") for name in ("audit", "audit-record", "audited-inferences")
}
"""Whose declared role is another, because what decides is in the body, the row or the project."""
