"""Charts in a real browser: they come by themselves, bars lead on, and dragging narrows."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import log_in

pytestmark = pytest.mark.browser

SOON = 15_000


def chart(page, title):
    return page.get_by_role("region", name=title, exact=True)


def test_charts_come_after_the_results_and_bars_lead_on(open_page, complaints):
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/models/detector/")
    labels = chart(page, "Labels")
    expect(labels).to_contain_text("60 entries", timeout=SOON)
    assert "/charts/one?" not in asked[0]
    labels.get_by_role("link", name="owl").click()
    expect(page).to_have_url(re.compile(r"\?label=owl$"))
    expect(page.locator(".count")).to_have_text("20 inferences match")
    expect(chart(page, "Labels")).to_contain_text("20", timeout=SOON)
    expect(chart(page, "Labels").get_by_role("link", name="owl")).to_have_attribute("aria-current", "true")
    expect(chart(page, "run").locator(".chart-total")).to_have_text("20 inferences", timeout=SOON)
    assert complaints == []


def test_a_bar_of_numbers_narrows(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    bars = chart(page, "run").locator("svg a")
    expect(bars).to_have_count(12, timeout=SOON)
    bars.nth(2).hover()
    expect(chart(page, "run").locator("[data-told]")).to_have_text("10 to 14: 5")
    bars.nth(2).click()
    expect(page).to_have_url(
        re.compile(r"\?metadata=run%3Aint%3A%3E%3D%3A10&metadata=run%3Aint%3A%3C%3D%3A14$")
    )
    expect(page.locator(".count")).to_have_text("5 inferences match")
    chart(page, "run").get_by_role("link", name="All of run").click(timeout=SOON)
    expect(page.locator(".count")).to_have_text("60 inferences")
    assert complaints == []


def test_brushing_narrows_to_the_bars(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    drawing = chart(page, "Scores").locator("svg.columns")
    expect(drawing).to_be_visible(timeout=SOON)
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.26, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    expect(drawing.locator(".is-brushed")).to_have_count(4)
    page.mouse.move(box["x"] + box["width"] * 0.49, y)
    page.mouse.up()
    expect(page).to_have_url(
        re.compile(r"\?minimum_score=0\.25&maximum_score=0\.49999999999999994$"), timeout=SOON
    )
    expect(page.locator(".count")).to_have_text("15 inferences match")
    assert complaints == []


def test_a_range_is_typed_by_keyboard(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?data_source=harbour")
    run = chart(page, "run")
    expect(run.locator("svg")).to_be_visible(timeout=SOON)
    run.locator("summary").focus()
    page.keyboard.press("Enter")
    run.get_by_label("run from").fill("50")
    run.get_by_label("run until").fill("58")
    page.keyboard.press("Enter")
    expect(page.locator(".count")).to_have_text("9 inferences match", timeout=SOON)
    assert complaints == []


def test_charts_and_bins_are_chosen(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?label=owl")
    page.get_by_text("Choose charts and bins").click()
    choices = page.locator(".chart-choices")
    for name in ("Time", "Labels", "Scores"):
        choices.get_by_role("checkbox", name=name).uncheck()
    choices.get_by_label("Bins").select_option("10")
    choices.get_by_role("button", name="Show these").click()
    expect(page).to_have_url(re.compile(r"\?label=owl&charts=int%3Arun&charts=source&bins=10$"))
    expect(chart(page, "Sources")).to_contain_text("harbour", timeout=SOON)
    expect(page.locator("[data-chart]")).to_have_count(2)
    page.locator(".charts > summary").click()
    page.reload()
    expect(page.locator(".charts > summary")).to_be_visible()
    expect(page.locator("[data-chart]").first).to_be_hidden()
    assert complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_024])
def test_it_unfolds_where_there_is_little_room(open_page, complaints, width, theme):
    page = open_page(width, theme)
    page.goto("/models/detector/")
    expect(page.locator("[data-chart]").first).to_be_hidden()
    page.locator(".charts > summary").click()
    expect(chart(page, "Time")).to_contain_text("60 inferences", timeout=SOON)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


def test_a_link_shows_them_without_javascript(chromium, live_server, birds):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto("/models/detector/?label=owl")
    page.locator(".charts > summary").click()
    page.get_by_role("link", name="Show the charts").click()
    chart(page, "run").locator("summary").click()
    chart(page, "run").get_by_role("link", name="10 to 14").click()
    expect(page.locator(".count")).to_have_text("1 inference matches")
    context.close()
