"""The explore page in a real browser: filtered, paged, searched by likeness, saved, and deleted from."""

import math
import re

import pytest
from playwright.sync_api import expect

from inference_store.contract.enums import TaskType
from inference_store.models import Inference, Membership, RegisteredModel, Role, SavedView
from tests.browser.conftest import assert_not_sideways, log_in
from tests.dashboard.conftest import box, picture_bytes
from tests.making import LONG_AGO, make_model, make_request, make_upload, make_user, store

pytestmark = pytest.mark.browser
COUNT = ".count[data-counted]"


def as_role(role):
    Membership.objects.filter(user__username="carol").update(role=role)


def mark(page):
    """Leave a mark that a reload would wipe away."""
    page.evaluate("window.notReloaded = true")


def was_not_reloaded(page):
    return page.evaluate("window.notReloaded === true")


@pytest.fixture
def embedder(birds):
    """Sixty vectors around a circle."""
    project = RegisteredModel.objects.get(model_id="detector").project
    model = make_model("embedder", task=TaskType.OBJECT_DETECTION, embedding_size=2, project=project)
    for number in range(60):
        angle = math.radians(6 * number)
        content = picture_bytes(32, 24, colour=(4 * number, 90, 120))
        request = make_request(
            model,
            f"v-{number:02}",
            key=make_upload(model, content),
            embedding=[math.cos(angle), math.sin(angle)],
            entries=[box("owl", 0.5)],
            created_at=LONG_AGO,
        )
        store(model, request)


