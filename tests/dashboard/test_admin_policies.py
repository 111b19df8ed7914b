"""Retention on the admin site: policies made, previewed, deleted with care; tasks and exports looked at."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inference_store.contract.jobs import NewExportTaskRequest, NewRetentionPolicyRequest
from inference_store.models import Membership, RetentionPolicy, RetentionTask, Role
from inference_store.services import exports, retention_policies
from tests.making import make_model, make_project, make_user

LISTS = ["retentionpolicy", "retentiontask", "export"]
GIVEN = {
    "automated_interval": 24,
    "maximum_record_age": 720,
    "maximum_blob_age": 168,
    "delete_action": "soft",
}


def at(name, rest=""):
    return f"/admin/inference_store/{name}/{rest}"


@pytest.fixture
def alice(db, quick_passwords):
    """Staff, and an admin of the project `birds`."""
    return make_user("alice", is_staff=True)


@pytest.fixture
def detector(alice):
    return make_model("detector", project=make_project("birds", admin=alice))


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def set_policy(model, user, **changes):
    request = NewRetentionPolicyRequest(**GIVEN | changes)
    return retention_policies.create_policy(model=model, user=user, request=request)[0]


def foreign(**fields):
    """A policy, task and export of a project that alice is no admin of."""
    user = make_user()
    model = make_model("hidden", project=make_project("secret", admin=user))
    policy = set_policy(model, user)
    exports.create_export(model=model, user=user, request=NewExportTaskRequest())
    return model, policy


def preview_of(browser, policy):
    return browser.post(at("retentionpolicy", f"{policy.pk}/preview/"))


def test_the_list_says_what_when(browser, alice, detector):
    set_policy(detector, alice)
    text = browser.get(at("retentionpolicy")).content.decode()
    for words in ("detector", "birds", "Records go after 30 days, softly; inputs after 7 days."):
        assert words in text
    assert 'name="action"' not in text


def test_a_policy_is_made_by_the_service(browser, alice, detector):
    response = browser.post(at("retentionpolicy", "add/"), GIVEN | {"registered_model": detector.pk})
    assert response.status_code == 302, response.content.decode()
    policy = RetentionPolicy.objects.get()
    assert {name: getattr(policy, name) for name in GIVEN} == GIVEN
    assert policy.created_by == alice
    text = browser.get(at("retentionpolicy", f"{policy.pk}/change/")).content.decode()
    assert "It runs every 24 hours; next at" in text
    assert 'name="maximum_record_age"' not in text
    assert 'name="_save"' not in text


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        (
            {"maximum_blob_age": 721},
            "maximum_blob_age",
            "The age of inputs must be at most the age of records.",
        ),
        ({"maximum_record_age": -2}, "maximum_record_age", "Must be at least -1 hours."),
        ({"automated_interval": 10**9}, "automated_interval", "Must be at most 8784000 hours."),
        ({"maximum_blob_age": ""}, "maximum_blob_age", "This field is required."),
        ({"delete_action": "burn"}, "delete_action", "not one of the available choices"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(changes, field, message, browser, detector):
    given = GIVEN | {"registered_model": detector.pk} | changes
    text = browser.post(at("retentionpolicy", "add/"), given).content.decode()
    row = re.search(rf'<div class="form-row errors field-{field}">.*?</ul>', text, re.DOTALL)
    assert row, text
    assert message in row[0]
    assert text.count('class="errorlist"') == 1
    assert not RetentionPolicy.objects.exists()


def test_a_second_policy_is_refused_with_the_way_out(browser, alice, detector):
    set_policy(detector, alice)
    given = GIVEN | {"registered_model": detector.pk, "maximum_record_age": 800}
    text = browser.post(at("retentionpolicy", "add/"), given).content.decode()
    assert "This model has a policy. To replace it, delete that one first." in text
    assert RetentionPolicy.objects.get().maximum_record_age == 720


def test_whoever_was_quicker_is_told(browser, alice, detector, monkeypatch):
    """Another policy came between the form's check and the service."""
    real = retention_policies.create_policy

    def late(**given):
        set_policy_of_somebody(detector, alice)
        return real(**given)

    def set_policy_of_somebody(model, user):
        real(model=model, user=user, request=NewRetentionPolicyRequest(**GIVEN | {"maximum_record_age": 800}))

    monkeypatch.setattr(retention_policies, "create_policy", late)
    given = GIVEN | {"registered_model": detector.pk}
    text = browser.post(at("retentionpolicy", "add/"), given, follow=True).content.decode()
    assert "The model has another retention policy" in text


def test_nothing_changes_a_policy(browser, alice, detector):
    policy = set_policy(detector, alice)
    change = at("retentionpolicy", f"{policy.pk}/change/")
    assert browser.post(change, GIVEN | {"maximum_record_age": 999}).status_code == 403
    policy.refresh_from_db()
    assert policy.maximum_record_age == 720


def test_only_models_of_own_projects(browser, detector):
    model, _ = foreign()
    RetentionPolicy.objects.all().delete()
    text = browser.post(
        at("retentionpolicy", "add/"), GIVEN | {"registered_model": model.pk}
    ).content.decode()
    assert "Select a valid choice" in text
    assert not RetentionPolicy.objects.exists()
    found = browser.get(
        "/admin/autocomplete/",
        {"app_label": "inference_store", "model_name": "retentionpolicy", "field_name": "registered_model"},
    ).json()
    assert [row["text"] for row in found["results"]] == ["detector"]


