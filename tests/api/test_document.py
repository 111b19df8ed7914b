"""The OpenAPI document and the page that shows it."""

import json
import re
from io import StringIO
from typing import Any

from django.core.management import call_command
from drf_spectacular.validation import validate_schema

from inference_store.api.document import document

BASE = "/api/inference-store/v1"
SDK = {
    "bulk_delete_inferences",
    "count_inferences",
    "create_inference",
    "create_inference_from_upload",
    "create_inferences",
    "create_metadata",
    "create_project",
    "delete_inference",
    "delete_metadata",
    "filter_granular_inferences",
    "filter_inferences",
    "get_inference",
    "get_metadata",
    "get_metadata_key_type_counts",
    "get_metadata_statistics",
    "get_registered_model",
    "list_projects",
    "list_registered_models",
    "map_cells",
    "register_model_for_inference_storage",
    "set_protection",
    "set_protection_by_filter",
    "upload_data",
    "upload_inference_and_metadata",
}


def operations() -> dict[str, Any]:
    paths = json.loads(document())["paths"]
    return {each["operationId"]: each for path in paths.values() for each in path.values()}


def test_the_kept_document_is_current() -> None:
    call_command("openapi", check=True, stdout=StringIO())


def test_it_is_valid_and_served(client: Any) -> None:
    served = client.get(f"{BASE}/openapi.json")
    assert served.content.decode() == document()
    validate_schema(served.json())


def test_operations_are_named_as_in_the_sdk() -> None:
    assert set(operations()) >= SDK


def test_every_reference_leads_somewhere() -> None:
    schemas = json.loads(document())["components"]["schemas"]
    for piece in document().split('"#/components/schemas/')[1:]:
        assert piece.partition('"')[0] in schemas


def test_every_operation_tells_its_refusals() -> None:
    for name, each in operations().items():
        assert {"400", "503"} <= set(each["responses"]), name
        if "{model_id}" in name or each.get("security") == [{"bearer": []}]:
            assert "401" in each["responses"], name
        if "requestBody" in each:
            assert "413" in each["responses"], name


def test_the_page_needs_nothing_from_elsewhere(client: Any) -> None:
    page = client.get(f"{BASE}/docs")
    assert page.status_code == 200
    html = page.content.decode()
    assert "http://" not in html
    assert "https://" not in html
    assert html.count("<script>") == 0
    assert re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(address.startswith("/") for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    policy = page["Content-Security-Policy"]
    assert "script-src" not in policy
    assert "default-src 'self'" in policy
    script = client.get(f"{BASE}/docs?script=")
    assert script["Content-Type"].startswith("application/javascript")
    assert f"{BASE}/openapi.json" in script.content.decode() or "openapi.json" in script.content.decode()
    assert client.get(f"{BASE}/docs?x=1").json()["fields"]
