"""What somebody bad would try with signing in by OpenID: each is refused, and nobody is logged in."""

from urllib.parse import parse_qs, urlsplit

import pytest

from inference_store.models import AuditRecord, User
from tests.making import make_user

pytestmark = pytest.mark.django_db(transaction=True)

TAMPERED = [
    "no signature",
    "public key for a secret",
    "client secret",
    "another key",
    "unknown key",
    "changed",
    "nothing",
    "audience",
    "several audiences",
    "authorized party",
    "issuer",
    "expired",
    "future",
    "nonce",
    "no nonce",
    "no exp",
    "subject",
    "no sub",
]


def refused(answer, somebody):
    assert answer.status_code == 400, answer.headers.get("Location")
    assert "You are not signed in" in answer.text
    assert not somebody.is_in
    assert User.objects.count() == 0
    assert AuditRecord.objects.filter(action="login.fail").exists()
    assert not AuditRecord.objects.filter(action="login").exists()


def test_tokens_that_are_not_the_providers_word(provider, person):
    """One after the other in one test: each is the whole way over HTTP."""
    mallory = person("ada")
    for how in TAMPERED:
        provider.tampers(how)
        answer = mallory.signs_in()
        assert answer.status_code == 400, how
        assert "could not be trusted" in answer.text, how
    refused(answer, mallory)
    provider.tampers("")
    assert mallory.signs_in().status_code == 302
    assert mallory.is_in


def test_userinfo_of_somebody_else(provider, person):
    provider.tampers("bare of another")
    mallory = person("ada")
    refused(mallory.signs_in(), mallory)


def test_a_changed_state(provider, person):
    mallory = person("ada")
    back = mallory.at_provider(mallory.begin())
    state = parse_qs(urlsplit(back).query)["state"][0]
    refused(mallory.get(back.replace(state, state[::-1])), mallory)


def test_a_code_in_a_browser_that_did_not_begin(provider, person):
    """Somebody else's account, planted by a link."""
    mallory, victim = person("ada"), person("eve")
    back = mallory.at_provider(mallory.begin())
    refused(victim.get(back), victim)
    victim.begin()
    refused(victim.get(back), victim)


def test_a_code_that_was_used(provider, person):
    ada, again = person("ada"), person("ada")
    back = ada.at_provider(ada.begin())
    assert ada.get(back).status_code == 302
    ada.browser.cookies.delete("sessionid")
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(again.begin()).query)["state"][0]
    for answer in (
        ada.get(back),  # whole, once more
        again.get("/login/oidc/callback", params={"code": code, "state": state}),  # under a state of its own
    ):
        assert answer.status_code == 400
    assert not ada.is_in
    assert not again.is_in


def test_a_stolen_code_is_no_good_without_its_verifier(provider, person):
    ada, mallory = person("ada"), person("eve")
    code = parse_qs(urlsplit(ada.at_provider(ada.begin())).query)["code"][0]
    state = parse_qs(urlsplit(mallory.begin()).query)["state"][0]
    refused(mallory.get("/login/oidc/callback", params={"code": code, "state": state}), mallory)


ELSEWHERE = [
    "https://elsewhere.example/",
    "//elsewhere.example/",
    "/\\elsewhere.example",
    "javascript:alert(1)",
]


def test_nobody_is_led_elsewhere(provider, person):
    for to in ELSEWHERE:
        mallory = person("ada")
        assert mallory.signs_in(to).headers["Location"] == "/", to
        again = mallory.get("/login/oidc/", params={"next": to})  # who is in already
        assert again.headers["Location"] == "/", to


def test_a_form_with_a_code_in_its_address_is_no_sign_in(provider, person):
    """Without a nonce of the session there would be nothing to compare."""
    mallory = person("ada")
    provider.tampers("no nonce")
    back = mallory.at_provider(mallory.begin())
    mallory.get("/login/")
    form = {"username": "ada", "password": "x", "csrfmiddlewaretoken": mallory.browser.cookies["csrftoken"]}
    answer = mallory.browser.post(f"{mallory.store}/login/?{urlsplit(back).query}", data=form)
    assert answer.status_code == 200
    assert not mallory.is_in
    assert User.objects.count() == 0


def test_a_link_logs_nobody_out(provider, client):
    client.force_login(make_user("bob"), backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get("/login/oidc/callback?error=access_denied&error_description=<b>hush</b>")
    assert answer.status_code == 403
    assert "hush" not in answer.content.decode()
    assert client.get("/").status_code == 200


def test_wrong_passwords_do_not_lock_the_other_door(provider, person, client, settings):
    make_user("ada")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post("/login/", {"username": "ada", "password": "wrong"})
    assert answer.status_code == 429
    assert person("ada").signs_in().status_code == 302