# --- Preview and deletion -----------------------------------------------------------------------------------
def test_a_preview_is_one_click_away(browser, alice, detector):
    policy = set_policy(detector, alice)
    address = at("retentionpolicy", f"{policy.pk}/preview/")
    assert f'formaction="{address}"' in browser.get(at("retentionpolicy")).content.decode()
    assert (
        f'action="{address}"' in browser.get(at("retentionpolicy", f"{policy.pk}/change/")).content.decode()
    )
    response = browser.post(address)
    task = RetentionTask.objects.get()
    assert response["Location"] == f"/models/detector/retention/tasks/{task.pk}/"
    assert task.dry_run
    assert task.started_by == "alice"
    assert browser.get(response["Location"]).status_code == 200
    assert browser.get(address).status_code == 405


def test_a_deletion_wants_the_id_typed(browser, alice, detector):
    policy = set_policy(detector, alice)
    address = at("retentionpolicy", f"{policy.pk}/delete/")
    assert browser.get(address).status_code == 200
    for given in ({"post": "yes"}, {"typed": "Detector"}, {"typed": ""}):
        response = browser.post(address, given)
        assert response.status_code == 400
        assert "Type detector to delete the policy." in response.content.decode()
    assert RetentionPolicy.objects.exists()
    text = browser.post(address, {"typed": "detector"}, follow=True).content.decode()
    assert "The policy of detector is deleted" in text
    assert not RetentionPolicy.objects.exists()


def test_many_are_not_deleted_at_once(browser, alice, detector):
    policy = set_policy(detector, alice)
    given = {"action": "delete_selected", "_selected_action": [str(policy.pk)], "post": "yes"}
    browser.post(at("retentionpolicy"), given)
    assert RetentionPolicy.objects.exists()


def test_writes_need_a_token_of_the_form(alice, detector):
    policy = set_policy(detector, alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for rest in (f"{policy.pk}/preview/", f"{policy.pk}/delete/"):
        assert client.post(at("retentionpolicy", rest), {"typed": "detector"}).status_code == 403
    assert RetentionPolicy.objects.exists()
    assert not RetentionTask.objects.exists()


# --- Who sees what ------------------------------------------------------------------------------------------
def test_other_projects_are_out_of_reach(browser, detector):
    _, policy = foreign()
    for name in LISTS:
        assert "hidden<" not in browser.get(at(name)).content.decode()
    assert browser.get(at("retentionpolicy", f"{policy.pk}/change/")).status_code == 302
    for rest in ("delete/", "preview/"):
        response = browser.post(at("retentionpolicy", f"{policy.pk}/{rest}"), {"typed": "hidden"})
        assert response.status_code == 404
    assert RetentionPolicy.objects.filter(pk=policy.pk).exists()
    assert not RetentionTask.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.EDITOR])
def test_staff_who_are_no_admins_see_nothing(role, browser, alice, detector):
    policy = set_policy(detector, alice)
    Membership.objects.filter(user=alice).update(role=role)
    for name in LISTS:
        assert "detector" not in browser.get(at(name)).content.decode()
    assert preview_of(browser, policy).status_code == 404
    given = GIVEN | {"registered_model": detector.pk}
    assert "Select a valid choice" in browser.post(at("retentionpolicy", "add/"), given).content.decode()


def test_a_superuser_sees_all(client, detector):
    _, policy = foreign()
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    for name in ("retentionpolicy", "export"):
        assert "hidden" in client.get(at(name)).content.decode()
    assert preview_of(client, policy).status_code == 302
    assert "hidden" in client.get(at("retentiontask")).content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_closed_to_those_who_are_no_staff(name, client, carol):
    client.force_login(carol)
    assert client.get(at(name)).status_code == 302


def test_tasks_and_exports_are_only_looked_at(browser, alice, detector):
    preview_of(browser, set_policy(detector, alice))
    export = exports.create_export(model=detector, user=alice, request=NewExportTaskRequest())
    for name, pk in (("retentiontask", RetentionTask.objects.get().pk), ("export", export.pk)):
        text = browser.get(at(name, f"{pk}/change/")).content.decode()
        assert "detector" in text
        assert 'name="_save"' not in text
        assert browser.get(at(name, "add/")).status_code == 403
        assert browser.post(at(name, f"{pk}/delete/"), {"post": "yes"}).status_code == 403
        assert browser.post(at(name, f"{pk}/change/"), {"state": "failed"}).status_code == 403


@pytest.mark.parametrize("name", LISTS)
def test_twenty_rows_cost_the_queries_of_two(name, browser, alice, detector):
    def queries():
        browser.get(at(name))
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(at(name)).status_code == 200
        return len(captured)

    def more(count):
        for _ in range(count):
            model = make_model(project=detector.project)
            preview_of(browser, set_policy(model, alice))
            exports.create_export(model=model, user=alice, request=NewExportTaskRequest())

    more(2)
    two = queries()
    more(18)
    assert queries() == two
