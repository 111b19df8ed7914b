"""Every page of the URL configuration, in real Chromium: WCAG 2.2 AA, narrow and wide, light and dark, its
weight, its policy. A page that is not listed here fails."""

import gzip
import re
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.staticfiles import finders
from django.utils import timezone

from dashboard.urls import urlpatterns
from inference_store.contract.enums import TaskType
from inference_store.contract.jobs import (
    NewExportTaskRequest,
    NewRetentionPolicyRequest,
    NewRetentionTaskRequest,
)
from inference_store.models import (
    Export,
    Inference,
    JobState,
    Membership,
    RegisteredModel,
    RetentionTask,
    Role,
    Token,
    User,
)
from inference_store.services import exports, retention, retention_policies, retention_runs
from tests.browser.conftest import WIDTHS, log_in
from tests.dashboard.conftest import box, picture_bytes, store_seen
from tests.making import LONG_AGO, make_model, make_request, make_upload, make_user, store

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
MOST_BYTES = 300_000
"""Of a page with all that it loads but pictures: static files compressed, as they travel."""

DETECTOR = "/models/detector/"
PAGES = {
    "models": ["/"],
    "tokens": ["/tokens/"],
    "new_token": ["/tokens/new"],
    "projects": ["/projects/"],
    "new_project": ["/projects/new"],
    "project": ["/projects/birds/"],
    "inferences": [
        DETECTOR,
        f"{DETECTOR}?view=table&label=owl&minimum_score=0.1",
        f"{DETECTOR}?label=none",
        f"{DETECTOR}?minimum_score=high",
        f"{DETECTOR}?view=map",
        f"{DETECTOR}?view=rows&label=owl",
        "/models/embedder/?similar_to=t-1",
        "/models/empty/",
    ],
    "charts": [f"{DETECTOR}charts/?label=owl"],
    "count": [f"{DETECTOR}count?label=owl"],
    "code": [f"{DETECTOR}code?label=owl&minimum_score=0.1"],
    "saved_views": [f"{DETECTOR}views/"],
    "inference": [
        f"{DETECTOR}inferences/i-59/?label=owl",
        f"{DETECTOR}inferences/crowd/",
        f"{DETECTOR}inferences/{'x' * 255}/",
        "/models/embedder/inferences/text/",
        "/models/embedder/inferences/bare/",
    ],
    "neighbours": ["/models/embedder/inferences/text/neighbours"],
    "exports": [f"{DETECTOR}exports/", "/models/empty/exports/"],
    "new_export": [f"{DETECTOR}exports/new?label=owl"],
    "download_export": [f"{DETECTOR}exports/{{export}}/download"],
    "model_audit": [f"{DETECTOR}audit/", f"{DETECTOR}audit/?inference_id=i-59&action=metadata.set"],
    "project_audit": ["/projects/birds/audit/", "/projects/birds/audit/?inference_id=i"],
    "retention": [f"{DETECTOR}retention/", "/models/empty/retention/"],
    "retention_task": [f"{DETECTOR}retention/tasks/{{task}}/"],
}
"""Where each page is seen; the addresses hold what `seen` made."""
LOGGED_OUT = {"login": ["/login/"], "help": ["/help/"]}
OTHERS = {
    "favicon": "leads to a picture",
    "logout": "posts",
    "oidc_sign_in": "leads elsewhere",
    "oidc_callback": "leads elsewhere",
    "revoke_token": "posts",
    "rename_project": "posts; what is wrong comes back as the project's page",
    "add_member": "posts; what is wrong comes back as the project's page",
    "set_role": "posts",
    "remove_member": "posts",
    "thumbnail": "a picture",
    "crop": "a picture",
    "chart": "a fragment of the charts",
    "narrow": "leads on to the results",
    "map_cells": "a fragment of the map",
    "map_circle": "leads on to the results",
    "excerpt": "plain text",
    "download": "leads to the input's bytes",
    "suggestions": "a fragment of the filter",
    "paste_vector": "posts; leads on to the results",
    "selection": "posts; leads on to the results, or to delete_selection",
    "delete_selection": "posts",
    "open_view": "leads on to the results",
    "rename_view": "posts",
    "share_view": "posts",
    "unshare_view": "posts",
    "delete_view": "posts",
    "put_metadata": "posts; what is wrong comes back as the inference's page",
    "delete_metadata": "posts",
    "set_protection": "posts",
    "delete_inference": "posts; what is wrong comes back as the inference's page",
    "export_progress": "a fragment of the exports",
    "stop_export": "posts",
    "retention_progress": "a fragment of the retention page",
    "create_policy": "posts; what is wrong comes back as the retention page",
    "delete_policy": "posts",
    "create_task": "posts",
    "task_progress": "a fragment of the task",
    "take_preview": "posts; what is wrong comes back as the task",
    "stop_task": "posts",
    "download_preview": "a file",
    "download_audit": "a file",
}
"""What is no page of its own, and why."""
NOT_FOUND = ["/models/none/", "/nowhere/"]


