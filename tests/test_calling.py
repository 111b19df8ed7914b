"""Whom the process serves: ids of requests, doors, callers, clients' addresses."""

import re
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client

from inference_store import calling
from inference_store.calling import Calling
from inference_store.models import Export, RegisteredModel, Token
from tests.cast import BASE, Cast, cast, detector  # noqa: F401

MADE = re.compile(r"[0-9a-f]{32}")


def served(response: Any) -> Calling:
    found: Calling = response.wsgi_request.META[calling.ENVIRON]
    return found


@pytest.mark.parametrize("sent", ["abc", "A-b_c.9", "x" * 64])
def test_a_well_formed_request_id_comes_back(sent: str) -> None:
    response = Client().get("/healthz", headers={"X-Request-ID": sent})
    assert response.headers["X-Request-ID"] == sent
    assert served(response).request_id == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\nb", "ä", '"', "٣"])
def test_another_is_replaced(sent: str) -> None:
    response = Client().get("/healthz", HTTP_X_REQUEST_ID=sent)
    assert MADE.fullmatch(response.headers["X-Request-ID"])


@pytest.mark.django_db
@pytest.mark.parametrize("path", [f"{BASE}/nowhere", f"{BASE}/models", "/nowhere", "/admin/"])
def test_refusals_name_their_request_too(path: str) -> None:
    assert MADE.fullmatch(Client().get(path).headers["X-Request-ID"])


def test_a_caller_of_the_api_is_known_by_their_token(cast: Cast, detector: RegisteredModel) -> None:  # noqa: F811
    response = cast.carol.get("models/detector")
    bob = cast.users["carol"]
    hint = Token.objects.get(user=bob).hint
    assert served(response) == Calling(
        response.headers["X-Request-ID"], "api", bob.pk, "carol", hint, "127.0.0.1"
    )
    assert cast.carol.token is not None
    assert cast.carol.token not in repr(served(response))
    assert served(cast.nobody.get("models/detector")).user_id is None
    assert calling.current() is None


@pytest.mark.parametrize(("path", "door"), [("/", "page"), ("/admin/", "admin")])
def test_a_page_knows_whose_session_it_is(cast: Cast, path: str, door: str) -> None:  # noqa: F811
    client = Client()
    assert (served(client.get(path)).door, served(client.get(path)).username) == (door, "")
    client.force_login(cast.users["bob"])
    assert (served(client.get(path)).door, served(client.get(path)).username) == (door, "bob")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "1.2.3.4", "10.0.0.1"),  # nobody of ours wrote it
        (1, "", "10.0.0.1"),
        (1, "1.2.3.4", "1.2.3.4"),
        (1, "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # the client wrote the first
        (2, "6.6.6.6, 1.2.3.4, 10.0.0.9", "1.2.3.4"),
        (2, "1.2.3.4", "10.0.0.1"),
        (1, "2001:DB8::1", "2001:db8::1"),
        (1, "<script>", "10.0.0.1"),
    ],
)
def test_only_our_proxies_tell_the_clients_address(
    settings: Any, proxies: int, forwarded: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    response = Client().get("/healthz", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert served(response).address == address


def test_a_job_carries_the_id_of_its_request(cast: Cast, detector: RegisteredModel) -> None:  # noqa: F811
    response = cast.bob.post("models/detector/export-tasks", {}, HTTP_X_REQUEST_ID="asked-by-bob")
    assert Export.objects.get(pk=response.json()["id"]).request_id == "asked-by-bob"


def test_a_command_is_served_for_the_systems_user() -> None:
    show = (
        "import sys, manage; from inference_store import calling; from django.core import management;"
        "management.execute_from_command_line = lambda argv: print(calling.current()); manage.main()"
    )
    said = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout
    assert "door='command'" in said
    assert f"username='{calling.of_command().username}'" in said
