"""An analyst's first minutes, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import assert_not_sideways, log_in

pytestmark = pytest.mark.browser

PAGES = ["/", "/models/detector/", "/models/detector/?view=table&label=owl", "/models/empty/"]
PAGES += ["/models/detector/inferences/i-59/"]


def test_log_in_filter_page_and_open(open_page, complaints):
    page = open_page(logged_in=False)
    page.goto("/models/detector/")
    expect(page).to_have_url(re.compile(r"/login/\?next="))
    log_in_here(page)
    expect(page.locator(".count")).to_have_text("60 inferences")

    page.get_by_role("checkbox", name="kestrel").check()
    page.get_by_placeholder("lowest").fill("0.1")
    page.get_by_placeholder("key, or key.path in JSON").fill("run")
    page.get_by_placeholder("value; for in: [a, b]").fill("8")
    page.get_by_label("Relation").select_option(">=")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(
        re.compile(r"\?label=kestrel&minimum_score=0\.1&metadata=run%3Aint%3A%3E%3D%3A8$")
    )
    expect(page.locator(".count")).to_have_text("35 inferences match")
    expect(page.locator(".chip-words")).to_have_text(["label kestrel", "score ≥ 0.1", "run ≥ 8"])

    page.get_by_text("label kestrel").click()
    expect(page.locator(".count")).to_have_text("52 inferences match")
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("[data-item]")).to_have_count(4)
    page.go_back()
    expect(page.locator("[data-item]")).to_have_count(48)

    page.get_by_role("link", name="i-58").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("i-58")
    expect(page.locator(".overlay .shape")).to_have_count(1)
    expect(page.locator(".overlay-words text")).to_have_text("kestrel 0.97")
    expect(page.locator(".figure img")).to_have_js_property("naturalWidth", 320)
    assert complaints == []


def log_in_here(page):
    page.get_by_label("Name").fill("carol")
    page.get_by_label("Password").fill("a secret")
    page.get_by_role("button", name="Log in").click()


def test_shapes_lie_on_their_picture(open_page):
    """The box of the shapes is the picture's, at every width."""
    for width in (390, 1_600):
        page = open_page(width)
        page.goto("/models/detector/inferences/i-58/")
        picture = page.locator(".figure img").bounding_box()
        shape = page.locator(".figure .shape").bounding_box()
        scale = picture["width"] / 320
        assert abs(shape["x"] - (picture["x"] + 4 * scale)) < 3
        assert abs(shape["width"] - 16 * scale) < 6
        assert page.locator(".overlay-words text").evaluate("t => getComputedStyle(t).fontSize") == "12px"


def test_no_page_scrolls_sideways_or_complains(open_page, complaints):
    page = open_page()
    for address in PAGES:
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert_not_sideways(page, address)
    assert complaints == []


def test_the_apis_page_is_as_dark_as_the_others(open_page, complaints):
    page = open_page(theme="dark")
    page.goto("/api/inference-store/v1/docs")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Inference Store")

    def lightness():
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert lightness() < 50
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_contain_class("dark-mode")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert lightness() < 50
    assert_not_sideways(page, "the API's page")
    page.get_by_role("link", name="Inference Store").click()
    expect(page).to_have_url(re.compile("/$"))
    assert complaints == []


def test_a_wrong_filter_shows_the_field(open_page):
    page = open_page()
    response = page.goto("/models/detector/?minimum_score=high")
    assert response.status == 400
    expect(page.get_by_placeholder("lowest")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#minimum_score-error")).to_contain_text("number")
    expect(page.locator("[data-item]")).to_have_count(0)


def test_u_leads_to_the_list_as_it_was(open_page):
    page = open_page()
    page.goto("/models/detector/?label=kestrel")
    for _ in range(20):
        page.keyboard.press("j")
    where = page.evaluate("scrollY")
    assert where > 0
    page.keyboard.press("Enter")
    page.wait_for_url("**/inferences/**")
    page.keyboard.press("u")
    page.wait_for_url("**/?label=kestrel")
    expect(page.locator("html")).to_have_js_property("scrollTop", where)


def test_keys(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    page.keyboard.press("/")
    expect(page.get_by_role("checkbox", name="kestrel")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("[data-item]").nth(1)).to_have_class(re.compile("is-current"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("i-58")
    page.wait_for_load_state()  # its script listens by then
    page.keyboard.press("u")
    expect(page.locator(".count")).to_have_text("60 inferences")
    assert complaints == []


def test_the_filter_folds_on_a_phone(open_page):
    page = open_page(390)
    page.goto("/models/detector/")
    expect(page.get_by_role("button", name="Apply")).to_be_hidden()
    page.locator(".filter > summary").click()
    expect(page.get_by_role("button", name="Apply")).to_be_visible()


def test_the_theme_is_kept(open_page):
    page = open_page(theme="light")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.goto("/models/detector/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_it_works_without_javascript(chromium, live_server, birds):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto("/models/detector/")
    page.get_by_role("checkbox", name="owl").check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"/models/detector/\?label=owl$"))
    expect(page.locator(".count")).to_have_text("20 inferences match")
    context.close()