def test_every_address_is_accounted_for():
    named = {pattern.name for pattern in urlpatterns}
    assert named == {*PAGES, *LOGGED_OUT, *OTHERS}
    assert not (PAGES.keys() | LOGGED_OUT.keys()) & OTHERS.keys()


@pytest.fixture
def seen(birds):
    """Pages at their fullest, for an admin: what the addresses of PAGES stand for."""
    Membership.objects.filter(user__username="carol").update(role=Role.ADMIN)
    User.objects.filter(username="carol").update(is_staff=True)
    carol, detector = User.objects.get(username="carol"), RegisteredModel.objects.get(model_id="detector")
    labels = ["ship", "سفينة شحن", "a label that goes on and on " * 10, *(f"kind {n}" for n in range(40))]
    crowd = [
        {
            "label": labels[n % 43],
            "score": n / 500,
            "xmin": n,
            "ymin": n,
            "xmax": n + 90.123,
            "ymax": n + 60.456,
        }
        for n in range(500)
    ]
    metadata = [
        ("w" * 200, "string", "v" * 2_000),
        ("ملاحظة", "string", "مرحبا"),
        ("tree", "json", '{"a": [1, {"b": null}]}'),
    ]
    store_seen(detector, "crowd", content=picture_bytes(1_200, 800), entries=crowd, metadata=metadata)
    store_seen(
        detector, "x" * 255, entries=[box("w" * 500)], source="s" * 255, metadata=metadata, protected=True
    )
    embedder = make_model(
        "embedder", task=TaskType.TEXT_EMBEDDING, embedding_size=2, project=detector.project
    )
    for number in range(14):
        key = make_upload(embedder, f"The text number {number}, {'and more ' * 200}".encode())
        store(embedder, make_request(embedder, f"t-{number}", embedding=[1.0, number / 10], key=key))
    text = "نص طويل يُقرأ من اليمين إلى اليسار.\n" * 60
    store(
        embedder,
        make_request(embedder, "text", embedding=[0.5, 0.25], key=make_upload(embedder, text.encode())),
    )
    store(embedder, make_request(embedder, "bare"))
    Token.objects.issue(carol, "w" * 100, timezone.now(), description="d" * 500, project=detector.project)
    Token.objects.issue(carol, "رمز", timezone.now() + timedelta(days=3), scopes=["read"])
    Membership.objects.create(user=make_user("m" * 150), project=detector.project, role=Role.EDITOR)
    policy = NewRetentionPolicyRequest(automated_interval=0, maximum_record_age=720, maximum_blob_age=168)
    retention_policies.create_policy(model=detector, user=carol, request=policy)
    Inference.objects.filter(inference_id__lt="i-05").update(created_at=LONG_AGO - timedelta(days=100))
    asked = NewRetentionTaskRequest(dry_run=True, retention_policy_id=str(detector.retention_policy.pk))
    task = retention.create_task(model=detector, user=carol, request=asked)
    retention_runs.run(task.pk)
    assert RetentionTask.objects.get(pk=task.pk).state == JobState.COMPLETE
    export = exports.create_export(model=detector, user=carol, request=NewExportTaskRequest())
    exports.create_export(model=detector, user=carol, request=NewExportTaskRequest())
    Export.objects.filter(pk=export.pk).update(state=JobState.FAILED, error="The disk is full.")
    return {"task": task.pk, "export": export.pk}


