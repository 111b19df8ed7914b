"""Every URL of the URL conf × everybody × every method (fault 14).

Who may do what stands in three tables by hand; a route that is missing there fails, as does a line without
a route. Refused calls change no row of any table and no file; those let through work, on real objects.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, get_resolver

from tests.access.admin_table import ADMIN_SITE
from tests.access.api_table import API, DECIDED_INSIDE
from tests.access.expecting import May, Who
from tests.access.page_table import PAGES
from tests.access.routes import METHODS, ROUTES, SAFE, Route
from tests.access.world import PEOPLE, TOKENS, World, digest, make_world

pytestmark = pytest.mark.django_db
TABLES = {"api": API, "admin": ADMIN_SITE, "page": PAGES}
ONLY_FORMS = ("GET", "HEAD", "POST")
"""What pages take at all; anything else is refused before anybody asks who it is."""


NO_FORMS = {"healthz", "readyz", "metrics", "admin:(?P<url>.*)$"}
"""Where a form would lead elsewhere, or nowhere."""


def test_every_route_has_its_line_and_every_line_its_route() -> None:
    for door, table in TABLES.items():
        assert {route.name for route in ROUTES if route.door == door} == set(table)


def test_no_two_routes_have_one_name() -> None:
    names = [route.name for route in ROUTES]
    assert sorted(names) == sorted(set(names))


OF_API = [route for route in ROUTES if route.door == "api"]


@pytest.mark.parametrize("route", OF_API, ids=lambda each: each.name)
def test_the_declarations_of_the_api_are_the_tables(route: Route) -> None:
    view = getattr(route.view, "view_class", None)
    for method, line in API[route.name].items():
        declared = getattr(getattr(view, method.lower(), None), "operation", None)
        if declared is None:
            continue
        assert declared.scopes == line.scopes, method
        if (route.name, method) not in DECIDED_INSIDE:
            assert declared.role == line.role, method


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Made once; what a call that is let through changes is taken back."""
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    blob_root: Path = tmp_path_factory.mktemp("blobs")
    with (
        django_db_blocker.unblock(),
        override_settings(STORAGES=plain, BLOB_ROOT=blob_root, TOKEN_FAILURES=0),
        transaction.atomic(),
    ):
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def before(world: World) -> dict[str, Any]:
    return digest()


@pytest.mark.parametrize("route", ROUTES, ids=lambda each: each.name)
def test_matrix(route: Route, world: World, before: dict[str, Any]) -> None:
    let_through = []
    for method in METHODS:
        for line in lines_of(route, method):
            for who in callers(route):
                statuses = line.expected(who) if line else refused_method(route, method, who)
                if statuses is None:
                    let_through.append((method, line, who))
                    continue
                answer = call(world, route, method, line, who)
                assert answer.status_code in statuses, told(method, who, answer)
                check_refusal(route, answer, who)
    assert changed(before) == set(), "refused calls changed something"
    for method, line, who in let_through:
        with transaction.atomic():
            answer = call(world, route, method, line, who)
            assert answer.status_code in line.ok, told(method, who, answer)
            if method not in SAFE and line.changes:
                assert changed(before), told(method, who, answer)
            transaction.set_rollback(True)
    assert changed(before) - {"files"} == set()


def callers(route: Route) -> list[Who]:
    """People, by token at the API and by session at pages; and those whose credential is no good there."""
    return [*PEOPLE, *TOKENS] if route.door == "api" else PEOPLE


def lines_of(route: Route, method: str) -> tuple[May | None, ...]:
    table = TABLES[route.door][route.name]
    found = table.get("GET" if method == "HEAD" else method)
    return found if isinstance(found, tuple) else (found,)


def refused_method(route: Route, method: str, who: Who) -> tuple[int, ...]:
    """Nobody learns less of a method than that they must log in."""
    if route.door == "api":
        return (405, 401) if who.rank is None else (405,)
    if method in ONLY_FORMS and who.rank is None:
        return (405, 302, 200)
    return (405, 302) if route.door == "admin" and not who.is_staff else (405,)


