"""An inference's page in a real browser: looking closely, choosing shapes, going on, changing metadata."""

import io
import re
import subprocess

import pytest
from PIL import Image
from playwright.sync_api import expect

from inference_store.client import connection
from inference_store.contract.enums import TaskType
from inference_store.models import Inference, Membership, RegisteredModel, Role, Token, User
from tests.browser.conftest import log_in
from tests.dashboard.conftest import box, picture_bytes, store_seen
from tests.making import make_model, make_request, make_upload, store

pytestmark = pytest.mark.browser
URL = "/models/detector/inferences/"


@pytest.fixture
def editor(birds):
    Membership.objects.filter(user__username="carol").update(role=Role.ADMIN)
    return User.objects.get(username="carol")


@pytest.fixture
def detector(birds):
    return RegisteredModel.objects.get(model_id="detector")


def shown(page):
    return page.locator(".overlay-shapes .shape:visible").count()


# --- The picture --------------------------------------------------------------------------------------------
def wide_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (12_000, 1_500), (90, 120, 160)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_wide_picture_is_looked_at_closely(open_page, complaints, detector):
    far_right = {"label": "buoy", "score": 0.9, "xmin": 11_000, "ymin": 100, "xmax": 11_900, "ymax": 1_400}
    store_seen(detector, "wide", content=wide_picture(), entries=[far_right])
    page = open_page()
    page.goto(f"{URL}wide/")
    image, stage = page.locator(".figure img"), page.locator("[data-stage]")
    expect(page.locator(".figure img")).to_have_js_property("naturalWidth", 1600)
    fitted = image.bounding_box()["width"]
    page.get_by_role("button", name="Zoom in").click()
    assert image.bounding_box()["width"] == pytest.approx(1.25 * fitted, rel=0.02)
    page.get_by_role("button", name="1:1").click()
    assert image.bounding_box()["width"] == pytest.approx(12_000, abs=2)
    # More pixels come once they can be seen: 8 million of the 18.
    expect(page.locator(".figure img")).to_have_js_property("naturalWidth", 8000)
    stage.evaluate("stage => { stage.scrollLeft = 11_000 }")
    assert page.locator(".shape").bounding_box()["width"] == pytest.approx(900, abs=10)
    expect(page.locator("[data-zoom-words]")).to_have_text("100 %")

    stage.focus()
    page.keyboard.press("0")
    assert image.bounding_box()["width"] == pytest.approx(fitted, abs=2)
    expect(page.locator("[data-zoom-words]")).to_have_text("fit")
    page.keyboard.press("+")
    page.keyboard.press("-")
    assert image.bounding_box()["width"] == pytest.approx(fitted, abs=2)
    assert complaints == []


def test_the_wheel_zooms_where_it_points(open_page, detector):
    store_seen(detector, "large", content=picture_bytes(1_500, 1_000), entries=[box()])
    page = open_page()
    page.goto(f"{URL}large/")
    expect(page.locator(".figure img")).to_have_js_property("naturalWidth", 1500)
    stage, image = page.locator("[data-stage]").bounding_box(), page.locator(".figure img")
    at = (stage["x"] + 0.75 * stage["width"], stage["y"] + 0.6 * stage["height"])

    def pointed_at():
        found = image.bounding_box()
        return (at[0] - found["x"]) / found["width"], (at[1] - found["y"]) / found["height"]

    before = image.bounding_box()
    page.mouse.move(*at)
    page.mouse.wheel(0, 100)
    assert image.bounding_box()["width"] == before["width"]  # the page scrolled instead
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(*at)
    where = pointed_at()
    page.mouse.wheel(0, -500)
    expect(page.locator("[data-stage]")).to_have_class(re.compile("is-zoomed"))
    assert image.bounding_box()["width"] > 1.5 * before["width"]
    assert pointed_at() == pytest.approx(where, abs=0.01)
    page.mouse.down()
    page.mouse.move(at[0] - 100, at[1])
    page.mouse.up()
    assert pointed_at()[0] == pytest.approx(where[0] + 100 / image.bounding_box()["width"], abs=0.01)


