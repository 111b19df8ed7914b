"""Exports over REST."""

import io
import zipfile

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.models import AuditRecord, Export, Token
from inference_store.models.job import hence
from inference_store.services import exporting
from tests.cast import request_of
from tests.making import make_model, make_project

pytestmark = pytest.mark.django_db(transaction=True)
ROUTE = "models/detector/export-tasks"


@pytest.fixture(autouse=True)
def blob_root(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"


@pytest.fixture
def stored(cast, detector):
    for number in range(3):
        assert cast.bob.post("models/detector/inferences", request_of(f"i-{number}")).status_code == 201


def made(caller, **body):
    """A finished export."""
    task = caller.post(ROUTE, body).json()
    exporting.run(task["id"])
    return caller.get(f"{ROUTE}/{task['id']}").json()


def test_it_works(cast, stored):
    answer = cast.carol.post(ROUTE, {"include_custom_metadata": True})
    assert answer.status_code == 201
    task = answer.json()
    assert (task["progress_count"], task["presigned_url"], task["format"]) == (0, None, "archive")
    assert task["state"] in ("pending", "scheduled")
    assert task["started_by"] == "carol"
    exporting.run(task["id"])
    task = cast.carol.get(f"{ROUTE}/{task['id']}").json()
    assert (task["state"], task["progress_count"], task["expected_count"]) == ("complete", 3, 3)
    answer = cast.nobody.get(task["presigned_url"].removeprefix("http://testserver"))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].endswith('.zip"')
    whole = b"".join(answer.streaming_content)
    assert len(whole) == task["size"] == int(answer["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None


def test_a_filter_and_ids(cast, stored):
    window = {"time_window_filter": {"end": "2000-01-01T00:00:00Z"}}
    task = made(cast.bob, filters=window, include_inference_ids=["i-1", "i-2"], exclude_inference_ids=["i-2"])
    assert task["progress_count"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": {}}, "filter"),
        ({"filters": {"data_source": "x"}}, "filters.data_source"),
        (
            {"filters": {"metadata_filter": [{"key": "k", "type": "int", "operator": "=", "value": "x"}]}},
            "filters",
        ),
        ({"format": "zip"}, "format"),
        ({"include_inference_ids": ["a/b"]}, "include_inference_ids"),
        ({"include_inference_ids": ["\x00"]}, "include_inference_ids"),
        ({"include_custom_metadata": "perhaps"}, "include_custom_metadata"),
    ],
)
def test_bad_input_begins_nothing(cast, detector, body, field):
    """Fault 26."""
    answer = cast.alice.post(ROUTE, body)
    assert answer.status_code == 400
    assert any(name.startswith(field) for name in answer.json()["fields"])
    assert not Export.objects.exists()


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "offset=-1", "limit=x", "page=2", "limit=1e1"])
def test_bad_pages(cast, detector, query):
    answer = cast.carol.get(f"{ROUTE}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("task_id", ["x", "0", "00000000-0000-0000-0000-000000000000", "%00"])
def test_there_is_no_such_export(cast, detector, task_id):
    assert cast.carol.get(f"{ROUTE}/{task_id}").status_code == 404
    assert cast.carol.post(f"{ROUTE}/{task_id}/stop").status_code == 404


def test_another_models_export_is_not_there(cast, detector, stored):
    other = make_model("other", project=make_project(viewer=cast.users["mallory"]))
    task = made(cast.bob)
    assert other
    assert cast.mallory.get(f"models/other/export-tasks/{task['id']}").status_code == 404
    assert cast.mallory.get(f"{ROUTE}/{task['id']}").status_code == 404


def test_the_list(cast, stored):
    tasks = [made(cast.bob)["id"] for _ in range(3)]
    listed = cast.carol.get(ROUTE).json()["export_tasks"]
    assert [task["id"] for task in listed] == tasks[::-1]
    assert all(task["presigned_url"] for task in listed)
    paged = cast.carol.get(f"{ROUTE}?limit=1&offset=1").json()["export_tasks"]
    assert [task["id"] for task in paged] == [tasks[1]]


def test_the_list_costs_the_same_for_any_number(cast, stored):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert cast.carol.get(ROUTE).status_code == 200
        return len(captured)

    for _ in range(2):
        made(cast.bob)
    two = queries()
    for _ in range(4):
        made(cast.bob)
    assert queries() == two


def test_stop(cast, detector):
    task = cast.carol.post(ROUTE, {}).json()
    answer = cast.carol.post(f"{ROUTE}/{task['id']}/stop")
    assert (answer.status_code, answer.json()["state"]) == (200, "stopped")
    of_bob = cast.bob.post(ROUTE, {}).json()
    assert cast.carol.post(f"{ROUTE}/{of_bob['id']}/stop").status_code == 403
    assert cast.alice.post(f"{ROUTE}/{of_bob['id']}/stop").json()["state"] == "stopped"


def test_stopping_what_is_complete_gives_no_link(cast, stored):
    """Links are for tokens that read, and each is recorded."""
    task = made(cast.bob)
    answer = cast.bob.post(f"{ROUTE}/{task['id']}/stop")
    assert (answer.status_code, answer.json()["state"]) == (200, "complete")
    assert answer.json()["presigned_url"] is None
    assert AuditRecord.objects.filter(action="export.link").count() == 1  # of made()


def test_an_expired_archive_has_no_url(cast, stored):
    task = made(cast.bob)
    url = task["presigned_url"].removeprefix("http://testserver")
    Export.objects.update(expires_at=hence(-1))
    assert cast.bob.get(f"{ROUTE}/{task['id']}").json()["presigned_url"] is None
    from inference_store.services.exports import expire_archives

    expire_archives()
    assert cast.nobody.get(url).status_code == 404


def test_a_changed_url_is_refused(cast, stored):
    """Fault 13, for archives."""
    url = made(cast.bob)["presigned_url"].removeprefix("http://testserver")
    assert cast.nobody.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    assert cast.nobody.put(url, b"x").status_code == 403


def test_the_exports_of_someone_who_left_stay(cast, stored):
    task = made(cast.bob)
    Token.objects.filter(user=cast.users["bob"]).delete()
    cast.users["bob"].delete()
    assert cast.carol.get(f"{ROUTE}/{task['id']}").json()["started_by"] == "bob"
