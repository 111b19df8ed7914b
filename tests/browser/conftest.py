"""Real Chromium against the running pages; whatever it complains about fails the test."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core.signals import request_finished, request_started
from playwright.sync_api import Browser, Page

from inference_store.contract.enums import TaskType
from tests.dashboard.conftest import (  # noqa: F401
    box,
    picture_bytes,
    quick_passwords,
    store_seen,
)
from tests.making import LONG_AGO, make_model, make_project, make_user


class Complaints(list[str]):
    """What the browser complained of: console, scripts, policy, other hosts, answers."""

    def watch(self, page: Page, host: str) -> None:
        page.on("console", lambda line: self.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith("data:") or urlsplit(request.url).netloc == host
                else self.append(request.url)
            ),
        )
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective))"
        )


class Requests:
    """Those that the server is answering: a page that is closed leaves some behind."""

    def __init__(self) -> None:
        self._running = 0
        self._changed = threading.Condition()

    def started(self, **signal: object) -> None:
        with self._changed:
            self._running += 1

    def finished(self, **signal: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Until the last is answered: what the test made may go only then."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._running, timeout=60), "a request goes on and on"


@pytest.fixture
def requests_under_way() -> Iterator[Requests]:
    requests = Requests()
    request_started.connect(requests.started)
    request_finished.connect(requests.finished)
    yield requests
    request_started.disconnect(requests.started)
    request_finished.disconnect(requests.finished)


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def birds(transactional_db: None) -> None:
    """A viewer, carol, and a detector's 60 inferences with pictures, one of them hostile."""
    project = make_project("birds", viewer=make_user("carol"))
    model = make_model("detector", task=TaskType.OBJECT_DETECTION, project=project)
    for number in range(60):
        store_seen(
            model,
            f"i-{number:02}",
            content=picture_bytes(320, 240, colour=(4 * number, 120, 90)),
            entries=[box("kestrel" if number % 3 else "owl", number / 60)],
            metadata=[("run", "int", str(number)), ("weather", "json", '{"temp": 3}')],
            source="<script>alert(1)</script>" if number == 59 else "harbour",
            place=(47.5, 9.5),
            created_at=LONG_AGO + timedelta(hours=number),
        )
    make_model("empty", project=project)


@pytest.fixture
def open_page(chromium: Browser, live_server, birds, complaints, requests_under_way):  # type: ignore[no-untyped-def]
    """A new page of that width in that theme, logged in unless told otherwise."""
    contexts = []

    def opened(width: int = 1_600, theme: str = "light", logged_in: bool = True) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme=theme,  # type: ignore[arg-type]
        )
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page, urlsplit(live_server.url).netloc)
        if logged_in:
            log_in(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    requests_under_way.wait()


def log_in(page: Page) -> None:
    page.goto("/login/")
    page.get_by_label("Name").fill("carol")
    page.get_by_label("Password").fill("a secret")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")


WIDTHS, THEMES = (390, 1_024, 1_600), ("light", "dark")


def assert_not_sideways(page: Page, what: str) -> None:
    """The page that is open scrolls up and down only, however wide the window is, in either theme."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            across = page.evaluate("document.documentElement.scrollWidth")
            assert across <= width, f"{what}, {width} wide, {theme}"