def address(world: World, route: Route, line: May | None) -> str:
    given = world.keys | (line.arguments if line else {})
    if "object_id" not in given and (model := re.search(r"(?:inference_store|axes)/(\w+)/", route.pattern)):
        given["object_id"] = given.get(model[1], "1")
    given.setdefault("object_id", "1")
    given.setdefault("id", world.keys["user"])
    path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route.pattern).replace("^", "").replace("$", "")
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(given[found[1]]), path)
    if route.name == "api:unknown":
        path += "no/such/thing"
    return f"/{path}{line.query if line else ''}"


def call(
    world: World, route: Route, method: str, line: May | None, who: Who, by_session: bool = False
) -> Any:
    body = world.filled(line.body) if line else None
    where = address(world, route, line)
    if route.door == "api":
        content = json.dumps(body).encode() if body is not None and method not in SAFE else b""
        extra = {"content_type": "application/json"} if content else {}
        if by_session:
            return world.browser(who).generic(method, where, content, **extra)
        return Client().generic(method, where, content, **extra, **world.bearer(who))
    client = world.browser(who)
    cookies = dict(client.cookies)
    answer = client.post(where, body or {}) if method == "POST" else client.generic(method, where)
    # Messages, and what logging in and out does to the cookies, are no matter of the next call.
    client.cookies.clear()
    client.cookies.update(cookies)
    return answer


def check_refusal(route: Route, answer: Any, who: Who) -> None:
    if route.door == "api" and answer.status_code >= 400 and answer.content:
        assert set(answer.json()) == {"error", "code", "fields"}
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"].startswith("Bearer")
    if route.door == "page" and who.rank is None:
        if answer.status_code == 302:
            assert answer["Location"].startswith("/login/?next=")
        elif answer.status_code == 200:
            assert answer["HX-Refresh"] == "true"
            assert not answer.content


def changed(before: dict[str, Any]) -> set[str]:
    now = digest()
    return {name for name in now if now[name] != before.get(name)}


def told(method: str, who: Who, answer: Any) -> str:
    where = answer.headers.get("Location", "")
    content = b"" if answer.streaming else answer.content
    return f"{method} by {who.name}: {answer.status_code} {where} {content[:600]!r}"


def test_the_walk_finds_what_django_finds() -> None:
    def count(patterns: Any) -> int:
        return sum(1 if isinstance(each, URLPattern) else count(each.url_patterns) for each in patterns)

    assert len(ROUTES) == count(get_resolver().url_patterns)


BY_SESSION = [route for route in ROUTES if route.door != "api"]


@pytest.mark.parametrize("route", BY_SESSION, ids=lambda each: each.name)
def test_a_form_without_its_csrf_token_is_refused(route: Route, world: World, before: dict[str, Any]) -> None:
    """From another site a session's cookie may come along; its token can't."""
    if "POST" not in TABLES[route.door][route.name] or route.name in NO_FORMS:
        return
    client = Client(enforce_csrf_checks=True)
    client.cookies.update(world.browsers["superuser"].cookies)
    for line in lines_of(route, "POST"):
        body = world.filled(line.body) if line else None
        assert client.post(address(world, route, line), body or {}).status_code == 403
    assert changed(before) == set()


@pytest.mark.parametrize("route", OF_API, ids=lambda each: each.name)
def test_a_session_is_no_token(route: Route, world: World, before: dict[str, Any]) -> None:
    """The API reads no cookie, so that no other site can make use of one."""
    root, nobody = Who("superuser", None), Who("nobody", None)
    for method in METHODS:
        for line in lines_of(route, method):
            answer = call(world, route, method, line, root, by_session=True)
            refused = line.expected(nobody) or line.ok if line else (401, 405)
            assert answer.status_code in refused, told(method, root, answer)
    assert changed(before) == set()
