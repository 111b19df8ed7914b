"""Who may see which page: nobody logs in first, a stranger finds nothing."""

import pytest
from django.urls import reverse

from tests.dashboard.conftest import store_seen
from tests.making import make_user

PAGES = ["inferences", "inference", "thumbnail", "excerpt", "download"]


def address(name):
    return reverse(f"dashboard:{name}", args=["detector"] if name == "inferences" else ["detector", "one"])


@pytest.fixture
def stored(detector):
    store_seen(detector, "one")


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_sent_to_log_in(name, client, stored):
    response = client.get(address(name))
    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=")


@pytest.mark.parametrize("name", PAGES)
def test_a_stranger_finds_nothing(name, client, stored):
    client.force_login(make_user("mallory"))
    response = client.get(address(name))
    assert response.status_code == 404
    assert b"kestrel" not in response.content


@pytest.mark.parametrize("name", PAGES)
def test_a_viewer_is_let_in(name, page, stored):
    assert page(address(name)).status_code in {200, 204, 302}


@pytest.mark.parametrize("name", PAGES)
def test_pages_only_read(name, client, carol, stored):
    client.force_login(carol)
    assert client.post(address(name)).status_code == 405


@pytest.mark.parametrize("path", ["/models/none/", "/models/detector/inferences/none/", "/models/a%00b/"])
def test_what_is_not_there_is_not_found(path, page, stored):
    assert page(path).status_code == 404


def test_a_nul_in_an_id_is_not_found(page, stored):
    assert page("/models/detector/inferences/a%00b/").status_code == 404


def test_home_lists_only_what_one_may_see(client, stored):
    client.force_login(make_user("mallory"))
    response = client.get("/")
    assert b"detector" not in response.content
    assert b"You are in no project yet" in response.content


def test_logging_in_and_out(client, carol):
    response = client.post("/login/", {"username": "carol", "password": "a secret"})
    assert response["Location"] == "/"
    assert client.get("/").status_code == 200
    assert client.post("/logout/").status_code == 302
    assert client.get("/").status_code == 302


def test_a_wrong_password_says_so(client, carol):
    response = client.post("/login/", {"username": "carol", "password": "guess"})
    assert b'role="alert"' in response.content


def test_logging_in_leads_to_no_other_host(client, carol):
    data = {"username": "carol", "password": "a secret", "next": "https://elsewhere.example/"}
    assert client.post("/login/", data)["Location"] == "/"


def test_the_policy_is_strict_on_pages_and_looser_for_styles_in_the_admin(client, db):
    policy = client.get("/login/")["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    admin = client.get("/admin/login/")["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline'" in admin
    assert "script-src 'self';" in admin


JOB_ID = "6b9c3f0e-0000-4000-8000-000000000000"
JOB_PAGES = ["exports/", "exports/new", "retention/"]
OF_ONE_JOB = [
    f"exports/{JOB_ID}/download",
    f"retention/tasks/{JOB_ID}/",
    f"retention/tasks/{JOB_ID}/preview.csv",
]


@pytest.mark.parametrize("path", JOB_PAGES + OF_ONE_JOB)
def test_pages_of_jobs_are_for_members(path, client, detector, carol):
    address = f"/models/detector/{path}"
    assert client.get(address)["Location"].startswith("/login/?next=")
    client.force_login(make_user("mallory"))
    assert client.get(address).status_code == 404
    client.force_login(carol)
    assert client.get(address).status_code == (200 if path in JOB_PAGES else 404)


@pytest.mark.parametrize("path", ["", *JOB_PAGES])
def test_a_models_pages_lead_to_each_other(path, page, detector):
    text = page(f"/models/detector/{path}").content.decode()
    for other in ("", "exports/") if path == "exports/new" else ("", "exports/", "retention/"):
        assert f'href="/models/detector/{other}"' in text