def test_a_filter_swaps_the_results_and_back_forward_and_reload_show_the_same(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    mark(page)
    page.get_by_role("checkbox", name="owl").check()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(COUNT)).to_have_text("20 inferences match")
    expect(page).to_have_url(re.compile(r"/models/detector/\?label=owl$"))
    page.get_by_label("Sort").select_option("Score")
    expect(page).to_have_url(re.compile(r"\?label=owl&sort=score$"))
    expect(page.locator("[data-item] h2").first).to_have_text("i-57")
    page.get_by_role("link", name="Table").click()
    expect(page.locator("#results table.table")).to_be_visible()
    expect(page.locator("#news")).to_have_text("20 inferences match")
    assert was_not_reloaded(page)

    page.go_back()
    expect(page.locator(".cards")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?label=owl&sort=score$"))
    page.go_back()
    expect(page.locator("#sort")).to_have_value("")
    expect(page.locator("#filter input[name=label]:checked")).to_have_count(1)
    page.go_back()
    expect(page.locator(COUNT)).to_have_text("60 inferences")
    expect(page.locator("#filter input[name=label]:checked")).to_have_count(0)
    page.go_forward()
    expect(page.locator(COUNT)).to_have_text("20 inferences match")
    page.reload()
    expect(page.locator(COUNT)).to_have_text("20 inferences match")
    assert complaints == []


def test_a_window_of_time_keeps_what_is_not_applied_yet(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?end=2026-01-02T00%3A00%3A00Z")
    mark(page)
    page.get_by_role("checkbox", name="owl").check()
    page.get_by_label("Lowest score").fill("0.5")
    page.get_by_role("link", name="last day").click()
    expect(page).to_have_url(re.compile(r"\?label=owl&minimum_score=0.5&start=2026-01-02T23%3A00$"))
    expect(page.locator(COUNT)).to_have_text("8 inferences match")
    expect(page.get_by_role("link", name="last day")).to_have_attribute("aria-current", "true")
    assert was_not_reloaded(page)
    assert complaints == []


def test_back_is_heard_before_the_scripts_have_come(open_page, complaints):
    page, held = open_page(), []
    page.goto("/models/detector/?label=owl")
    page.get_by_label("Sort").select_option("Score")
    expect(page).to_have_url(re.compile(r"\?label=owl&sort=score$"))
    page.route(re.compile(r"htmx.*\.js"), lambda route: held.append(route), times=1)
    page.reload(wait_until="commit")
    while not held:
        page.wait_for_timeout(10)
    page.evaluate("history.back()")
    expect(page).to_have_url(re.compile(r"\?label=owl$"))
    held[0].continue_()
    expect(page.locator("#sort")).to_have_value("")
    expect(page.locator(COUNT)).to_have_text("20 inferences match")
    assert complaints == []


def test_a_chip_goes_and_the_focus_stays_on_the_page(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?label=owl&minimum_score=0.5")
    mark(page)
    page.get_by_role("link", name=re.compile(r"label owl\s*: remove")).press("Enter")
    expect(page.locator(".chip-words")).to_have_text(["score ≥ 0.5"])
    expect(page.locator("#results")).to_be_focused()
    expect(page.locator("#filter input[name=label]:checked")).to_have_count(0)
    page.get_by_role("link", name="last day").click()
    expect(page.locator(".chip-words")).to_have_count(2)
    expect(page.get_by_role("link", name="last day")).to_be_focused()
    assert was_not_reloaded(page)
    assert complaints == []


AT_THE_TOP = """() => new Promise(done => {
    const look = () => scrollY < 400 ? done() : requestAnimationFrame(look);
    look();
})"""


def test_pages_turn_both_ways_without_a_reload(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?limit=25&view=rows&sort=score")
    mark(page)
    for way, first in (("Next", "35"), ("Next", "10"), ("Previous", "35"), ("Previous", "60")):
        page.get_by_role("link", name=f"{way} page").click()
        number = int(first) - 1
        expect(page.locator("[data-item] a.mono").first).to_have_text(f"i-{number:02}")
        page.evaluate(AT_THE_TOP)
    expect(page.get_by_role("link", name="Previous page")).to_have_count(0)
    assert was_not_reloaded(page)
    assert complaints == []


def test_only_the_newest_request_counts(open_page):
    """An answer that comes late, for a filter that was left meanwhile, is never shown."""
    page = open_page()
    page.goto("/models/detector/")
    held = []
    page.route("**/models/detector/?label=owl", lambda route: held.append(route))
    page.get_by_role("checkbox", name="owl").check()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#explore")).to_have_attribute("aria-busy", "true")
    page.get_by_role("link", name="Table").click()
    expect(page.locator("#results table.table")).to_be_visible()
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    expect(page).to_have_url(re.compile(r"\?view=table$"))
    expect(page.locator(COUNT)).to_have_text("60 inferences")


def test_a_wrong_value_is_told_beside_its_field_without_a_reload(open_page):
    page = open_page()
    page.goto("/models/detector/")
    mark(page)
    page.get_by_placeholder("lowest").fill("high")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#minimum_score-error")).to_contain_text("number")
    expect(page.locator("[data-item]")).to_have_count(0)
    expect(page).to_have_url(re.compile("minimum_score=high"))
    assert was_not_reloaded(page)
    page.reload()
    expect(page.locator("#minimum_score-error")).to_contain_text("number")


def test_columns_are_chosen_in_a_menu(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/?view=table&label=owl")
    mark(page)
    page.locator("#columns-menu summary").press("Enter")
    page.get_by_role("checkbox", name="Place").uncheck()
    page.get_by_role("checkbox", name="Data hash").check()
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="Data hash")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Place")).to_have_count(0)
    expect(page.locator(".chip-words")).to_have_text(["label owl"])
    page.get_by_role("checkbox", name="kestrel").check()
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(COUNT)).to_have_text("60 inferences match")
    expect(page.get_by_role("columnheader", name="Data hash")).to_be_visible()
    assert was_not_reloaded(page)
    assert complaints == []


def test_values_are_suggested_as_one_types(open_page, complaints):
    page = open_page()
    page.goto("/models/detector/")
    page.locator("#metadata_key").fill("run")
    page.locator("#metadata_value").focus()
    expect(page.locator("#value-hint")).to_contain_text("from 0 to")
    expect(page.locator("#metadata_type")).to_have_value("int")
    assert complaints == []


def test_more_like_this(open_page, complaints, embedder):
    page = open_page()
    page.goto("/models/embedder/")
    mark(page)
    page.get_by_role("link", name=re.compile(r"More like this\s*: v-30")).click()
    expect(page).to_have_url(re.compile(r"\?similar_to=v-30$"))
    expect(page.locator(".chip-words")).to_have_text(["like v-30"])
    expect(page.locator("[data-item] h2").first).to_have_text("v-30")
    expect(page.locator(".badge.distance").first).to_have_text("0.0000")
    page.get_by_label("Distance", exact=True).select_option("Euclidean distance")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("metric=l2"))
    assert was_not_reloaded(page)
    page.get_by_label("Or like a vector of 2 numbers").fill("[-1, 0.001]")
    page.get_by_role("button", name="Search by it").click()
    expect(page.locator(".chip-words")).to_have_text(["like a pasted vector"])
    expect(page.locator("[data-item] h2").first).to_have_text("v-30")
    assert complaints == []


def test_more_like_this_within_a_filter(open_page, complaints, embedder):
    page = open_page()
    for view in ("", "&view=table", "&view=rows"):
        page.goto(f"/models/embedder/?label=owl&sort=score{view}")
        page.get_by_role("link", name=re.compile(r"More like this\s*: v-30")).first.click()
        expect(page).to_have_url(re.compile(rf"\?label=owl{view}&similar_to=v-30$"))
        expect(page.locator(".chip-words")).to_have_text(["like v-30", "label owl"])
    assert complaints == []


SEE = """() => {
  const all = [...document.querySelectorAll("header *, main *")];
  const places = all.filter((each) => !each.closest(".chart-list"));
  window.seen = places.map((each) => [each, each.getBoundingClientRect()]);
}"""
MOVED = """() => window.seen.flatMap(([each, before]) => {
  const now = each.getBoundingClientRect();
  const shown = each.isConnected && before.width && before.height && now.width && now.height;
  const [right, down] = [now.x - before.x, now.y - before.y];
  const moved = shown && before.y < innerHeight && Math.hypot(right, down) > 1;
  return moved ? [`${each.outerHTML.slice(0, 80)} by ${right}, ${down}`] : [];
})"""


@pytest.mark.parametrize("address", ["/models/detector/", "/models/detector/inferences/i-58/"])
def test_nothing_moves_once_it_is_seen(open_page, address):
    """But charts among themselves: how many bars one has is known when they were counted."""
    page, held = open_page(), []

    def hold(script):
        script.continue_() if held is None else held.append(script)

    # Those that may come late do, when it was painted.
    page.route(re.compile(r"/(?!theme|\w+_room)\w+(\.\w+)?\.js"), hold)
    page.goto(address, wait_until="commit")
    expect(page.locator("main img").first).to_be_visible()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.evaluate(SEE)
    waited, held = held, None
    for script in waited:
        script.continue_()
    page.wait_for_load_state("networkidle")
    assert waited
    assert page.evaluate(MOVED) == []


def test_a_view_is_saved_shared_and_opened_by_another_member(open_page, complaints, chromium, live_server):
    page = open_page()
    page.goto("/models/detector/?label=owl&view=table&sort=score")
    page.locator("#views-menu summary").click()
    page.get_by_label("Save this page as").fill("Owls by score")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved as “Owls by score”.")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?label=owl&view=table&sort=score$"))
    page.locator("#views-menu summary").click()
    page.get_by_role("link", name="All views").click()
    page.get_by_role("button", name="Share with the project").click()
    expect(page.locator(".state")).to_have_text("Shared with the project")
    link = page.get_by_role("link", name="Owls by score").get_attribute("href")

    project = RegisteredModel.objects.get(model_id="detector").project
    Membership.objects.create(user=make_user("bob"), project=project, role=Role.VIEWER)
    context = chromium.new_context(base_url=live_server.url)
    other = context.new_page()
    other.goto(link)
    other.get_by_label("Name").fill("bob")
    other.get_by_label("Password").fill("a secret")
    other.get_by_role("button", name="Log in").click()
    expect(other).to_have_url(re.compile(r"/models/detector/\?label=owl&view=table&sort=score$"))
    expect(other.locator(COUNT)).to_have_text("20 inferences match")
    other.goto("/models/detector/views/")
    expect(other.get_by_role("link", name="Owls by score")).to_be_visible()
    expect(other.get_by_role("button", name="Rename")).to_have_count(0)
    context.close()
    assert SavedView.objects.get().name == "Owls by score"
    assert complaints == []


