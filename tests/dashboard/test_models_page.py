"""Home: the models one may see, what they hold, and how it came."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.overview import PAGE_SIZE, SEARCHED_FROM, overview
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewRetentionPolicyRequest
from inference_store.models import Catalogue
from inference_store.query.volumes import volumes
from inference_store.services import catalogues, retention_policies
from tests.dashboard.conftest import picture_bytes, store_seen
from tests.making import make_model, make_project, make_request, store

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def nothing_kept():
    cache.clear()


def test_it_says_what_each_model_holds(page, detector):
    store_seen(detector, "one")
    store_seen(detector, "two")
    make_model("embedder", project=detector.project, embedding_size=64)
    text = page("/").content.decode()
    assert "birds" in text
    assert "Object Detection" in text
    assert "<dd>2</dd>" in text
    assert "64-d" in text
    assert "never" in text
    assert "2 in the last 48 hours" in text
    assert "None in the last 48 hours" in text
    assert "Everything is kept for ever." in text


def test_retention_is_told_in_words(page, detector, carol):
    policy = NewRetentionPolicyRequest(automated_interval=0, maximum_record_age=720, maximum_blob_age=168)
    retention_policies.create_policy(model=detector, user=carol, request=policy)
    assert "Records go after 30 days, softly; inputs after 7 days." in page("/").content.decode()


# --- Volumes ------------------------------------------------------------------------------------------------
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def at(model, *moments):
    store(model, *(make_request(model, created_at=moment) for moment in moments))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("step", [DAY, HOUR, 3 * HOUR])
def test_volumes_are_what_is_stored(counted, step):
    moments = [FIRST - timedelta(seconds=1), FIRST, FIRST + timedelta(hours=5, minutes=59), FIRST + 2 * DAY]
    moments += [FIRST + DAY - timedelta(microseconds=1), FIRST + DAY, FIRST + 40 * DAY]
    model, other = make_model(), make_model()
    at(model, *moments)
    at(other, FIRST + HOUR)
    if counted:
        assert catalogues.begin(model, "created_at")
        at(model, FIRST + 5 * DAY)
        moments.append(FIRST + 5 * DAY)
    expected = {}
    for moment in moments:
        if moment >= FIRST:
            begin = FIRST + (moment - FIRST) // step * step
            expected[begin] = expected.get(begin, 0) + 1
    found = volumes([model.pk, other.pk], FIRST, step)
    assert found == {model.pk: expected, other.pk: {FIRST + HOUR // step * step: 1}}
    assert Catalogue.objects.filter(state="exact").exists() == counted


def test_old_and_new_are_told_by_day(page, detector, carol):
    now = timezone.now()
    at(detector, now, now, now - 5 * DAY, now - 90 * DAY)
    (group,) = overview(carol, "", 1).groups
    volume = group.rows[0].volume
    assert (volume.step, volume.total, [bar.count for bar in volume.bars]) == ("day", 3, [1, 2])
    assert volume.bars[1].x == 29
    text = page("/").content.decode()
    assert f'<th scope="row">{now:%Y-%m-%d}</th><td>2</td>' in text
    assert "3 in the last 30 days" in text
    assert f"most on {now:%Y-%m-%d}: 2" in text


# --- Storage ------------------------------------------------------------------------------------------------
def test_storage_is_what_the_blobs_take(page, detector, carol):
    content = picture_bytes(300, 200)
    for name in ("one", "two"):
        store_seen(detector, name, content=content)
    (group,) = overview(carol, "", 1).groups
    assert group.rows[0].size == 2 * len(content)
    assert make_model(project=detector.project).pk
    sizes = [row.size for row in overview(carol, "", 1).groups[0].rows]
    assert sorted(sizes) == [0, 2 * len(content)]


def test_it_is_not_summed_at_every_look(detector, carol):
    overview(carol, "", 1)
    with CaptureQueriesContext(connection) as captured:
        overview(carol, "", 1)
    assert not [each for each in captured if "inference_store_blob" in each["sql"]]


# --- Many models --------------------------------------------------------------------------------------------
def ids(response):
    return re.findall(r'href="/models/([^/"]+)/"', response.content.decode())


def test_models_are_searched(page, carol):
    for number in range(SEARCHED_FROM - 1):
        make_model(f"m-{number}", project=make_project(viewer=carol))
    assert b'name="search"' not in page("/").content
    make_model("Harbour_Night", project=make_project("quay", viewer=carol), task=TaskType.TEXT_EMBEDDING)
    make_model("harbour-hidden")
    assert b'name="search"' in page("/").content
    for search in ("harbour", "HARBOUR night", "_night", "quay", "text embedding"):
        assert ids(page("/", {"search": search})) == ["Harbour_Night"], search
    for search in ("m_1", "%", "\x00", "x" * 5_000, "<script>"):
        response = page("/", {"search": search})
        assert response.status_code == 200
        assert "No model is called that" in response.content.decode()


def test_models_are_paged(page, carol):
    project = make_project(viewer=carol)
    names = [f"m-{number:02}" for number in range(PAGE_SIZE + 1)]
    for name in names:
        make_model(name, project=project)
    first = page("/", {"search": "m-"})
    assert ids(first) == names[:PAGE_SIZE]
    assert "?search=m-&amp;page=2" in first.content.decode()
    assert ids(page("/?search=m-&page=2")) == names[PAGE_SIZE:]
    assert "There are no more models" in page("/?page=9").content.decode()
    assert ids(page("/?page=nonsense")) == names[:PAGE_SIZE]


@pytest.mark.usefixtures("detector")
def test_twenty_models_cost_the_queries_of_two(page, carol):
    def queries():
        page("/")
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            assert page("/").status_code == 200
        return len(captured)

    store_seen(
        make_model("second", project=make_project(viewer=carol), task=TaskType.OBJECT_DETECTION), "one"
    )
    two = queries()
    for _ in range(18):
        make_model(project=make_project(viewer=carol))
    assert queries() == two


# --- A fresh store ------------------------------------------------------------------------------------------
def test_who_is_in_no_project_is_told_what_to_do(page, carol, settings):
    for address in ("/", "/projects/"):
        text = html.unescape(page(address).content.decode())
        assert "You are in no project yet" in text
        assert '<p class="your-name mono" dir="auto">carol</p>' in text
        assert "/projects/new" not in text
    settings.EVERYBODY_CREATES_PROJECTS = True
    for address in ("/", "/projects/"):
        assert "/projects/new" in page(address).content.decode()


def test_a_fresh_store_shows_how_to_send(page, carol):
    make_project(viewer=carol)
    text = html.unescape(page("/").content.decode())
    assert "import inference_store.client as istore" in text
    assert "istore.connect(base_url='http://testserver', token=\"ist_…\")" in text
    assert "register_model_for_inference_storage(" in text
