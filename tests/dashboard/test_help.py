"""Help, and what one finds instead of a page."""

import re

import pytest
from django.test import Client

from inference_store.models import Membership, Role
from tests.dashboard.conftest import store_seen

METADATA = {"key": "a", "type": "int", "value": "1"}


def test_help_is_for_anybody_and_every_page_leads_to_it(client, page):
    assert b'href="/help/"' in page("/").content
    client.logout()
    whole = client.get("/help/").content
    assert b"<html" in whole
    part = client.get("/help/", headers={"HX-Request": "true"}).content
    assert b"<kbd>j</kbd>" in part
    assert part.strip() in whole
    assert b"<html" not in part


@pytest.mark.parametrize(
    ("path", "up"),
    [
        ("/nowhere/", None),
        ("/models/none/", None),
        ("/models/detector/inferences/none/", "/models/detector/"),
        ("/models/a%20b%22/inferences/none/", "/models/a%20b%22/"),
    ],
)
def test_what_is_not_there_leads_on(path, up, page, detector):
    response = page(path)
    assert response.status_code == 404
    found = re.findall(r'<a class="button[^"]*" href="([^"]*)"', response.content.decode())
    assert found == ([up, "/"] if up else ["/"])


def test_what_one_may_not_do_says_which_role_it_takes(page, client, detector):
    store_seen(detector, "one")
    response = client.post("/models/detector/inferences/one/metadata", METADATA)
    assert response.status_code == 403
    text = response.content.decode()
    assert "This needs the role editor in project &#x27;birds&#x27;." in text
    assert "Ask an admin" in text


def test_a_form_that_is_out_of_date_says_so(carol, detector):
    Membership.objects.update(role=Role.EDITOR)
    store_seen(detector, "one")
    client = Client(enforce_csrf_checks=True)
    client.force_login(carol)
    response = client.post("/models/detector/inferences/one/metadata", METADATA)
    assert response.status_code == 403
    assert "This form is out of date" in response.content.decode()


def test_a_failure_shows_no_more_than_that(page, detector, monkeypatch, client):
    def broken(*args):
        raise RuntimeError("a secret")

    monkeypatch.setattr("dashboard.views.overview", broken)
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 500
    text = response.content.decode()
    assert "Try again in a moment" in text
    assert "a secret" not in text