def test_select_all_that_match_and_delete_them(open_page, complaints, birds):
    as_role(Role.EDITOR)
    page = open_page()
    page.goto("/models/detector/?label=owl")
    expect(page.get_by_role("button", name="Delete …")).to_be_hidden()
    page.get_by_role("checkbox", name="All 20 that match").check()
    expect(page.locator("[data-selected]")).to_have_text("all that match")
    page.get_by_role("button", name="Delete …").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 20 inferences")
    page.locator("#typed").fill("2")
    page.get_by_role("button", name="Delete 20 inferences").click()
    expect(page.locator("#typed-error")).to_have_text("Type 20 to delete exactly these.")
    complaints[:] = [line for line in complaints if "status of 400" not in line]
    page.locator("#typed").fill("20")
    page.get_by_role("button", name="Delete 20 inferences").click()
    expect(page.get_by_text("Deleted 20 inferences for good.")).to_be_visible()
    expect(page.get_by_role("heading", level=2)).to_have_text("The filter excludes all 40 inferences")
    assert Inference.objects.filter(registered_model__model_id="detector").count() == 40
    assert complaints == []


def test_by_keyboard_alone(open_page, complaints, birds):
    as_role(Role.ADMIN)
    page = open_page()
    page.goto("/models/detector/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-selected]")).to_have_text("2 selected")
    page.get_by_role("button", name="Protect", exact=True).press("Enter")
    expect(page.get_by_text("Protected 2 inferences")).to_be_visible()
    assert set(Inference.objects.filter(is_protected=True).values_list("inference_id", flat=True)) == {
        "i-59",
        "i-57",
    }
    page.wait_for_load_state()  # its text is there before its keys are
    page.keyboard.press("/")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.locator(COUNT)).to_have_text("40 inferences match")
    page.locator("#views-menu summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Save this page as")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Save this page as")).to_be_hidden()
    expect(page.locator("#views-menu summary")).to_be_focused()
    assert complaints == []