LOADED = """() => performance.getEntriesByType("resource")
  .filter(each => !["img", "image"].includes(each.initiatorType))
  .map(each => [new URL(each.name).pathname, each.decodedBodySize])"""


def weight(page, document):
    """What the page brings along but pictures."""
    total = len(document)
    for path, size in page.evaluate(LOADED):
        file = finders.find(path.removeprefix("/static/")) if path.startswith("/static/") else None
        total += len(gzip.compress(Path(file).read_bytes())) if file else size
    return total


def problems(page, address, width):
    """What no page may have."""
    response = page.goto(address)
    page.wait_for_load_state("networkidle")
    found = []
    policy = response.headers.get("content-security-policy", "")
    if "unsafe" in policy or not policy.startswith("default-src 'none'"):
        found.append(f"its policy is {policy!r}")
    document = response.body()
    inline = rb"<script(?![^>]*\ssrc=)[^>]*>|<[^>]+\sstyle=|<[^>]+\son[a-z]+="
    if held := re.findall(inline, document):
        found.append(f"inline: {held[:3]}")
    if (total := weight(page, document)) > MOST_BYTES:
        found.append(f"it weighs {total:,} bytes")
    for state in ("folded", "unfolded"):
        if (across := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{state}, it is {across} pixels wide")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found += violations(page, {"type": "tag", "values": RULES})
    # Nothing but its colours depends on the theme.
    page.emulate_media(color_scheme="dark")
    found += violations(page, {"type": "rule", "values": COLOUR_RULES}, "dark: ")
    page.emulate_media(color_scheme="light")
    return [f"{address}: {each}" for each in found]


def violations(page, rules, words=""):
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    answer = Axe().run(page, options=options).response
    return [
        f"{words}{each['id']}: {each['help']}: {node['target']} {node['html'][:160]}"
        for each in answer["violations"]
        for node in each["nodes"][:3]
    ]


def filled(addresses, made):
    return [address.format(**made) for each in addresses.values() for address in each]


@pytest.mark.parametrize("width", [WIDTHS[0], WIDTHS[-1]])
def test_no_page_shuts_anybody_out(width, open_page, complaints, seen):
    page = open_page(width, logged_in=False)
    found = [each for address in filled(LOGGED_OUT, seen) for each in problems(page, address, width)]
    log_in(page)
    addresses = [*filled(PAGES, seen), *NOT_FOUND]
    found += [each for address in addresses for each in problems(page, address, width)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
    # The browser says so of pages whose status is an error; there are such among them.
    assert [each for each in complaints if "status of 40" not in each] == []


FOCUSED = """() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const outlined = part => {
    const style = getComputedStyle(at, part);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  };
  const box = at.getBoundingClientRect();
  const seen = outlined(null) || outlined("::after") || at.matches("main");
  return { what: at.outerHTML.slice(0, 120), seen, size: box.width * box.height };
}"""


def test_the_focus_is_seen_wherever_it_goes(open_page, seen):
    page = open_page(1_600)
    unseen = []
    for address in filled(PAGES, seen):
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        for _ in range(45):
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            if focused is None:
                break
            if not focused["seen"] or not focused["size"]:
                unseen.append(f"{address}: {focused['what']}")
    assert unseen == []
