"""The pages of API tokens: made with a form, shown once, listed, revoked."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inference_store.models import AuditRecord, Token
from tests.cast import Caller
from tests.making import make_project, make_user

SECRET = re.compile(r"ist_[\w-]{43}")
FORM = {"name": "ingest at the quay", "scopes": ["read", "write"], "lives": "30"}


def made(client, **changes):
    return client.post("/tokens/new", FORM | changes)


@pytest.fixture
def browser(client, carol):
    client.force_login(carol)
    return client


def test_a_new_one_only_reads_unless_told_otherwise(browser):
    html = browser.get("/tokens/new").content.decode()
    assert re.findall(r'name="scopes" value="(\w+)" checked', html) == ["read"]


def test_a_token_is_made_and_shown_once(browser, carol, detector):
    answer = made(browser, description="<b>by the crane</b>", project="birds")
    text = answer.content.decode()
    (secret,) = SECRET.findall(text)
    assert "no-store" in answer["Cache-Control"]
    token = Token.objects.get()
    assert (token.user, token.name, token.scopes, token.project_id) == (
        carol,
        FORM["name"],
        ["read", "write"],
        "birds",
    )
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
    assert Caller(secret).get("models/detector").status_code == 200
    listed = browser.get("/tokens/").content.decode()
    for shown in (FORM["name"], token.hint, "&lt;b&gt;by the crane", "write", "birds"):
        assert shown in listed, shown
    assert "<dd>never</dd>" not in listed  # it was used, and has an end
    for address in ("/tokens/", "/tokens/new", "/"):
        page = browser.get(address).content.decode()
        assert not SECRET.search(page)
        assert token.digest not in page
    assert secret not in str(dict(browser.session)) + str(browser.cookies)


def test_a_form_that_is_sent_twice_makes_one(browser):
    made(browser)
    again = made(browser)
    assert again.status_code == 400
    assert "is taken by another of your tokens" in again.content.decode().lower()
    assert not SECRET.search(again.content.decode())
    assert Token.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "Say what uses it"),
        ({"name": "x" * 101}, "at most 100"),
        ({"name": "a\tb"}, "printable"),
        ({"scopes": []}, "Tick one at least"),
        ({"scopes": ["read", "root"]}, "root"),
        ({"project": "elsewhere"}, "no such project that you may see"),
        ({"lives": "ever"}, "Choose one of these"),
        ({"lives": "365"}, "Choose one of these"),
    ],
)
def test_what_is_wrong_is_told_beside_it(browser, settings, changes, told):
    settings.TOKEN_MAXIMUM_DAYS = 90
    make_project("elsewhere")
    answer = made(browser, **changes)
    assert answer.status_code == 400
    assert told in answer.content.decode()
    assert not Token.objects.exists()
    assert not AuditRecord.objects.filter(action="token.create").exists()


def test_the_form_offers_what_the_settings_allow(browser, settings):
    def offered():
        text = browser.get("/tokens/new").content.decode()
        lives = text.partition('name="lives"')[2].partition("</select>")[0]
        return re.findall(r'value="(\w+)"', lives), lives

    choices, text = offered()
    assert choices == ["7", "30", "90", "365", "ever"]
    assert '<option value="365" selected>' in text
    settings.TOKEN_DAYS, settings.TOKEN_MAXIMUM_DAYS = 0, 45
    choices, text = offered()
    assert choices == ["7", "30", "45"]
    assert '<option value="45" selected>' in text


def test_one_sees_and_revokes_ones_own_alone(browser, carol):
    made(browser)
    other, secret = Token.objects.issue(make_user("mallory", is_superuser=True), "not carol's")
    assert "not carol" not in browser.get("/tokens/").content.decode()
    assert browser.post(f"/tokens/{other.pk}/revoke").status_code == 404
    own = Token.objects.get(user=carol)
    assert browser.get(f"/tokens/{own.pk}/revoke").status_code == 405
    answer = browser.post(f"/tokens/{own.pk}/revoke", follow=True)
    assert "Revoked “ingest at the quay”" in answer.content.decode()
    assert list(Token.objects.all()) == [other]
    assert Caller(secret).get("models").status_code == 200
    actions = list(
        AuditRecord.objects.exclude(action="login").order_by("id").values_list("action", flat=True)
    )
    assert actions == ["token.create", "token.delete"]


def test_what_has_ended_and_what_will_soon_says_so(browser, carol):
    now = timezone.now()
    for name, ends in (("old", now), ("soon", now + timedelta(days=3)), ("ever", None)):
        Token.objects.issue(carol, name, ends)
    text = browser.get("/tokens/").content.decode()
    assert text.count(">Expired<") == text.count(">Ends soon<") == 1
    assert text.count("<dd>never</dd>") == 4  # three were not used, one does not end


def test_twenty_tokens_cost_the_queries_of_two(browser, carol):
    costs = []
    for count in (2, 18):
        for number in range(count):
            Token.objects.issue(carol, f"{count}-{number}", project=make_project(viewer=carol))
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/tokens/").status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]