def test_nothing_scrolls_sideways_or_complains(open_page, complaints, embedder):
    page = open_page()
    store_odd()
    for address in (
        "/models/detector/?view=rows",
        "/models/detector/?view=table",
        "/models/detector/?label=" + "x" * 300 + "&data_source=" + "س" * 200,
        "/models/embedder/?similar_to=v-30",
        "/models/embedder/?similar_to=v-30&view=rows",
        "/models/embedder/?similar_to=v-30&view=table",
        "/models/odd/",
        "/models/odd/?view=rows",
        "/models/odd/?view=table",
        "/models/empty/?view=rows",
        "/models/detector/code?label=owl",
        "/models/detector/views/",
        "/models/detector/count",
    ):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert_not_sideways(page, address)
    page.goto("/models/detector/?view=table")
    for menu in ("#columns-menu", "#views-menu"):
        page.locator(f"{menu} summary").click()
        assert_not_sideways(page, menu)
    assert complaints == []


def store_odd():
    """Very long labels, 500 entries, right-to-left text, and a very wide picture."""
    project = RegisteredModel.objects.get(model_id="detector").project
    model = make_model("odd", task=TaskType.OBJECT_DETECTION, project=project)
    wide = make_upload(model, picture_bytes(12_000, 200, "JPEG"))
    many = [box(f"label-{number % 40}-" + "long" * (100 if number == 0 else 1), 0.5) for number in range(500)]
    store(
        model,
        make_request(model, "w" * 255, key=wide, entries=many),
        make_request(
            model,
            "rtl",
            entries=[box("نسر ذهبي"), box("")],
            source="الميناء الشمالي",
            metadata=[("מפתח", "string", "ערך " * 60)],
        ),
    )


def test_it_works_without_javascript(chromium, live_server, birds):
    as_role(Role.EDITOR)
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto("/models/detector/?view=rows&limit=5")
    page.get_by_role("link", name="Next page").click()
    page.get_by_role("link", name="Previous page").click()
    expect(page.locator("[data-item] a.mono").first).to_have_text("i-59")
    page.get_by_role("link", name="Table").click()
    page.locator("#columns-menu summary").click()
    page.get_by_role("checkbox", name="Data hash").check()
    page.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="Data hash")).to_be_visible()
    page.get_by_role("checkbox", name="Select i-59").check()
    page.get_by_role("button", name="Delete …").click()
    page.locator("#typed").fill("1")
    page.get_by_role("button", name="Delete 1 inference").click()
    expect(page.get_by_text("Deleted 1 inference for good.")).to_be_visible()
    context.close()
