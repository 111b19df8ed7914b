"""A model's retention: its policy, the history, a task with its list."""

import csv
import io
import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.forms import NewPolicyForm
from dashboard.retention_words import policy_words, schedule_words
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import NewRetentionPolicyRequest, NewRetentionTaskRequest
from inference_store.models import (
    Inference,
    JobState,
    Membership,
    RetentionPolicy,
    RetentionPreviewItem,
    RetentionTask,
    Role,
)
from inference_store.services import retention, retention_policies, retention_runs
from tests.dashboard.conftest import store_seen
from tests.making import make_model, make_project, make_user

URL = "/models/detector/retention/"
TYPED = {
    "maximum_record_age": "90",
    "maximum_record_age_unit": "days",
    "maximum_blob_age": "36",
    "maximum_blob_age_unit": "hours",
    "delete_action": "soft",
    "by_hand": "yes",
    "automated_interval": "",
    "automated_interval_unit": "days",
}


@pytest.fixture(autouse=True)
def own_blobs(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"


@pytest.fixture
def alice(db, quick_passwords):
    """An admin of the project `birds`."""
    return make_user("alice")


@pytest.fixture
def detector(alice, carol):
    project = make_project("birds", viewer=carol, admin=alice)
    return make_model("detector", task=TaskType.OBJECT_DETECTION, project=project)


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def set_policy(model, user, **changes):
    given = {"automated_interval": 0, "maximum_record_age": 720, "maximum_blob_age": 168}
    request = NewRetentionPolicyRequest(**given | changes)
    return retention_policies.create_policy(model=model, user=user, request=request)[0]


def begin(model, user, *, dry_run=True, **asked):
    policy = RetentionPolicy.objects.get(registered_model=model)
    request = NewRetentionTaskRequest(dry_run=dry_run, retention_policy_id=str(policy.pk), **asked)
    return retention.create_task(model=model, user=user, request=request)


def done(task):
    retention_runs.run(task.pk)
    task.refresh_from_db()
    assert task.state == "complete", task.error
    return task


def aged(model, **days):
    """Inferences by id, each so many days old."""
    now = timezone.now()
    for inference_id, age in days.items():
        store_seen(model, inference_id, created_at=now - timedelta(days=age))


def text_of(response):
    return response.content.decode()


# --- The policy ---------------------------------------------------------------------------------------------
def test_without_a_policy_everything_is_kept(page, browser, detector, carol):
    text = text_of(browser.get(URL))
    assert "Everything is kept for ever." in text
    assert "Set this policy" in text
    assert "Nothing has run yet" in text
    browser.force_login(carol)
    assert "Set this policy" not in text_of(page(URL))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Records go after 30 days, softly; inputs after 7 days."),
        (
            {"maximum_blob_age": 36, "delete_action": "hard"},
            "Records go after 30 days, for good; inputs after 36 hours.",
        ),
        ({"maximum_blob_age": 720}, "Records go after 30 days, softly, and their inputs with them."),
        (
            {"maximum_record_age": -1, "maximum_blob_age": 1},
            "Records are kept for ever; inputs go after 1 hour.",
        ),
    ],
)
def test_a_policy_in_words(changes, words, alice, detector):
    assert policy_words(set_policy(detector, alice, **changes)) == words