# --- Shapes -------------------------------------------------------------------------------------------------
@pytest.fixture
def crowd(detector):
    entries = [
        {
            "label": f"kind {n % 3}",
            "score": n / 300,
            "xmin": n,
            "ymin": n / 2,
            "xmax": n + 9,
            "ymax": n / 2 + 9,
        }
        for n in range(300)
    ]
    store_seen(detector, "crowd", content=picture_bytes(320, 240), entries=entries)


def test_shapes_are_shown_by_label_and_score(open_page, complaints, crowd):
    page = open_page()
    page.goto(f"{URL}crowd/")
    assert shown(page) == 300
    expect(page.locator("tr[data-position]")).to_have_count(300)
    page.get_by_role("checkbox", name="kind 1").uncheck()
    assert shown(page) == 200
    expect(page.locator("tr[data-position]:visible")).to_have_count(200)
    expect(page.locator("[data-shown-words]")).to_have_text("200 of 300 shown")
    slider = page.get_by_role("slider")
    slider.fill("0.5")
    assert shown(page) == 100
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert shown(page) == 98
    page.get_by_role("button", name="None").click()
    assert shown(page) == 0
    page.get_by_role("button", name="All").click()
    assert shown(page) == 147
    slider.fill("0")
    assert shown(page) == 300
    expect(page.locator("[data-shown-words]")).to_have_text("")
    assert complaints == []


def test_rows_and_shapes_light_up_together(open_page, crowd):
    page = open_page()
    page.goto(f"{URL}crowd/")
    lit = page.locator(".is-lit")
    expect(page.locator(".overlay-words text")).to_have_count(0)
    page.locator("tr[data-position='298']").hover()
    expect(lit).to_have_count(3)
    expect(page.locator(".overlay-words text:visible")).to_have_text("kind 1 0.99")
    page.locator("[data-entries]").focus()
    page.mouse.move(0, 0)
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("tr.is-lit")).to_have_attribute("data-position", "297")
    expect(page.locator("path.is-lit")).to_have_attribute("data-position", "297")
    expect(page.locator("[data-lit-words]")).to_have_text("kind 0 0.99, 3 of 300")
    page.get_by_role("checkbox", name="Words").check()
    expect(page.locator(".overlay-words text:visible")).to_have_count(300)


# --- Going on -----------------------------------------------------------------------------------------------
def test_keys_go_through_the_result(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?label=owl&sort=score")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("i-57")
    for key, name in (("j", "i-54"), ("j", "i-51"), ("k", "i-54")):
        page.wait_for_load_state()  # the heading is there before the keys are
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.wait_for_load_state()
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(r"/models/detector/\?label=owl&sort=score$"))
    assert complaints == []


def test_neighbours_come_after_the_page(open_page, complaints, detector):
    task = TaskType.TEXT_EMBEDDING
    model = make_model("vectors", task=task, embedding_size=2, project=detector.project)
    for number in range(5):
        key = make_upload(model, f"words {number}".encode())
        store(model, make_request(model, f"v-{number}", embedding=[1.0, number / 9], key=key))
    page = open_page()
    page.goto("/models/vectors/inferences/v-0/")
    nearest = page.locator("[data-neighbours] li")
    expect(nearest).to_have_count(4)
    expect(nearest.first).to_contain_text("v-1")
    expect(nearest.first).to_contain_text("words 1")
    assert complaints == []


