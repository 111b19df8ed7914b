"""The map in a real browser, without any network but the store: look, draw, open, all by URL."""

import re

import pytest
from playwright.sync_api import expect

from inference_store.models import Inference
from tests.browser.conftest import assert_not_sideways, log_in

pytestmark = pytest.mark.browser

SOON = 15_000
PLACES = [(47.5, 9.5), (47.55, 9.4), (53.5, 9.9), (-17, 179.9), (-17, -179.9)]


@pytest.fixture
def scattered(birds):
    """A fifth of the birds in each of five places."""
    for number, row in enumerate(Inference.objects.order_by("inference_id")):
        latitude, longitude = PLACES[number % len(PLACES)]
        Inference.objects.filter(pk=row.pk).update(latitude=latitude, longitude=longitude)


@pytest.fixture
def look(scattered, open_page):
    """The map of the detector, drawn."""

    def looked(query="", **how):
        page = open_page(**how)
        page.goto(f"/models/detector/?view=map{query}")
        shown(page)
        return page

    return looked


def shown(page):
    """Wait until what lies here has come and is drawn."""
    expect(page.locator("[data-map]")).to_have_attribute("data-shown", re.compile("bounds="), timeout=SOON)
    return page


def drag(page, start, end):
    box = page.locator("[data-map]").bounding_box()
    (x, y), (to_x, to_y) = [
        (box["x"] + box["width"] * a, box["y"] + box["height"] * b) for a, b in (start, end)
    ]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    page.mouse.up()


def test_land_and_counts_without_a_network(look, complaints):
    page = look()
    land = page.locator("path.map-land")
    expect(land).to_have_count(1)
    assert len(land.get_attribute("d")) > 10_000
    expect(page.locator(".map-cell").first).to_be_visible()
    counts = page.locator(".map-cell").all_inner_texts()
    assert sum(map(int, counts)) == 60
    assert complaints == []


def test_one_comes_to_it_from_the_thumbnails(scattered, open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?label=owl")
    page.get_by_role("link", name="Map", exact=True).click()
    shown(page)
    assert sum(map(int, page.locator(".map-cell").all_inner_texts())) == 20
    assert complaints == []


def test_a_drawn_circle_becomes_the_filter(look, complaints):
    page = look("&viewport=47.5,9.5,9")
    page.get_by_role("link", name="Draw a circle").click()
    drag(page, (0.5, 0.5), (0.6, 0.6))
    expect(page).to_have_url(re.compile(r"[?&]circle=47\.\d+%2C9\.\d+%2C\d+"), timeout=SOON)
    shown(page)
    expect(page.locator(".count")).to_have_text("24 inferences match")
    expect(page.locator(".chip-words")).to_have_text(re.compile(r"^within [\d.]+ km of 47\."))
    radius = page.get_by_label("Radius in metres").input_value()
    assert int(radius) > 1_000
    expect(page.locator(".map-radius")).to_have_text(f"{int(radius):,} m")
    expect(page.locator("path.map-drawn")).to_have_count(1)

    page.get_by_label("Radius in metres").fill("500")
    page.get_by_label("Latitude").fill("47.55")
    page.get_by_label("Longitude").fill("9.4")
    page.get_by_role("button", name="Set circle").click()
    expect(page.locator(".count")).to_have_text("12 inferences match")
    page.get_by_role("link", name="Take it away").click()
    expect(page.locator(".count")).to_have_text("60 inferences")
    assert complaints == []


def test_a_rectangle_across_the_antimeridian(look, complaints):
    page = look("&viewport=-17,180,6")
    page.get_by_role("link", name="Draw a rectangle").click()
    drag(page, (0.3, 0.3), (0.7, 0.7))
    expect(page).to_have_url(re.compile(r"rectangle=-\d.*%2Ccrosses"), timeout=SOON)
    expect(page.locator(".count")).to_have_text("24 inferences match")
    shown(page)
    expect(page.locator("path.map-drawn")).to_be_visible()
    assert complaints == []


def test_a_cell_looks_closer_and_the_url_says_where(look, complaints):
    page = look()
    page.locator(".map-cell").first.click()
    expect(page).to_have_url(re.compile(r"viewport=-?\d"), timeout=SOON)
    before = page.url
    page.reload()
    shown(page)
    assert page.url == before
    assert complaints == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_cell_looks_closer_by_keyboard(look, complaints, key):
    page = look()
    before = page.url
    page.locator(".map-cell").first.focus()
    page.keyboard.press(key)
    page.wait_for_url(lambda url: "viewport=" in url and url != before)
    assert complaints == []


def test_a_place_opens_a_card_by_keyboard(look, complaints):
    page = look("&viewport=53.5,9.9,13&data_source=harbour")
    mark = page.locator(".map-point")
    expect(mark).to_have_count(1)
    expect(mark).to_have_attribute("aria-label", re.compile(r"^1[12] inferences$"))
    mark.focus()
    page.keyboard.press("Enter")
    card = page.locator(".map-popup")
    expect(card).to_be_visible()
    expect(card.get_by_role("link").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^i-\d\d$"))
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1_600])
def test_it_does_not_scroll_sideways(look, complaints, width):
    assert_not_sideways(look("&circle=47.5,9.5,9000", width=width), "the map")
    assert complaints == []


def test_it_is_a_table_without_javascript(chromium, live_server, scattered):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto("/models/detector/?view=map")
    expect(page.locator("tr[data-cell]").first).to_be_visible()
    page.locator("tr[data-cell] a").first.click()
    expect(page).to_have_url(re.compile("viewport="))
    page.get_by_label("Latitude").fill("53.5")
    page.get_by_label("Longitude").fill("9.9")
    page.get_by_label("Radius in metres").fill("100")
    page.get_by_role("button", name="Set circle").click()
    expect(page.locator(".count")).to_have_text("12 inferences match")
    context.close()