def test_when_it_runs_next(alice, detector):
    policy = set_policy(detector, alice, automated_interval=24)
    expected = policy.created_at + timedelta(hours=24)
    assert (
        schedule_words(policy)
        == f"It runs every 24 hours; next at {expected:%Y-%m-%d %H:%M} UTC, in 23 hours."
    )
    policy.last_scheduled_at = timezone.now() - timedelta(hours=22)
    assert schedule_words(policy).endswith("in 1 hour.")
    policy.last_scheduled_at = timezone.now() - timedelta(hours=25)
    assert schedule_words(policy) == "It runs every 24 hours; next now."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (90 * 24, 36, 0, "soft")),
        ({"keep_records": "on", "maximum_record_age": ""}, (-1, 36, 0, "soft")),
        ({"keep_records": "on", "maximum_record_age": "-5"}, (-1, 36, 0, "soft")),
        ({"by_hand": "no", "automated_interval": "2", "delete_action": "hard"}, (90 * 24, 36, 48, "hard")),
        ({"by_hand": "yes", "automated_interval": "2"}, (90 * 24, 36, 0, "soft")),
        ({"maximum_blob_age": "0"}, (90 * 24, 0, 0, "soft")),
    ],
)
def test_an_admin_sets_a_policy(changes, expected, browser, alice, detector):
    response = browser.post(f"{URL}policies", TYPED | changes)
    assert response["Location"] == URL
    policy = RetentionPolicy.objects.get()
    assert (
        policy.maximum_record_age,
        policy.maximum_blob_age,
        policy.automated_interval,
        policy.delete_action,
    ) == expected
    assert policy.created_by == alice
    assert policy_words(policy) in text_of(browser.get(URL))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        (
            {"maximum_blob_age": "91", "maximum_blob_age_unit": "days"},
            "maximum_blob_age",
            "at most the age of records",
        ),
        ({"maximum_record_age": ""}, "maximum_record_age", "keep them for ever"),
        ({"maximum_record_age": "-1"}, "maximum_record_age", "not negative"),
        ({"maximum_record_age": "ninety"}, "maximum_record_age", "whole number"),
        ({"maximum_blob_age": ""}, "maximum_blob_age", "how long inputs are kept"),
        ({"maximum_blob_age": "-1"}, "maximum_blob_age", "at least 0 hours"),
        ({"maximum_record_age": "9" * 30}, "maximum_record_age", "at most 8784000 hours"),
        ({"by_hand": "no"}, "automated_interval", "Say how often"),
        ({"by_hand": "no", "automated_interval": "0"}, "automated_interval", "once an hour at most"),
        ({"delete_action": "burn"}, "delete_action", "not one of the available choices"),
        ({"by_hand": ""}, "by_hand", "required"),
    ],
)
def test_a_wrong_policy_is_explained_at_its_field(changes, field, message, browser, detector):
    response = browser.post(f"{URL}policies", TYPED | changes)
    assert response.status_code == 400
    shown = re.search(rf'id="{field}-error">([^<]*)<', text_of(response))
    assert shown, NewPolicyForm(TYPED | changes).errors
    assert message in shown[1]
    assert not RetentionPolicy.objects.exists()


def test_another_policy_while_one_stands_is_a_conflict(browser, alice, detector):
    set_policy(detector, alice)
    assert "delete that one first" in text_of(browser.post(f"{URL}policies", TYPED, follow=True))
    assert RetentionPolicy.objects.get().maximum_blob_age == 168


def test_a_deletion_wants_the_models_id(browser, alice, detector):
    policy = set_policy(detector, alice)
    address = f"{URL}policies/{policy.pk}/delete"
    response = browser.post(address, {"typed": "detecter"})
    assert response.status_code == 400
    assert "Type detector to delete the policy." in text_of(response)
    assert RetentionPolicy.objects.exists()
    assert "everything is kept" in text_of(browser.post(address, {"typed": "detector"}, follow=True))
    assert not RetentionPolicy.objects.exists()
    assert browser.post(address, {"typed": "detector"}).status_code == 404


# --- Who may do what ----------------------------------------------------------------------------------------
def test_only_admins_act(client, alice, detector):
    policy = set_policy(detector, alice)
    task = begin(detector, alice)
    writes = {
        f"{URL}policies": TYPED,
        f"{URL}policies/{policy.pk}/delete": {"typed": "detector"},
        f"{URL}tasks": {"kind": "run", "policy": policy.pk},
        f"{URL}tasks/{task.pk}/take": {"typed": "0"},
        f"{URL}tasks/{task.pk}/stop": {},
    }
    dave = make_user("dave")
    client.force_login(dave)
    for address, given in writes.items():
        assert client.post(address, given).status_code == 404, address
        assert client.get(address).status_code == 405, address
    for role in (Role.VIEWER, Role.EDITOR):
        Membership.objects.update_or_create(user=dave, project=detector.project, defaults={"role": role})
        for address, given in writes.items():
            assert client.post(address, given).status_code == 403, address
        text = text_of(client.get(URL)) + text_of(client.get(f"{URL}tasks/{task.pk}/"))
        assert 'method="post"' not in text.replace('class="log-out" method="post"', "")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    for address, given in writes.items():
        assert strict.post(address, given).status_code == 403, address
    task.refresh_from_db()
    assert task.is_active
    assert RetentionPolicy.objects.exists()
    assert RetentionTask.objects.count() == 1


def test_tasks_of_another_model_are_not_found(browser, alice, detector):
    other = make_model("other", project=make_project("elsewhere", admin=alice))
    set_policy(other, alice)
    task = begin(other, alice)
    for rest in ("", "progress", "preview.jsonl"):
        assert browser.get(f"{URL}tasks/{task.pk}/{rest}").status_code == 404
    assert browser.get(f"{URL}tasks/junk/").status_code == 404
    assert str(task.pk) not in text_of(browser.get(f"{URL}progress?id={task.pk}"))


