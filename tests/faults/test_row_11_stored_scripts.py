"""Scripts that somebody has stored never run in a browser: in uploads, ids, labels, metadata, names.

In real Chromium. A canary is set if one runs; what is only blocked by the policy is found too, for nothing
that was stored may become an element at all.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import Error as BrowserError

from inference_store.models import Inference, Membership, Project, RegisteredModel, Role, SavedView
from tests.access.page_table import PAGES
from tests.access.routes import ROUTES, Route
from tests.access.test_matrix import address
from tests.access.world import MODEL, PEOPLE, World, make_world
from tests.dashboard.conftest import box, picture_bytes, store_seen

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

ELEMENTS = [
    "<img data-canary src=x onerror=canary()>",
    '"><svg data-canary onload=canary()>',
    "'-canary()-'",
    "</script><script data-canary>canary()</script>",
    "<iframe data-canary srcdoc='<script>parent.canary()</script>'>",
    "{{constructor.constructor('canary()')()}}",
    "javascript:canary()",
]
NO_SLASH = "<img data-canary src=x onerror=canary()>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='canary()'><script>canary()</script></svg>"
HTML = b"<!doctype html><title>x</title><body onload=canary()><script>document.title='ran';canary()</script>"
UPLOADS = {"svg": SVG, "html": HTML, "xhtml": b"<?xml version='1.0'?>" + HTML}
UPLOADS["picture and page"] = picture_bytes() + HTML
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
WATCH = """
window.ran = false;
window.canary = () => { window.ran = true; };
addEventListener('securitypolicyviolation', event => {
  (window.violations = window.violations || []).push(event.violatedDirective + ' ' + event.blockedURI);
});
"""


@pytest.fixture
def world() -> World:
    """Something of everything, all of which is named by who means harm."""
    made = make_world()
    model = RegisteredModel.objects.get(model_id=MODEL)
    store_seen(
        model,
        NO_SLASH,
        content=picture_bytes(320, 240),
        entries=[box(label) for label in ELEMENTS],
        metadata=[
            *((f"{payload} {number}", "string", payload) for number, payload in enumerate(ELEMENTS)),
            (
                "json",
                "json",
                '{"<img data-canary src=x onerror=canary()>": "<svg data-canary onload=canary()>"}',
            ),
            ("number", "int", "7"),
        ],
        source=ELEMENTS[0],
        place=(47.5, 9.5),
        embedding=[1.0, 0.5, 0.0],
    )
    for number, content in enumerate(UPLOADS.values()):
        store_seen(model, f"upload-{number}", content=content)
    Project.objects.filter(project_id="birds").update(name=ELEMENTS[0])
    SavedView.objects.update(name=ELEMENTS[1], query="label=" + quote(ELEMENTS[0]))
    made.people["editor"].username = ELEMENTS[0]
    made.people["editor"].save()
    # The audit log has it all.
    secret = made.bearer(next(who for who in PEOPLE if who.name == "editor"))
    posted = Client().post(
        f"/api/inference-store/v1/models/{MODEL}/inferences/{quote(NO_SLASH, safe='')}/metadata",
        {"key": ELEMENTS[1], "type": "string", "value": ELEMENTS[0]},
        content_type="application/json",
        headers={"User-Agent": ELEMENTS[0], "X-Request-ID": "abc"},
        **secret,
    )
    assert posted.status_code in (200, 201), posted.content
    assert Membership.objects.filter(role=Role.ADMIN).exists()
    made.keys["inference_id"] = quote(NO_SLASH, safe="")
    return made


@pytest.fixture
def context(chromium: Browser, live_server: Any, world: World) -> Iterator[BrowserContext]:
    opened = chromium.new_context(base_url=live_server.url)
    opened.add_init_script(WATCH)
    session = world.browsers["superuser"].cookies[django_settings.SESSION_COOKIE_NAME].value
    opened.add_cookies(
        [{"name": django_settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}]
    )
    yield opened
    opened.close()


def check(page: Page, where: str) -> None:
    """That nothing of what was stored ran or became an element, now and after scripts of the page's own."""
    expect(page.locator(".htmx-request")).to_have_count(0)
    assert page.evaluate("window.ran") is False, f"a stored script ran: {where}"
    assert page.locator("[data-canary]").count() == 0, f"what was stored became an element: {where}"
    assert page.evaluate("window.violations || []") == [], where
    assert page.locator("a[href^='javascript:' i]").count() == 0, where


