"""Whoever was logged out while a page was open is told so, and comes back to that page."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test.client import FakePayload

from inference_store.models import Role, User
from tests.dashboard.conftest import make_member, store_seen

PAGE = "/models/detector/?label=owl"
FORMS = [
    "/models/detector/selection",
    "/models/detector/selection/delete",
    "/projects/birds/members",
    "/tokens/1/revoke",
    "/models/detector/retention/policies",
    "/models/detector/inferences/i/protection",
]


@pytest.mark.parametrize("address", FORMS)
def test_one_comes_back_to_the_page_with_the_form(address, client, detector):
    response = client.post(address, headers={"referer": f"http://testserver{PAGE}"})
    assert response.status_code == 302
    led = urlsplit(response["Location"])
    assert (led.path, parse_qs(led.query)) == ("/login/", {"next": [PAGE], "unsent": ["1"]})
    assert b"what you sent was not done" in client.get(response["Location"]).content


@pytest.mark.parametrize("page", ["https://elsewhere.example/", "//elsewhere.example/a", "javascript:x", ""])
def test_nobody_else_says_where_one_comes_to(page, client, detector):
    response = client.post(FORMS[0], headers={"referer": page} if page else {})
    assert parse_qs(urlsplit(response["Location"]).query)["next"] == ["/"]


def test_a_login_of_ones_own_accord_says_nothing(client, db):
    assert b"not done" not in client.get("/login/?next=/tokens/").content


@pytest.mark.parametrize("address", [PAGE, "/models/detector/inferences/i/metadata"])
def test_what_a_page_asks_for_by_itself_has_the_whole_page_loaded_anew(address, client, detector):
    store_seen(detector, "i")
    method = client.post if address.endswith("metadata") else client.get
    response = method(address, headers={"hx-request": "true"})
    assert response["HX-Refresh"] == "true"
    assert response.content == b""


@pytest.mark.parametrize("address", FORMS)
def test_an_address_that_takes_forms_says_so(address, page, detector):
    response = page(address)
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert b"only takes what a form sends" in response.content
    led = b'href="/models/detector/"' if address.startswith("/models/") else b'href="/"'
    assert led in response.content


class Slow(FakePayload):
    """A form; something happens while it comes."""

    def __init__(self, content, happens):
        super().__init__(content)
        self.happens = happens

    def read(self, *size):
        self.happens()
        return super().read(*size)


def test_who_loses_the_account_while_a_form_comes_does_nothing(client, detector):
    store_seen(detector, "i")
    client.force_login(make_member(detector, "a-editor", Role.EDITOR))
    form = urlencode({"id": "i", "typed": "1"}).encode()

    def deactivate():
        User.objects.filter(pk=client.session["_auth_user_id"]).update(is_active=False)

    sent = {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(form))}
    response = client.generic("POST", FORMS[1], **sent, **{"wsgi.input": Slow(form, deactivate)})
    assert response.status_code == 302
    assert response["Location"].startswith("/login/")
    assert detector.inferences.count() == 1


def test_the_api_answers_as_ever(client, db):
    response = client.delete("/api/inference-store/v1/models")
    assert response["Content-Type"].startswith("application/json")
