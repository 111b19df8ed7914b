"""The audit log's pages, and that each form of the pages that writes leaves one record."""

import csv
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dashboard.urls import urlpatterns
from inference_store.models import AuditRecord, Membership, Role, SavedView
from inference_store.services import ingest
from tests.dashboard.conftest import store_seen
from tests.making import make_model, make_request, make_user

RECORDED = {
    "login",
    "logout",
    "oidc_callback",
    "saved_views",
    *("rename_view", "share_view", "unshare_view", "delete_view"),
    *("put_metadata", "delete_metadata", "set_protection", "delete_inference"),
    *("selection", "delete_selection"),
    *("new_export", "stop_export", "download_export"),
    *("new_token", "revoke_token"),
    *("new_project", "rename_project", "add_member", "set_role", "remove_member"),
    *("create_policy", "delete_policy", "create_task", "take_preview", "stop_task"),
}
"""Pages that write, and so record: here, or by the services' own tests."""
READS = {
    *("models", "favicon", "help", "inferences", "count", "suggestions", "code", "open_view", "inference"),
    *("thumbnail", "crop", "excerpt", "download", "neighbours", "charts", "chart", "narrow", "map_cells"),
    "map_circle",
    *("exports", "export_progress", "retention", "retention_progress", "retention_task", "task_progress"),
    *("tokens", "projects", "project"),
    "oidc_sign_in",  # leads to the provider, whose answer is a login
    *("download_preview", "model_audit", "project_audit", "download_audit"),
    "paste_vector",  # keeps a query, which is nobody's data, for its link
}


def test_every_page_is_said_to_record_or_not():
    named = {pattern.name for pattern in urlpatterns}
    assert named == RECORDED | READS
    assert not RECORDED & READS


@pytest.fixture
def admin(client, detector, carol):
    Membership.objects.filter(user=carol).update(role=Role.ADMIN)
    client.force_login(carol)
    store_seen(detector, "one")
    return client


def recorded(act):
    before = AuditRecord.objects.count()
    response = act()
    assert response.status_code == 302, response.content
    return list(AuditRecord.objects.order_by("id").values_list("action", flat=True)[before:])


POLICY = {
    "maximum_record_age": "2",
    "maximum_record_age_unit": "days",
    "maximum_blob_age": "1",
    "maximum_blob_age_unit": "days",
    "delete_action": "soft",
    "by_hand": "yes",
    "automated_interval": "1",
    "automated_interval_unit": "days",
}
ONE = "/models/detector/inferences/one/"
FORMS = [
    (f"{ONE}metadata", {"key": "k", "type": "int", "value": "1"}, "metadata.set"),
    (f"{ONE}metadata/delete", {"key": "k"}, "metadata.delete"),
    (f"{ONE}protection", {"is_protected": "yes"}, "inference.protect"),
    ("/models/detector/selection", {"action": "unprotect", "id": "one"}, "inference.unprotect"),
    ("/models/detector/views/", {"name": "mine", "query": ""}, "view.save"),
    ("/models/detector/exports/new", {"format": "jsonl"}, "export.create"),
    ("/models/detector/retention/policies", POLICY, "retention_policy.create"),
    (f"{ONE}delete", {"typed": "one"}, "inference.delete"),
]


def test_each_form_leaves_one_record(admin):
    for path, data, action in FORMS:
        assert recorded(lambda path=path, data=data: admin.post(path, data)) == [action], path
    view = SavedView.objects.get()
    for change, data in (("rename", {"name": "new"}), ("share", {}), ("unshare", {}), ("delete", {})):
        wanted = "view.delete" if change == "delete" else "view.change"
        path = reverse(f"dashboard:{change}_view", args=[view.pk])
        assert recorded(lambda path=path, data=data: admin.post(path, data)) == [wanted]


def test_what_is_refused_leaves_none(client, detector, carol):
    store_seen(detector, "one")
    client.force_login(carol)
    before = AuditRecord.objects.count()
    for path, data, _ in FORMS:
        if "views" not in path and "exports" not in path:
            assert client.post(path, data).status_code in (302, 403, 404)
    assert AuditRecord.objects.count() == before


@pytest.mark.parametrize("path", ["/models/detector/audit/", "/projects/{project}/audit/"])
def test_the_pages_are_for_admins(client, detector, carol, path):
    path = path.format(project=detector.project_id)
    assert client.get(path)["Location"].startswith("/login/?next=")
    client.force_login(make_user("mallory"))
    assert client.get(path).status_code == 404
    client.force_login(carol)
    assert client.get(path).status_code == 403
    assert client.get(f"/projects/{detector.project_id}/audit/records.csv").status_code == 403
    Membership.objects.filter(user=carol).update(role=Role.ADMIN)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "unsafe" not in answer["Content-Security-Policy"]


def test_a_page_shows_what_was_done_and_narrows(admin, detector):
    admin.post(f"{ONE}protection", {"is_protected": "yes"})
    text = admin.get("/models/detector/audit/").content.decode()
    assert "inference.create</th>" in text
    assert "inference.protect</th>" in text
    text = admin.get("/models/detector/audit/?inference_id=one&action=inference.protect").content.decode()
    assert "inference.create</th>" not in text
    assert "inference.protect</th>" in text
    assert admin.get("/models/detector/audit/?since=x").status_code == 400
    assert admin.get("/models/detector/audit/?cursor=x").status_code == 404
    assert "audit/?inference_id=one" in admin.get(ONE).content.decode()


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_utc_does_not_have(admin, detector, moment):
    project = f"/projects/{detector.project_id}/audit/"
    for name in ("since", "until"):
        for path in ("/models/detector/audit/", project):
            page = admin.get(f"{path}?{name}={moment}")
            assert page.status_code == 400
            assert b"between the years 1 and 9999" in page.content
        for kind in ("csv", "jsonl"):
            assert admin.get(f"{project}records.{kind}?{name}={moment}").status_code == 404


def test_another_projects_records_are_not_there(admin, detector):
    other = make_model("other")
    ingest.store_inference(model=other, request=make_request(other, "secret-id"))
    path = f"/projects/{detector.project_id}/audit/"
    shown = admin.get(f"{path}?model_id=other").content
    assert b"Nothing of that kind" in shown
    assert b"secret-id" not in shown
    assert b"secret-id" not in b"".join(admin.get(f"{path}records.jsonl").streaming_content)


def test_downloads(admin, detector):
    store_seen(detector, "=1+1")
    path = f"/projects/{detector.project_id}/audit/records."
    text = b"".join(admin.get(f"{path}csv?model_id=detector").streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert "'=1+1" in {row["inference_id"] for row in rows}
    lines = b"".join(admin.get(f"{path}jsonl").streaming_content).decode().splitlines()
    assert "=1+1" in {json.loads(line)["inference_id"] for line in lines}
    assert admin.get(f"{path}xls").status_code == 404


def test_twenty_records_cost_the_queries_of_two(admin, detector):
    costs = []
    for count in (1, 20):
        for number in range(count):
            store_seen(detector, f"{count}-{number}")
        with CaptureQueriesContext(connection) as queries:
            assert admin.get("/models/detector/audit/").status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("path", ["", "exports/", "retention/", "charts/", "audit/"])
def test_every_page_of_a_model_leads_its_admins_to_the_audit(path, client, detector):
    admin = make_user("grace")
    Membership.objects.create(user=admin, project=detector.project, role=Role.ADMIN)
    client.force_login(admin)
    text = client.get(f"/models/detector/{path}").content.decode()
    assert 'href="/models/detector/audit/"' in text
    assert f'href="/projects/{detector.project_id}/"' in text