def has_page(route: Route) -> bool:
    """Whether there is something to look at by an address alone."""
    apart = {"dashboard:thumbnail", "dashboard:crop", "dashboard:download", "dashboard:download_export"}
    apart |= {
        "dashboard:download_audit",
        "dashboard:download_preview",
        "dashboard:excerpt",
        "healthz",
        "readyz",
        "metrics",
    }
    return route.door == "page" and "GET" in PAGES[route.name] and route.name not in apart


MORE = [
    f"/models/{MODEL}/?view=table&columns=all",
    f"/models/{MODEL}/?view=rows",
    f"/models/{MODEL}/?view=map",
    f"/models/{MODEL}/?label={quote(ELEMENTS[0])}&data_source={quote(ELEMENTS[1])}",
    f"/models/{MODEL}/?metadata={quote(ELEMENTS[0])}&start={quote(ELEMENTS[1])}&cursor={quote(ELEMENTS[3])}",
    f"/models/{MODEL}/?similar_to={quote(NO_SLASH)}",
    f"/models/{MODEL}/suggestions?field=label&label=",
    f"/models/{MODEL}/charts/one?chart=metadata&key={quote(ELEMENTS[0] + ' 0')}&type=string",
    f"/login/?next={quote('javascript:canary()')}",
    f"/models/{quote(NO_SLASH)}/",
    "/admin/",
    "/admin/inference_store/user/",
    "/admin/inference_store/project/",
    "/admin/inference_store/auditrecord/",
]


def test_on_every_page(context: BrowserContext, world: World) -> None:
    page = context.new_page()
    seen = 0
    for route in filter(has_page, ROUTES):
        lines = PAGES[route.name]["GET"]
        for line in lines if isinstance(lines, tuple) else (lines,):
            page.goto(address(world, route, line))
            check(page, route.name)
            seen += "canary" in page.content()
    for where in MORE:
        page.goto(where)
        check(page, where)
        seen += "canary" in page.content()
    assert seen > 20, "the pages do not even show what was stored"


def test_what_scripts_of_a_page_put_there(context: BrowserContext, world: World) -> None:
    """Suggestions, and what opens when somebody clicks."""
    page = context.new_page()
    page.goto(f"/models/{MODEL}/inferences/{quote(NO_SLASH, safe='')}/")
    page.evaluate(OPEN_ALL)
    check(page, "an inference's page with everything open")
    page.goto(f"/models/{MODEL}/")
    page.evaluate(OPEN_ALL)
    for field in page.locator("main input[type=text]:visible, main input[type=search]:visible").all()[:6]:
        field.fill("<img")
        field.press("ArrowDown")
    check(page, "the filter with everything open")


def test_an_upload_that_is_a_page_is_saved_and_never_shown(
    context: BrowserContext, world: World, live_server: Any
) -> None:
    page = context.new_page()
    for number, name in enumerate(UPLOADS):
        where = f"/models/{MODEL}/inferences/upload-{number}"
        with page.expect_download() as saved, pytest.raises(BrowserError, match=r"Download|ERR_ABORTED"):
            page.goto(f"{where}/input")
        assert saved.value.url.startswith(live_server.url), name
        assert urlsplit(saved.value.url).path.startswith("/api/"), name
        saved.value.cancel()
        # As text, as a picture made anew, and beside what was inferred.
        page.goto(f"{where}/excerpt") if number < 3 else page.goto(f"{where}/thumbnail")
        assert page.evaluate("window.ran") is False, name
        assert page.title() != "ran"
        page.goto(f"{where}/")
        check(page, name)
    assert Inference.objects.filter(inference_id__startswith="upload-").count() == len(UPLOADS)
