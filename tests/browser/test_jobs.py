"""Exports and retention in a real browser, with a real worker."""

import json
import re
import zipfile
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from inference_store.models import Export, Inference, JobState, Membership, RetentionTask, Role, User
from tests.browser.conftest import assert_not_sideways, log_in
from tests.workers import worker  # noqa: F401

pytestmark = pytest.mark.browser
SOON = 30_000


@pytest.fixture
def admin(birds):
    """carol, now an admin of the birds."""
    Membership.objects.filter(user__username="carol").update(role=Role.ADMIN)
    return User.objects.get(username="carol")


def mark(page):
    """Leave a mark that a reload would wipe away."""
    page.evaluate("window.notReloaded = true")


def was_not_reloaded(page):
    return page.evaluate("window.notReloaded === true")


def test_export_what_the_page_shows_and_watch_it(open_page, complaints, worker, tmp_path):  # noqa: F811
    page = open_page()
    page.goto("/models/detector/?label=owl&minimum_score=0.1&sort=score")
    expect(page.locator(".count")).to_have_text("18 inferences match")
    page.get_by_role("link", name="Export these").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New export")
    expect(page.locator(".count")).to_have_text("18 inferences match")
    expect(page.locator(".chip-words")).to_have_text(["label owl", "score ≥ 0.1"])
    page.get_by_label("CSV").check()
    expect(page.get_by_label("Their custom metadata")).to_be_hidden()
    page.get_by_label("Archive", exact=False).first.check()
    page.get_by_label("Their custom metadata").check()
    page.get_by_role("button", name="Start the export").click()
    expect(page).to_have_url(re.compile(r"/exports/$"))
    mark(page)
    expect(page.locator(".state")).to_have_text("Complete", timeout=SOON)
    expect(page.locator(".job-result")).to_contain_text("18 inferences")
    expect(page.locator("#news")).to_have_text("Archive: Complete.")
    assert was_not_reloaded(page)
    expect(page.locator("[hx-get]")).to_have_count(0)

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    waiting.value.save_as(tmp_path / "archive.zip")
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert archive.testzip() is None
        lines = [json.loads(line) for line in archive.read("inferences.jsonl").splitlines()]
        assert "metadata.jsonl" in archive.namelist()
    assert {line["inference_id"] for line in lines} == {f"i-{number:02}" for number in range(6, 60, 3)}
    assert complaints == []


def test_progress_moves_by_itself_and_keeps_the_focus(open_page, complaints):
    """Counts as a worker writes them; the button that has the focus is another one each second."""
    page = open_page()
    page.goto("/models/detector/exports/new")
    page.get_by_role("button", name="Start the export").click()
    export = Export.objects.get()
    held = timezone.now() + timedelta(hours=1)
    Export.objects.filter(pk=export.pk).update(
        state=JobState.RUNNING, expected_count=60, progress_count=6, claimed_until=held
    )
    mark(page)
    bar = page.get_by_role("progressbar")
    expect(page.get_by_text("10 %")).to_be_visible(timeout=SOON)
    assert (bar.get_attribute("value"), bar.get_attribute("max")) == ("6", "60")
    page.get_by_role("button", name="Stop").focus()
    for count, percent in ((30, "50 %"), (59, "98 %")):
        Export.objects.filter(pk=export.pk).update(progress_count=count)
        expect(page.get_by_text(percent)).to_be_visible(timeout=SOON)
        expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".state")).to_have_text("Stopping")
    Export.objects.filter(pk=export.pk).update(state=JobState.STOPPED)
    expect(page.locator(".state")).to_have_text("Stopped", timeout=SOON)
    assert complaints == []


def test_whoever_is_logged_out_meanwhile_comes_to_log_in(open_page):
    page = open_page()
    page.goto("/models/detector/exports/new")
    page.get_by_role("button", name="Start the export").click()
    page.context.clear_cookies()
    expect(page).to_have_url(re.compile(r"/login/\?next=/models/detector/exports/"), timeout=SOON)


def test_preview_then_delete_exactly_these(open_page, complaints, admin, worker):  # noqa: F811
    now = timezone.now()
    Inference.objects.update(created_at=now)
    Inference.objects.filter(inference_id__lt="i-05").update(created_at=now - timedelta(days=100))
    page = open_page()
    page.goto("/models/detector/retention/")
    expect(page.locator(".policy-words")).to_have_text("Everything is kept for ever.")
    page.get_by_label("Go after").first.fill("80")
    page.get_by_role("button", name="Set this policy").click()
    expect(page.locator(".policy-words")).to_have_text(
        "Records go after 80 days, softly; inputs after 30 days."
    )
    page.get_by_role("button", name="Preview what would go").click()
    mark(page)
    expect(page.locator(".state")).to_have_text("Complete", timeout=SOON)
    expect(page.locator(".found tbody tr")).to_have_count(5)
    assert was_not_reloaded(page)

    Inference.objects.filter(inference_id="i-03").update(is_protected=True)
    Inference.objects.filter(inference_id="i-09").update(created_at=now - timedelta(days=100))
    page.get_by_text("Delete exactly these 5 …").click()
    page.get_by_label("Type the number").fill("4")
    page.get_by_role("button", name="Delete exactly these 5").click()
    expect(page.locator("#take-typed-error")).to_have_text("Type 5 to delete exactly these.")
    complaints[:] = [line for line in complaints if "status of 400" not in line]
    page.get_by_label("Type the number").fill("5")
    page.get_by_role("button", name="Delete exactly these 5").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Run of a preview")
    expect(page.locator(".state")).to_have_text("Complete", timeout=SOON)
    expect(page.locator(".job-result")).to_contain_text("Deleted 4 of 5 records and 4 of 5 blobs")
    left = Inference.objects.filter(inference_id__lt="i-10").order_by("inference_id")
    assert list(left.values_list("inference_id", flat=True)) == [
        f"i-{each:02}" for each in (3, 5, 6, 7, 8, 9)
    ]
    page.get_by_role("link", name="Retention", exact=True).click()
    expect(page.locator(".job")).to_have_count(2)
    assert complaints == []


def test_no_page_scrolls_sideways_or_complains(open_page, complaints, admin):
    page = open_page()
    page.goto("/models/detector/retention/")
    page.get_by_role("button", name="Set this policy").click()
    page.get_by_role("button", name="Preview what would go").click()
    expect(page.locator(".state")).to_be_visible()
    task = RetentionTask.objects.get()
    page.goto("/models/detector/exports/new?label=owl&data_source=" + "x" * 200)
    page.get_by_role("button", name="Start the export").click()
    for address in (
        "/models/detector/exports/",
        "/models/detector/exports/new?label=owl",
        "/models/detector/retention/",
        f"/models/detector/retention/tasks/{task.pk}/",
        "/models/empty/exports/",
        "/models/empty/retention/",
    ):
        page.goto(address)
        page.wait_for_load_state("load")
        assert_not_sideways(page, address)
    assert complaints == []


def test_it_works_without_javascript(chromium, live_server, admin):
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    page.goto("/models/detector/?label=owl")
    page.get_by_role("link", name="Export these").click()
    page.get_by_role("button", name="Start the export").click()
    expect(page.locator(".state")).to_have_text(re.compile("Waiting|Queued"))
    Export.objects.update(state=JobState.FAILED, error="The disk is full.")
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator(".state")).to_have_text("Failed")
    context.close()
