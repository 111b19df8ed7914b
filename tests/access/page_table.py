"""The pages, route by route."""

from tests.access.expecting import (
    ADMIN,
    EDITOR,
    MOVED,
    OK,
    VIEWER,
    Lines,
    anybody,
    fragment,
    its_own,
    its_owner,
    logged_in,
    page,
    staff_page,
)
from tests.access.world import FRESH, POLICY, PREVIEW, RUNNING_EXPORT, RUNNING_TASK

TICKED = {"id": "i-1", "query": ""}
NEW_POLICY = {
    "maximum_record_age": 90,
    "maximum_record_age_unit": "days",
    "maximum_blob_age": 30,
    "maximum_blob_age_unit": "days",
    "delete_action": "soft",
    "by_hand": "yes",
    "automated_interval": 1,
    "automated_interval_unit": "days",
}
NEW_TOKEN = {"name": "a new one", "scopes": ["read"], "lives": "30"}
WORLD = "bounds=-80,-170,80,170&zoom=1"


def look(*more: int) -> dict:
    """A page of a model that everybody in the project may look at."""
    return {"GET": page(VIEWER, ok=more or OK)}


PAGES: Lines = {
    "healthz": {"GET": anybody()},
    "readyz": {"GET": anybody()},
    "metrics": {"GET": anybody()},  # from this machine
    "dashboard:models": {"GET": logged_in()},
    "dashboard:favicon": {"GET": anybody(ok=MOVED)},
    "dashboard:help": {"GET": anybody()},
    "dashboard:login": {
        "GET": anybody(ok=OK + MOVED),
        "POST": anybody({"username": "nobody", "password": "guess"}, ok=OK + MOVED, changes=False),
    },
    # Without a provider there is nothing.
    "dashboard:oidc_sign_in": {"GET": anybody(ok=(404,))},
    "dashboard:oidc_callback": {"GET": anybody(ok=(404,))},
    "dashboard:logout": {"POST": anybody(ok=MOVED, changes=False)},
    "dashboard:tokens": {"GET": logged_in()},
    "dashboard:new_token": {"GET": logged_in(), "POST": logged_in(NEW_TOKEN)},
    "dashboard:revoke_token": {"POST": its_own(ok=MOVED)},
    "dashboard:projects": {"GET": logged_in()},
    "dashboard:new_project": {
        "GET": staff_page(),
        "POST": staff_page({"project_id": "a-new-one"}, ok=MOVED),
    },
    "dashboard:project": {"GET": page(ADMIN)},
    "dashboard:rename_project": {"POST": page(ADMIN, {"name": "renamed"}, ok=MOVED)},
    "dashboard:add_member": {"POST": page(ADMIN, {"who": "stranger", "role": "viewer"}, ok=MOVED)},
    "dashboard:set_role": {"POST": page(ADMIN, {"role": "editor"}, ok=MOVED)},
    "dashboard:remove_member": {"POST": page(ADMIN, ok=MOVED)},
    "dashboard:inferences": look(),
    "dashboard:count": look(),
    "dashboard:suggestions": {"GET": fragment(VIEWER, query="?field=label&label=k")},
    "dashboard:code": look(),
    "dashboard:paste_vector": {"POST": page(VIEWER, {"numbers": "[1, 0, 0.5]", "query": ""}, ok=MOVED)},
    "dashboard:selection": {
        "POST": (
            page(VIEWER, TICKED | {"action": "export"}, changes=False),
            page(EDITOR, TICKED | {"action": "delete"}, changes=False),
            page(ADMIN, TICKED | {"action": "protect"}, ok=MOVED),
            page(ADMIN, TICKED | {"action": "unprotect"}, ok=MOVED, changes=False),
        )
    },
    "dashboard:delete_selection": {"POST": page(EDITOR, TICKED | {"typed": "1"}, ok=MOVED)},
    "dashboard:saved_views": look() | {"POST": page(VIEWER, {"name": "mine", "query": ""}, ok=MOVED)},
    "dashboard:open_view": look(302),
    "dashboard:rename_view": {"POST": its_owner("admin", {"name": "renamed"}, ok=MOVED)},
    "dashboard:share_view": {"POST": its_owner("admin", ok=MOVED, changes=False)},
    "dashboard:unshare_view": {"POST": its_owner("admin", ok=MOVED)},
    "dashboard:delete_view": {"POST": page(ADMIN, ok=MOVED)},
    "dashboard:inference": look(),
    "dashboard:thumbnail": look(),
    "dashboard:crop": look(),
    "dashboard:excerpt": look(),
    "dashboard:download": look(302),
    "dashboard:neighbours": {"GET": fragment(VIEWER)},
    "dashboard:put_metadata": {"POST": page(EDITOR, {"key": "wind", "type": "int", "value": "3"}, ok=MOVED)},
    "dashboard:delete_metadata": {"POST": page(EDITOR, {"key": "run"}, ok=MOVED)},
    "dashboard:set_protection": {"POST": page(ADMIN, {"is_protected": "yes"}, ok=MOVED)},
    "dashboard:delete_inference": {"POST": page(EDITOR, {"typed": "i-1"}, ok=MOVED)},
    "dashboard:charts": look(),
    "dashboard:chart": {"GET": fragment(VIEWER, query="?chart=time", ok=(*OK, 400))},
    "dashboard:narrow": look(302, 404),
    "dashboard:map_cells": {"GET": fragment(VIEWER, query=f"?{WORLD}")},
    "dashboard:map_circle": look(302),
    "dashboard:exports": look(),
    "dashboard:new_export": look() | {"POST": page(VIEWER, {"format": "csv"}, ok=MOVED)},
    "dashboard:export_progress": {"GET": fragment(VIEWER)},
    "dashboard:stop_export": {"POST": page(EDITOR, ok=MOVED).on(export_id=RUNNING_EXPORT)},
    "dashboard:download_export": look(302),
    "dashboard:model_audit": {"GET": page(ADMIN)},
    "dashboard:project_audit": {"GET": page(ADMIN)},
    "dashboard:download_audit": {"GET": page(ADMIN)},
    "dashboard:retention": look(),
    "dashboard:retention_progress": {"GET": fragment(VIEWER)},
    "dashboard:create_policy": {"POST": page(ADMIN, NEW_POLICY, ok=MOVED).on(model_id=FRESH)},
    "dashboard:delete_policy": {"POST": page(ADMIN, {"typed": "detector"}, ok=MOVED)},
    "dashboard:create_task": {"POST": page(ADMIN, {"kind": "preview", "policy": POLICY}, ok=MOVED)},
    "dashboard:retention_task": look(),
    "dashboard:task_progress": {"GET": fragment(VIEWER)},
    "dashboard:take_preview": {"POST": page(ADMIN, {"typed": "0"}, ok=MOVED).on(task_id=PREVIEW)},
    "dashboard:stop_task": {"POST": page(ADMIN, ok=MOVED).on(task_id=RUNNING_TASK)},
    "dashboard:download_preview": look(),
}