# --- Metadata -----------------------------------------------------------------------------------------------
def test_metadata_is_changed_without_leaving_the_page(open_page, complaints, editor):
    page = open_page()
    page.goto(f"{URL}i-59/?label=owl")
    page.evaluate("window.notReloaded = true")
    page.get_by_text("Add or replace").click()
    page.get_by_label("Key", exact=True).fill("reviewed")
    page.get_by_label("Type", exact=True).select_option("int")
    page.get_by_label("Value", exact=True).fill("yes")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#metadata-value-error")).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_have_value("reviewed")
    expect(page.get_by_role("button", name="Set", exact=True)).to_be_focused()
    page.get_by_label("Value", exact=True).fill("1")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#messages")).to_contain_text("reviewed is set.")
    expect(page.locator(".metadata-row", has_text="reviewed")).to_contain_text("1")

    page.get_by_role("button", name="Edit run").click()
    expect(page.get_by_label("Value", exact=True)).to_have_value("59")
    expect(page.get_by_label("Type", exact=True)).to_have_value("int")
    page.get_by_label("Value", exact=True).fill("60")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".metadata-row", has_text="run")).to_contain_text("60")
    page.get_by_role("button", name="Remove reviewed").click()
    expect(page.locator(".metadata-row", has_text="reviewed")).to_have_count(0)
    assert page.evaluate("window.notReloaded")
    assert Inference.objects.get(inference_id="i-59").metadata["int"] == {"run": 60}
    assert [each for each in complaints if "status of 400" not in each] == []


def test_delete_with_confirmation_and_go_on(open_page, editor):
    page = open_page()
    page.goto(f"{URL}i-57/?label=owl")
    page.get_by_text("Delete it …").click()
    page.get_by_label("Type its id").fill("i-5")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#delete-typed-error")).to_have_text("Type the inference's id to delete it.")
    page.get_by_label("Type its id").fill("i-57")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("i-54")
    expect(page.locator("#messages")).to_contain_text("i-57 is deleted.")
    assert not Inference.objects.filter(inference_id="i-57").exists()


def test_without_javascript_it_can_be_changed_too(chromium, live_server, editor):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto(f"{URL}i-59/?label=owl")
    page.get_by_role("button", name="Remove run").click()
    expect(page).to_have_url(re.compile(r"/i-59/\?label=owl#metadata$"))
    expect(page.locator("#messages")).to_contain_text("run is removed.")
    page.get_by_text("Add or replace").click()
    page.get_by_label("Key", exact=True).fill("reviewed")
    page.get_by_label("Value", exact=True).fill("yes")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator(".metadata-row", has_text="reviewed")).to_contain_text("yes")
    page.get_by_role("button", name="Protect").click()
    expect(page.locator(".badge")).to_have_text("Protected")
    context.close()


# --- Code ---------------------------------------------------------------------------------------------------
def test_the_code_fetches_it(open_page, editor, detector, monkeypatch):
    name = "it's $HOME [1] #2 %"
    store_seen(detector, name)
    _, secret = Token.objects.issue(editor, "tests")
    monkeypatch.setenv("INFERENCE_STORE_TOKEN", secret)
    page = open_page()
    page.goto("/models/detector/")
    page.get_by_role("link", name=name).click()
    sdk, curl = (page.locator(f"#fetch-{kind}").text_content() for kind in ("sdk", "curl"))
    scope = {}
    try:
        exec(sdk, scope)
    finally:
        connection.disconnect()
    assert scope["found"].inference_id == name
    answer = subprocess.run(["bash", "-c", f"{curl} --silent --noproxy '*'"], capture_output=True, check=True)
    assert scope["found"].data_storage_key.encode() in answer.stdout
    page.get_by_role("button", name="Copy the Python code").click()
    expect(page.get_by_role("button", name=re.compile("Copied|Selected"))).to_be_visible()


# --- Help ---------------------------------------------------------------------------------------------------
def test_help_opens_over_the_page_and_turns_the_keys_off(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Help")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Help").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator(".is-current")).to_have_count(0)
    page.get_by_label("Single keys do these things").uncheck()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("link", name="Help")).to_be_focused()
    for key in ("j", "?", "/"):
        page.keyboard.press(key)
    expect(page.locator(".is-current")).to_have_count(0)
    expect(dialog).to_be_hidden()
    page.reload()
    page.keyboard.press("j")
    expect(page.locator(".is-current")).to_have_count(0)
    assert complaints == []
