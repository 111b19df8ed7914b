"""Who guesses passwords is locked out, there and under that name alone."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.core.management import call_command
from django.db.models import F
from django.test import Client

from inference_store.models import AuditRecord, User

PAGES = ["/login/", "/admin/login/"]
RIGHT = "kestrel-over-the-harbour"


@pytest.fixture(autouse=True)
def people(db):
    for name in ("alice", "bob"):
        User.objects.create_user(name, password=RIGHT, is_staff=True)


def tried(client, password, name="alice", page="/login/", address="203.0.113.7"):
    return client.post(page, {"username": name, "password": password}, REMOTE_ADDR=address)


def guess(client, settings, page="/login/"):
    """As often as locks; the last answer."""
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        assert tried(client, "wrong", page=page).status_code == 200
    return tried(client, "wrong", page=page)


@pytest.mark.parametrize("page", PAGES)
def test_too_many_wrong_passwords_lock(client, settings, page):
    response = guess(client, settings, page)
    assert response.status_code == 429
    assert response["Retry-After"] == "900"
    assert "closed for 15 minutes" in response.content.decode()
    for other in PAGES:
        assert tried(client, RIGHT, page=other).status_code == 429


def test_elsewhere_and_under_another_name_one_gets_in(client, settings):
    guess(client, settings)
    assert tried(client, RIGHT, address="203.0.113.8").status_code == 302
    assert tried(client, RIGHT, name="bob").status_code == 302


def test_a_forged_address_does_not_help(client, settings):
    guess(client, settings)
    data = {"username": "alice", "password": RIGHT}
    forged = {"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "198.51.100.1"}
    assert client.post("/login/", data, **forged).status_code == 429


def test_it_ends_with_its_time(client, settings):
    guess(client, settings)
    past = F("attempt_time") - settings.AXES_COOLOFF_TIME - timedelta(seconds=1)
    AccessAttempt.objects.update(attempt_time=past)
    assert tried(client, RIGHT).status_code == 302


def test_a_success_forgets_what_was_wrong_before(client, settings):
    for _ in range(3):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            tried(client, "wrong")
        assert tried(client, RIGHT).status_code == 302
        client.post("/logout/")


def test_an_administrator_unlocks(client, settings):
    guess(client, settings)
    call_command("axes_reset_username", "alice", verbosity=0)
    assert tried(client, RIGHT).status_code == 302


def test_a_superuser_unlocks_on_the_admin_site(client, settings):
    guess(client, settings)
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    listed = "/admin/axes/accessattempt/"
    shown = root.get(listed).content.decode()
    assert "alice" in shown
    assert "203.0.113.7" in shown
    assert "not locked" not in shown
    attempt = AccessAttempt.objects.get()
    assert "kestrel" not in root.get(f"{listed}{attempt.pk}/change/").content.decode()
    response = root.post(listed, {"action": "unlock", "_selected_action": attempt.pk}, follow=True)
    assert "Unlocked: alice at 203.0.113.7." in response.content.decode()
    record = AuditRecord.objects.filter(action="other.change").get()
    assert "alice at 203.0.113.7" in record.details
    assert tried(client, RIGHT).status_code == 302


def test_no_password_is_kept(client):
    tried(client, "a-guess-that-is-nearly-right")
    assert "a-guess" not in repr(list(AccessAttempt.objects.values()))
