"""What every answer tells the browser, whatever was asked and by whom."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import BASE, Cast, cast, detector  # noqa: F401

STRICT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ASKED = [
    ("GET", "/", 302),
    ("GET", "/login/", 200),
    ("GET", "/help/", 200),
    ("GET", "/nowhere", 404),
    ("PUT", "/help/", 405),
    ("POST", "/logout/", 302),
    ("GET", "/admin/login/", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", f"{BASE}/docs", 200),
    ("GET", f"{BASE}/openapi.json", 200),
    ("GET", f"{BASE}/models", 401),
    ("GET", f"{BASE}/nowhere", 404),
    ("PATCH", f"{BASE}/openapi.json", 405),
    ("GET", f"{BASE}/blobs/1/{'a' * 32}", 403),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path", "status"), ASKED)
def test_every_answer_is_strict(method: str, path: str, status: int) -> None:
    answer = Client().generic(method, path)
    assert answer.status_code == status
    for header, value in STRICT.items():
        assert answer.headers.get(header) == value, header
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-eval'" not in policy
    script = policy.partition("script-src")[2].partition(";")[0]
    assert "'unsafe-inline'" not in script
    for feature in ("camera", "microphone", "geolocation"):
        assert f"{feature}=()" in answer.headers["Permissions-Policy"]


def test_cookies_are_for_the_server_alone(cast: Cast) -> None:  # noqa: F811
    user = cast.users["bob"]
    user.set_password("kestrel-over-the-harbour")
    user.save()
    client = Client()
    client.post("/login/", {"username": "bob", "password": "kestrel-over-the-harbour"})
    session = client.cookies["sessionid"]
    assert session["httponly"]
    assert session["samesite"] == "Lax"


def test_over_https_cookies_are_this_hosts_and_hsts_is_on(cast: Cast, settings: Any) -> None:  # noqa: F811
    settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SECURE_HSTS_SECONDS = 31_536_000
    user = cast.users["bob"]
    user.set_password("kestrel-over-the-harbour")
    user.save()
    client = Client(enforce_csrf_checks=True)
    shown = client.get("/login/", secure=True)
    assert shown["Strict-Transport-Security"].startswith("max-age=31536000")
    token = client.cookies["__Host-csrftoken"]
    form = {"username": "bob", "password": "kestrel-over-the-harbour", "csrfmiddlewaretoken": token.value}
    answer = client.post("/login/", form, secure=True, headers={"Referer": "https://testserver/login/"})
    assert answer.status_code == 302
    for name in ("__Host-sessionid", "__Host-csrftoken"):
        cookie = client.cookies[name]
        assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
    assert client.get("/", secure=True).status_code == 200