# --- Tasks --------------------------------------------------------------------------------------------------
def test_a_preview_begins_from_the_page(browser, alice, detector):
    policy = set_policy(detector, alice, automated_interval=24)
    text = text_of(browser.get(URL))
    assert "Preview what would go" in text
    assert 'value="run"' not in text
    response = browser.post(f"{URL}tasks", {"kind": "preview", "policy": policy.pk})
    task = RetentionTask.objects.get()
    assert response["Location"] == f"{URL}tasks/{task.pk}/"
    assert task.dry_run
    assert browser.post(f"{URL}tasks", {"kind": "other", "policy": policy.pk}).status_code == 404
    refused = text_of(browser.post(f"{URL}tasks", {"kind": "run", "policy": policy.pk}, follow=True))
    assert "only dry runs are made by hand" in refused
    assert RetentionTask.objects.count() == 1


def test_a_run_by_hand(browser, alice, detector):
    policy = set_policy(detector, alice)
    aged(detector, old=31, young=1)
    browser.post(f"{URL}tasks", {"kind": "run", "policy": policy.pk})
    again = text_of(browser.post(f"{URL}tasks", {"kind": "run", "policy": policy.pk}, follow=True))
    assert "under way" in again
    task = done(RetentionTask.objects.get())
    assert list(Inference.objects.values_list("inference_id", flat=True)) == ["young"]
    text = text_of(browser.get(f"{URL}tasks/{task.pk}/"))
    assert "1 deleted of 1 found" in text
    assert task.deleted_digest in text
    assert f'title="{task.deleted_digest}"' in text_of(browser.get(URL))


def test_a_running_task_asks_again_until_it_has_ended(page, alice, detector):
    set_policy(detector, alice)
    task = begin(detector, alice, dry_run=False)
    for address in (URL, f"{URL}tasks/{task.pk}/"):
        RetentionTask.objects.filter(pk=task.pk).update(
            state=JobState.RUNNING, is_counted=True, total_record_count=6, total_blob_count=2
        )
        RetentionTask.objects.filter(pk=task.pk).update(deleted_record_count=2, error="", finished_at=None)
        polled = re.search(r'hx-get="([^"]+)"', text_of(page(address)))[1]
        text = text_of(page(polled))
        assert f'hx-get="{polled}"' in text
        assert 'max="8" value="2"' in text
        assert "25 %" in text
        RetentionTask.objects.filter(pk=task.pk).update(state=JobState.FAILED, error="The disk is full.")
        text = text_of(page(polled))
        assert "hx-get" not in text
        assert "The disk is full." in text
        assert 'hx-swap-oob="true"' in text


def test_a_task_is_stopped(browser, alice, detector):
    set_policy(detector, alice)
    task = begin(detector, alice, dry_run=False)
    assert f'action="{URL}tasks/{task.pk}/stop"' in text_of(browser.get(URL))
    assert browser.post(f"{URL}tasks/{task.pk}/stop")["Location"] == f"{URL}tasks/{task.pk}/"
    task.refresh_from_db()
    assert task.state == "stopped"


@pytest.mark.parametrize("rest", ["progress", "tasks/6b9c3f0e-0000-4000-8000-000000000000/progress"])
def test_a_fragment_tells_who_was_logged_out_to_reload(rest, client, detector):
    assert client.get(f"{URL}{rest}")["HX-Refresh"] == "true"


def test_twenty_tasks_cost_the_queries_of_two(page, alice, detector):
    set_policy(detector, alice)

    def queries(address):
        page(address)
        with CaptureQueriesContext(connection) as captured:
            assert page(address).status_code == 200
        return len(captured)

    def progress():
        return f"{URL}progress?" + "&".join(f"id={each.pk}" for each in RetentionTask.objects.all())

    for _ in range(2):
        begin(detector, alice)
    two = queries(URL), queries(progress())
    for _ in range(18):
        begin(detector, alice)
    assert (queries(URL), queries(progress())) == two


def test_pages_of_the_history(page, alice, detector):
    set_policy(detector, alice)
    ids = [str(begin(detector, alice).pk) for _ in range(22)][::-1]
    shown = [
        re.findall(r'<li class="job surface" id="task-([^"]+)"', text_of(page(URL + rest)))
        for rest in ("", "?page=2")
    ]
    assert shown == [ids[:20], ids[20:]]


# --- What a dry run found -----------------------------------------------------------------------------------
@pytest.fixture
def found(alice, detector):
    """A dry run that found two records and an input."""
    set_policy(detector, alice)
    aged(detector, old=40, older=50, idle=10, young=1)
    return done(begin(detector, alice))


