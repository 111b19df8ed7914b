"""A model's exports: made from a filtered page, listed, stopped, downloaded."""

import io
import json
import re
import zipfile
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.filter_words import filter_words
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, JobState, RetentionPolicy
from inference_store.services import exporting, exports
from tests.dashboard.conftest import box, store_seen
from tests.making import LONG_AGO, make_model, make_project, make_user

URL = "/models/detector/exports/"
NEW = f"{URL}new"


@pytest.fixture(autouse=True)
def own_blobs(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"


def some(model, count):
    for number in range(count):
        store_seen(
            model,
            f"i-{number:02}",
            entries=[box("kestrel" if number % 2 else "owl", number / 100)],
            metadata=[("run", "int", str(number))],
            source=f"cam-{number % 3}",
            place=(47.5, 9.5 + number / 1000),
            created_at=LONG_AGO + timedelta(hours=number),
        )


def begin(model, user, **request):
    return exports.create_export(model=model, user=user, request=NewExportTaskRequest(**request))


def made(model, user, **request):
    """A finished export."""
    export = begin(model, user, **request)
    exporting.run(export.pk)
    export.refresh_from_db()
    assert export.state == "complete", export.error
    return export


def page_count(text):
    return int(re.search(r"<strong>([\d,]+)</strong> inference", text)[1].replace(",", ""))


# --- From the filtered page to the export -------------------------------------------------------------------
@pytest.mark.parametrize(
    "query",
    [
        "",
        "label=owl&minimum_score=0.02",
        "metadata=run%3Aint%3A%3E%3D%3A3&metadata=run%3Aint%3A%21%3D%3A4",
        "data_source=cam-1&start=2026-01-01T13:00&end=2026-01-01T16:00:30",
        "circle=47.5,9.503,80&action=detect",
        "rectangle=47,9.502,48,9.5035",
    ],
)
@pytest.mark.django_db(transaction=True)
def test_the_set_of_the_page_is_the_set_of_the_export(query, client, carol, detector):
    some(detector, 8)
    client.force_login(carol)
    shown = client.get(f"/models/detector/?{query}&sort=score&limit=2&view=table").content.decode()
    count = page_count(shown)
    assert count > 0
    address = re.search(r'href="(/models/detector/exports/new[^"]*)"', shown)[1].replace("&amp;", "&")
    new = client.get(address).content.decode()
    assert page_count(new) == count
    response = client.post(address, {"format": "archive"})
    assert response["Location"] == URL
    export = Export.objects.get()
    exporting.run(export.pk)
    assert client.get(f"{URL}progress?id={export.pk}").status_code == 200
    answer = client.get(f"{URL}{export.pk}/download")
    with zipfile.ZipFile(io.BytesIO(b"".join(client.get(answer["Location"]).streaming_content))) as archive:
        lines = [json.loads(line) for line in archive.read("inferences.jsonl").splitlines()]
    assert len(lines) == count
    listed = client.get(f"/models/detector/?{query}").content.decode()
    assert {line["inference_id"] for line in lines} == set(
        re.findall(r'/inferences/([^/"]+)/(?:\?[^"]*)?">', listed)
    )


def test_options_are_the_archives_alone(client, carol, detector):
    client.force_login(carol)
    options = {"include_inferences_as_annotations": "on", "include_custom_metadata": "on"}
    for format_, expected in (("archive", True), ("csv", False)):
        client.post(NEW, options | {"format": format_})
        request = Export.objects.get(format=format_).request
        assert request["include_inferences_as_annotations"] is expected
        assert request["include_custom_metadata"] is expected


def test_only_formats_that_fit_are_offered(page, client, detector, carol):
    text = page(NEW).content.decode()
    assert 'value="coco"' in text
    assert 'value="yolo"' in text
    make_model("embedder", task=TaskType.IMAGE_EMBEDDING, embedding_size=3, project=detector.project)
    text = page("/models/embedder/exports/new").content.decode()
    assert 'value="coco"' not in text
    assert 'value="archive" required checked' in text
    response = client.post("/models/embedder/exports/new", {"format": "coco"})
    assert response.status_code == 400
    assert 'id="format-error"' in response.content.decode()
    assert not Export.objects.exists()


@pytest.mark.parametrize("query", ["minimum_score=high", "lable=owl", "metadata=run", "start=yesterday"])
def test_a_wrong_filter_exports_nothing(query, client, carol, detector):
    client.force_login(carol)
    for response in (client.get(f"{NEW}?{query}"), client.post(f"{NEW}?{query}", {"format": "archive"})):
        assert response.status_code == 400
        text = response.content.decode()
        assert 'role="alert"' in text
        assert "Start the export" not in text
    assert not Export.objects.exists()


def test_order_and_position_are_no_part_of_a_set(client, carol, detector):
    client.force_login(carol)
    text = client.get(
        f"{NEW}?label=owl&sort=score&direction=asc&cursor=abc&limit=3&view=table"
    ).content.decode()
    assert f'action="{NEW}?label=owl"' in text
    client.post(f"{NEW}?label=owl&sort=score&cursor=abc", {"format": "archive"})
    assert Export.objects.get().request["filters"] == {"deconstructed_inference_filter": {"labels": ["owl"]}}


def test_without_a_format_nothing_begins(client, carol, detector):
    client.force_login(carol)
    assert client.post(NEW, {}).status_code == 400
    assert not Export.objects.exists()


def test_writes_need_a_token_of_the_form(carol, detector):
    client = Client(enforce_csrf_checks=True)
    client.force_login(carol)
    export = begin(detector, carol)
    for address in (NEW, f"{URL}{export.pk}/stop"):
        assert client.post(address, {"format": "archive"}).status_code == 403
    export.refresh_from_db()
    assert export.is_active
    assert Export.objects.count() == 1


# --- The list -----------------------------------------------------------------------------------------------
def test_an_empty_list_says_what_to_do(page, detector):
    text = page(URL).content.decode()
    assert "Nothing has been exported yet" in text
    assert "hx-get" not in text


@pytest.mark.django_db(transaction=True)
def test_a_row_says_everything(page, carol, detector):
    some(detector, 3)
    filters = BaseInferenceFilter(deconstructed_inference_filter={"labels": ["owl"]})
    made(detector, carol, filters=filters, exclude_inference_ids=["i-00"])
    text = page(URL).content.decode()
    for words in (
        "Archive",
        "Complete",
        "label owl",
        "without 1 by id",
        "carol",
        "1 inference ·",
        "in 6 days",
    ):
        assert words in text
    assert 'href="/models/detector/?label=owl"' in text
    assert "hx-get" not in text


def test_a_running_row_asks_again_until_it_has_ended(page, carol, detector):
    some(detector, 4)
    export = begin(detector, carol)
    text = page(URL).content.decode()
    address = re.search(r'hx-get="([^"]+)"', text)[1]
    assert 'hx-trigger="every 1s"' in text
    Export.objects.filter(pk=export.pk).update(state=JobState.RUNNING, expected_count=4, progress_count=1)
    text = page(address).content.decode()
    assert f'hx-get="{address}"' in text
    assert 'max="4" value="1"' in text
    assert "25 %" in text
    assert f'id="export-{export.pk}" hx-swap-oob="true"' in text
    Export.objects.filter(pk=export.pk).update(state=JobState.FAILED, error="The disk is full.")
    text = page(address).content.decode()
    assert "hx-get" not in text
    assert "The disk is full." in text
    assert 'role="status"' in text


def test_a_fragment_tells_who_was_logged_out_to_reload(client, detector):
    response = client.get(f"{URL}progress")
    assert response["HX-Refresh"] == "true"
    assert response.content == b""


def test_pages_of_the_list(page, carol, detector):
    ids = [str(begin(detector, carol).pk) for _ in range(23)][::-1]
    shown = lambda text: re.findall(r'id="export-([^"]+)"', text)  # noqa: E731
    first, second = page(URL).content.decode(), page(f"{URL}?page=2").content.decode()
    assert shown(first) + shown(second) == ids
    assert len(shown(first)) == 20
    assert 'rel="next"' in first
    assert 'rel="next"' not in second
    assert "There are no more" in page(f"{URL}?page=9").content.decode()
    assert shown(page(f"{URL}?page=x").content.decode()) == ids[:20]


def test_twenty_exports_cost_the_queries_of_two(page, carol, detector):
    def queries(address):
        page(address)
        with CaptureQueriesContext(connection) as captured:
            assert page(address).status_code == 200
        return len(captured)

    asked = [begin(detector, carol) for _ in range(2)]
    progress = lambda: f"{URL}progress?{urlencode({'id': [each.pk for each in asked]}, True)}"  # noqa: E731
    two = queries(URL), queries(progress())
    asked += [begin(detector, carol) for _ in range(18)]
    assert (queries(URL), queries(progress())) == two


def test_a_fragment_shows_the_models_own(page, carol, detector):
    other = begin(make_model("other", project=make_project()), make_user())
    text = page(f"{URL}progress?id={other.pk}&id=junk").content.decode()
    assert str(other.pk) not in text


# --- Stopping and downloading -------------------------------------------------------------------------------
def test_the_one_who_began_it_stops_it(client, carol, detector):
    export = begin(detector, carol)
    client.force_login(carol)
    assert f'action="{URL}{export.pk}/stop"' in client.get(URL).content.decode()
    assert client.post(f"{URL}{export.pk}/stop").status_code == 302
    export.refresh_from_db()
    assert export.state == "stopped"
    assert "had ended already" not in client.get(URL).content.decode()


def test_a_viewer_stops_nobody_elses(client, carol, detector):
    export = begin(detector, make_user("dave"))
    client.force_login(carol)
    assert "/stop" not in client.get(URL).content.decode()
    assert client.post(f"{URL}{export.pk}/stop").status_code == 403
    export.refresh_from_db()
    assert export.is_active


@pytest.mark.django_db(transaction=True)
def test_a_download_is_a_fresh_address_nobody_keeps(page, carol, detector):
    some(detector, 1)
    export = made(detector, carol)
    response = page(f"{URL}{export.pk}/download")
    assert response.status_code == 302
    assert response["Cache-Control"] == "no-store"
    assert "signature=" in response["Location"]


def test_what_has_expired_says_so(page, carol, detector):
    export = made(detector, carol)
    Export.objects.filter(pk=export.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    response = page(f"{URL}{export.pk}/download")
    assert response.status_code == 410
    assert "has expired" in response.content.decode()
    assert "has expired" in page(URL).content.decode()
    assert "/download" not in page(URL).content.decode()


def test_an_archive_outlives_no_policy(page, carol, detector):
    export = made(detector, carol)
    RetentionPolicy.objects.create(
        registered_model=detector, automated_interval=0, maximum_record_age=-1, maximum_blob_age=0
    )
    assert page(f"{URL}{export.pk}/download").status_code == 410


@pytest.mark.parametrize("which", ["running", "unknown", "junk"])
def test_no_archive_no_download(which, page, carol, detector):
    export = begin(detector, carol)
    pk = {"running": export.pk, "unknown": detector.pk, "junk": "a%00b"}[which]
    assert page(f"{URL}{pk}/download").status_code == 404


# --- Filters in words ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({}, []),
        ({"data_source_filter": "cam 1&x=2"}, ["source cam 1&x=2"]),
        (
            {"metadata_filter": [{"key": 'a:"b', "type": "string", "operator": "in", "value": "[x, y:z]"}]},
            ['a:"b in [x, y:z]'],
        ),
        (
            {
                "location_filter": {
                    "gps_coordinates_circle": {
                        "center": {"latitude": 47.1, "longitude": -9},
                        "radius": 1500.5,
                    },
                    "gps_coordinates_rectangle": {
                        "p1": {"latitude": 1, "longitude": 170},
                        "p2": {"latitude": 2, "longitude": -170},
                        "crosses_antimeridian": True,
                    },
                }
            },
            ["within 1.5005 km of 47.1, -9.0", "between 1.0, 170.0 and 2.0, -170.0 across 180°"],
        ),
        ({"time_window_filter": {"end": "2026-01-02T03:04:05.5+01:00"}}, ["until 2026-01-02 02:04:05 UTC"]),
        (
            {"deconstructed_inference_filter": {"labels": ["a", "b"], "maximum_score": 0.1}},
            ["label a", "label b", "score ≤ 0.1"],
        ),
    ],
)
def test_a_stored_filter_leads_back_to_its_page(stored, words):
    stored = BaseInferenceFilter.model_validate(stored).model_dump(mode="json", exclude_none=True)
    found = filter_words(stored)
    assert found.words == words
    assert found.query is not None


@pytest.mark.parametrize(
    "stored",
    [
        {"data_source_filter": ""},  # a query string can't say that
        {"deconstructed_inference_filter": {"labels": []}},
        {"deconstructed_inference_filter": {"labels": ["x" * 5_000]}},
        {"made": "by a later release"},
    ],
)
def test_a_filter_that_no_address_spells_leads_nowhere(stored):
    assert filter_words(stored).query is None
