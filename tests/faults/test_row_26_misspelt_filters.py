"""A misspelt filter is refused in every operation, form and address: it must never become an empty one."""

from typing import Any

import pytest
from django.test import Client

from inference_store.models import (
    AuditRecord,
    Export,
    Inference,
    RegisteredModel,
    RetentionPolicy,
    RetentionTask,
)
from tests.cast import Cast, request_of
from tests.faults.documented import OBJECT, WITH_BODY, spelt, with_value

ONE = "models/detector/inferences"
EVERY_BODY = ["search", "count", "granular", "bulk-delete", "protection", "metadata-statistics", "inferences"]


def kept() -> tuple[int, ...]:
    """What a request that is refused must leave as it is."""
    kinds = (Inference, Export, RetentionPolicy, RetentionTask, RegisteredModel, AuditRecord)
    return (*(kind.objects.count() for kind in kinds), Inference.objects.filter(is_protected=True).count())


def test_in_every_object_of_every_operation(cast: Cast, detector: RegisteredModel) -> None:
    cast.bob.post(ONE, request_of())
    before, wrong, tried = kept(), [], 0
    for operation in WITH_BODY:
        path = operation.address(model_id="detector", inference_id="i-1")
        for each in operation.places:
            if OBJECT not in each.kinds:
                continue
            body = with_value(operation.body, (*each.path, "mispelt"), 1)
            answer = cast.alice(operation.method, path, spelt(body), content_type=operation.content_type)
            fields = answer.json().get("fields", {})
            unknown = [name for name, told in fields.items() if told == "unknown field"]
            if answer.status_code != 400 or not any(
                name.endswith(f"{each.name}.mispelt".lstrip(".")) for name in unknown
            ):
                wrong.append((operation.operation_id, each.name, answer.status_code, answer.content))
            tried += 1
    assert not wrong
    assert kept() == before
    assert tried > 100


@pytest.mark.parametrize("operation", EVERY_BODY)
def test_a_misspelt_field_is_named_and_nothing_happens(
    cast: Cast, detector: RegisteredModel, operation: str
) -> None:
    cast.bob.post(ONE, request_of())
    answer = cast.alice.post(f"models/detector/{operation}", {"filtres": {}})
    assert answer.status_code == 400
    assert answer.json()["fields"]["filtres"] == "unknown field"
    assert Inference.objects.count() == 1


@pytest.mark.parametrize(
    "filters",
    [{"data_sourcefilter": "x"}, {"metadata_filter": [{"keyy": 1}]}, {"time_window_filter": {"from": "x"}}],
)
def test_a_misspelt_filter_deletes_nothing(
    cast: Cast, detector: RegisteredModel, filters: dict[str, Any]
) -> None:
    cast.bob.post(ONE, request_of())
    for operation, body in (("bulk-delete", {}), ("protection", {"is_protected": True})):
        answer = cast.alice.post(f"models/detector/{operation}", body | {"filters": filters})
        assert answer.status_code == 400
    assert cast.alice.post("models/detector/bulk-delete", {}).status_code == 400
    assert Inference.objects.filter(is_protected=False).count() == 1


MISSPELT = [{"data_sourcefilter": "camera"}, {"time_window_filter": {"from": "2026-01-01T00:00:00Z"}}]


@pytest.mark.parametrize("filters", MISSPELT)
def test_nothing_is_exported_or_begun(cast: Cast, detector: RegisteredModel, filters: dict[str, Any]) -> None:
    before = kept()
    assert cast.carol.post("models/detector/export-tasks", {"filters": filters}).status_code == 400
    ages = {"automated_interval": 0, "maximum_record_age": 2, "maximum_blob_age": 1}
    for wrong in ({"maximum_record_agee": 1}, {"filters": filters}, {"delete_action": "sofft"}):
        assert cast.alice.post("models/detector/retention-policies", ages | wrong).status_code == 400
    for wrong in (
        {"dryrun": False},
        {"dry_run": True, "filters": filters},
        {"dry_run": True, "preview": "x"},
    ):
        answer = cast.alice.post("models/detector/retention-tasks", {"retention_policy_id": "x"} | wrong)
        assert answer.status_code == 400
    assert kept() == before


@pytest.fixture
def browser(cast: Cast, detector: RegisteredModel) -> Client:
    cast.bob.post(ONE, request_of())
    client = Client()
    client.force_login(cast.users["alice"])
    return client


QUERIES = ["labell=kestrel", "data_sourcee=camera", "metadata=run:int", "start=yesterday", "circle=1,2"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_page_deletes_and_protects_nothing(browser: Client, query: str) -> None:
    before = kept()
    selected = {"scope": "all", "query": query, "typed": "1"}
    browser.post("/models/detector/selection/delete", selected)
    for action in ("protect", "unprotect", "delete", "export"):
        browser.post("/models/detector/selection", selected | {"action": action})
    browser.post(f"/models/detector/exports/new?{query}", {"format": "csv"})
    assert kept() == before
    # As it is spelt rightly, it does what it says.
    browser.post("/models/detector/selection/delete", selected | {"query": "label=kestrel"})
    assert not Inference.objects.exists()


@pytest.mark.parametrize("query", QUERIES)
def test_a_page_names_it(browser: Client, query: str) -> None:
    for path in ("", "charts/", "exports/new"):
        # Charts lead back to the list, which says what is wrong.
        answer = browser.get(f"/models/detector/{path}?{query}", follow=True)
        assert answer.status_code == 400, path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "models?limit=3"),
        ("GET", "projects?x=1"),
        ("GET", "models/detector?x=1"),
        ("GET", f"{ONE}/i-1?presigned=true"),
        ("DELETE", f"{ONE}/i-1?force=true"),
        ("GET", f"{ONE}?data_sourcee=camera"),
        ("GET", "models/detector/count?labell=x"),
        ("GET", "models/detector/granular?x=1"),
        ("POST", "models/detector/search?limit=3"),
        ("POST", "models/detector/bulk-delete?data_source=x"),
        ("POST", "models/detector/uploads/data?x=1"),
        ("GET", "openapi.json?format=yaml"),
    ],
)
def test_an_unknown_query_parameter_is_named(
    cast: Cast, detector: RegisteredModel, method: str, path: str
) -> None:
    cast.bob.post(ONE, request_of())
    answer = cast.alice(method, path, {"filters": {}} if "bulk" in path else None)
    assert answer.status_code == 400
    assert path.partition("?")[2].partition("=")[0] in answer.json()["fields"]
    assert Inference.objects.count() == 1