def test_the_list_says_what_and_why(page, found):
    text = text_of(page(f"{URL}tasks/{found.pk}/"))
    rows = re.findall(r'inferences/([^/]+)/">[^<]*</a></th><td>[^<]*</td><td>([^<]*)</td>', text)
    assert rows == [
        ("older", "record older than 30 days"),
        ("old", "record older than 30 days"),
        ("idle", "input older than 7 days; the record stays"),
    ]
    assert "Found 2 records and 3 blobs; deleted nothing" in text


def test_an_empty_list_says_so(browser, alice, detector):
    set_policy(detector, alice)
    aged(detector, young=1)
    text = text_of(browser.get(f"{URL}tasks/{done(begin(detector, alice)).pk}/"))
    assert "Nothing: no record and no input is past its age" in text
    assert "Delete exactly" not in text


def test_the_list_is_paged_to_its_end(page, found):
    items = [
        RetentionPreviewItem(
            task=found,
            position=position,
            inference_key=-position,
            inference_id=f"more-{position:03}",
            created_at=timezone.now(),
            reason="record",
            blob_count=0,
            blob_bytes=0,
        )
        for position in range(4, 121)
    ]
    RetentionPreviewItem.objects.bulk_create(items)
    seen, address = [], f"{URL}tasks/{found.pk}/"
    while address:
        text = text_of(page(address))
        seen += re.findall(r'inferences/([^/]+)/">', text)
        onward = re.search(r'href="([^"]+)" rel="next"', text)
        address = onward and onward[1]
    assert seen == ["older", "old", "idle"] + [f"more-{position:03}" for position in range(4, 121)]
    assert "is not a cursor" in text_of(page(f"{URL}tasks/{found.pk}/?cursor=x"))


def test_the_list_is_downloaded_whole(page, found):
    response = page(f"{URL}tasks/{found.pk}/preview.jsonl")
    assert "attachment" in response["Content-Disposition"]
    lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
    rows = list(csv.DictReader(io.StringIO(page(f"{URL}tasks/{found.pk}/preview.csv").getvalue().decode())))
    expected = [("older", "record"), ("old", "record"), ("idle", "blob")]
    for downloaded in (lines, rows):
        assert [(row["inference_id"], row["reason"]) for row in downloaded] == expected
    assert page(f"{URL}tasks/{found.pk}/preview.xml").status_code == 404


def test_an_old_list_is_gone_with_the_way_on(page, found, settings):
    RetentionTask.objects.filter(pk=found.pk).update(finished_at=timezone.now() - timedelta(days=8))
    assert "make another dry run" in text_of(page(f"{URL}tasks/{found.pk}/"))
    assert page(f"{URL}tasks/{found.pk}/preview.csv").status_code == 404


def test_exactly_these_are_deleted(browser, found, detector):
    address = f"{URL}tasks/{found.pk}/take"
    assert "Delete exactly these 3" in text_of(browser.get(f"{URL}tasks/{found.pk}/"))
    for wrong in ("", "2", "all", "3.0"):
        response = browser.post(address, {"typed": wrong})
        assert response.status_code == 400
        assert "Type 3 to delete exactly these." in text_of(response)
    assert RetentionTask.objects.count() == 1
    aged(detector, late=60)  # it comes after the list was made
    Inference.objects.filter(inference_id="old").update(is_protected=True)
    response = browser.post(address, {"typed": " 3 "})
    run = RetentionTask.objects.exclude(pk=found.pk).get()
    assert response["Location"] == f"{URL}tasks/{run.pk}/"
    assert run.preview == found
    done(run)
    kept = Inference.objects.order_by("inference_id").values_list("inference_id", flat=True)
    assert list(kept) == ["idle", "late", "old", "young"]
    text = text_of(browser.get(response["Location"]))
    assert "The rest was protected or deleted since it was counted." in text
    assert f"tasks/{found.pk}/" in text


def test_thousands_may_be_typed_as_they_are_shown(browser, found):
    RetentionPreviewItem.objects.filter(task=found, position=3).update(position=1_003)
    assert "Type the number, 1003, to confirm" in text_of(browser.get(f"{URL}tasks/{found.pk}/"))
    assert browser.post(f"{URL}tasks/{found.pk}/take", {"typed": "1,003"}).status_code == 302


def test_a_list_is_not_taken_under_another_policy_or_one_that_runs_by_itself(browser, alice, found, detector):
    RetentionPolicy.objects.all().delete()
    for interval in (0, 24):
        set_policy(detector, alice, automated_interval=interval)
        assert "Delete exactly" not in text_of(browser.get(f"{URL}tasks/{found.pk}/"))
        response = browser.post(f"{URL}tasks/{found.pk}/take", {"typed": "3"}, follow=True)
        assert 'class="alert error"' in text_of(response)
        RetentionPolicy.objects.all().delete()
    assert RetentionTask.objects.count() == 1
