"""Signing in and out in real Chromium, under the pages' own policy."""

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import Complaints

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_signing_in_and_out(provider, chromium, live_server, settings):
    settings.OIDC_LOGOUT = True
    complaints = Complaints()
    context = chromium.new_context(base_url=live_server.url)
    page = context.new_page()
    complaints.watch(page, urlsplit(live_server.url).netloc)
    page.goto("/login/?next=/help/")
    assert Axe().run(page).violations_count == 0
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.get_by_label("User").fill("ada")
    page.get_by_label("Password").fill("ada at the provider")
    page.get_by_role("button", name="Enter").click()
    page.wait_for_url(f"{live_server.url}/help/")
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Log out").click()
    # By way of the provider, which ends its session and sends back.
    page.wait_for_url(f"{live_server.url}/login/**")
    page.goto("/")
    assert "/login/" in page.url
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.get_by_label("User").wait_for()  # the provider knows nobody any more
    context.close()
    at_provider = urlsplit(provider.url).netloc
    assert [each for each in complaints if at_provider not in each] == []
