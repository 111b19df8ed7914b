"""The pages of a model's retention: its policy, the history of its tasks, one task with its list."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from pydantic import ValidationError

from dashboard import retention_words
from dashboard.forms import ConfirmForm, NewPolicyForm
from dashboard.jobs import PAGE_SIZE, asked_ids, page_number, poll_url
from dashboard.reaching import answered, logged_in_fragment, model_of, posted
from dashboard.retention_rows import Listing, TaskRow, is_takeable, listing_of, task_row
from inference_store.api.retention import csv_rows, download, lines
from inference_store.contract.errors import Refusal
from inference_store.contract.jobs import NewRetentionTaskRequest
from inference_store.models import RegisteredModel, RetentionPolicy, RetentionTask, Role
from inference_store.query.retention import policy_of, preview_items
from inference_store.services import retention as service
from inference_store.services import retention_policies

DOWNLOADS = {"jsonl": (lines, "application/x-ndjson"), "csv": (csv_rows, "text/csv; charset=utf-8")}


def _is_admin(request: HttpRequest, model: RegisteredModel) -> bool:
    return model.project.role_of(request.user) is Role.ADMIN


# --- The policy and the history -----------------------------------------------------------------------------
@login_required
@require_safe
@never_cache
def retention(request: HttpRequest, model_id: str) -> HttpResponse:
    """How long the model's inferences are kept, and what its runs did."""
    return _retention(request, model_of(request, model_id))


def _retention(request: HttpRequest, model: RegisteredModel, **forms: Any) -> HttpResponse:
    """The page; 400 where it comes back with a form that is wrong."""
    is_admin, policy, page = _is_admin(request, model), policy_of(model), page_number(request.GET)
    start = (page - 1) * PAGE_SIZE
    found = RetentionTask.objects.filter(registered_model=model)[start : start + PAGE_SIZE + 1]
    rows = [task_row(task, is_admin) for task in found]
    context = {
        "model": model,
        "is_admin": is_admin,
        "policy": policy,
        "words": _words(policy) if policy else [],
        "form": NewPolicyForm(initial=PROPOSED),
        "deletion": ConfirmForm(expected=model.model_id, message=""),
        "rows": rows[:PAGE_SIZE],
        "poll_url": _poll_url(model, rows[:PAGE_SIZE]),
        "page": page,
        "has_more": len(rows) > PAGE_SIZE,
    }
    return render(request, "dashboard/retention.html", context | forms, status=400 if forms else 200)


PROPOSED = {
    "maximum_record_age": 90,
    "maximum_record_age_unit": "days",
    "maximum_blob_age": 30,
    "maximum_blob_age_unit": "days",
    "delete_action": "soft",
    "by_hand": "yes",
    "automated_interval": 1,
    "automated_interval_unit": "days",
}
"""What the form of a new policy begins with: soft and by hand, so that the first look can be a preview."""


def _words(policy: RetentionPolicy) -> list[str]:
    return [
        retention_words.policy_words(policy),
        retention_words.action_words(policy),
        retention_words.schedule_words(policy),
    ]


def _poll_url(model: RegisteredModel, rows: list[TaskRow], name: str = "retention_progress") -> str:
    running = [row.task.pk for row in rows if row.progress.is_active]
    return poll_url(reverse(f"dashboard:{name}", args=[model.model_id]), running)


@logged_in_fragment
@require_safe
@never_cache
def retention_progress(request: HttpRequest, model_id: str) -> HttpResponse:
    """The rows that were running when last looked at, and whether to look again."""
    model = model_of(request, model_id)
    is_admin = _is_admin(request, model)
    asked = RetentionTask.objects.filter(registered_model=model, pk__in=asked_ids(request.GET))
    rows = [task_row(task, is_admin) for task in asked]
    context = {
        "model": model,
        "rows": rows,
        "poll_url": _poll_url(model, rows),
        "ended": [row for row in rows if not row.progress.is_active],
    }
    return render(request, "dashboard/_retention_progress.html", context)


@posted
def create_policy(request: HttpRequest, model_id: str) -> HttpResponse:
    model = model_of(request, model_id, Role.ADMIN)
    form = NewPolicyForm(request.POST)
    if not form.is_valid() or form.asked is None:
        return _retention(request, model, form=form)
    try:
        retention_policies.create_policy(model=model, user=request.user, request=form.asked)
    except Refusal as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The policy stands. Nothing has been deleted yet.")
    return redirect("dashboard:retention", model.model_id)


@posted
def delete_policy(request: HttpRequest, model_id: str, policy_id: str) -> HttpResponse:
    model = model_of(request, model_id, Role.ADMIN)
    message = f"Type {model.model_id} to delete the policy."
    form = ConfirmForm(request.POST, expected=model.model_id, message=message)
    if not form.is_valid():
        return _retention(request, model, deletion=form)
    try:
        retention_policies.delete_policy(model=model, policy_id=policy_id)
    except Refusal as refusal:
        raise answered(refusal) from None
    messages.success(request, "The policy is deleted: from now on everything is kept.")
    return redirect("dashboard:retention", model.model_id)


# --- Tasks --------------------------------------------------------------------------------------------------
@posted
def create_task(request: HttpRequest, model_id: str) -> HttpResponse:
    """Begin a dry run, or a run of the policy."""
    model = model_of(request, model_id, Role.ADMIN)
    if request.POST.get("kind") not in ("preview", "run"):
        raise Http404
    return _begin(request, model, request.POST.get("policy", ""), dry_run=request.POST["kind"] == "preview")


def _begin(
    request: HttpRequest,
    model: RegisteredModel,
    policy_id: str,
    *,
    dry_run: bool,
    preview_task_id: str | None = None,
) -> HttpResponse:
    try:
        asked = NewRetentionTaskRequest(
            dry_run=dry_run, retention_policy_id=policy_id[:100], preview_task_id=preview_task_id
        )
        task = service.create_task(model=model, user=request.user, request=asked)
    except ValidationError:
        raise Http404 from None  # no policy is called that
    except Refusal as refusal:
        messages.error(request, refusal.message)
        if preview_task_id is not None:
            return redirect("dashboard:retention_task", model.model_id, preview_task_id)
        return redirect("dashboard:retention", model.model_id)
    return redirect("dashboard:retention_task", model.model_id, task.pk)


def _task(
    request: HttpRequest, model_id: str, task_id: str, role: Role = Role.VIEWER
) -> tuple[RegisteredModel, RetentionTask]:
    model = model_of(request, model_id, role)
    try:
        return model, service.find_task(model=model, task_id=task_id)
    except Refusal as refusal:
        raise answered(refusal) from None


@login_required
@require_safe
@never_cache
def retention_task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Everything of a task's record; of a dry run also what it found."""
    model, task = _task(request, model_id, task_id)
    return _task_page(request, model, task)


def _task_page(
    request: HttpRequest, model: RegisteredModel, task: RetentionTask, taking: ConfirmForm | None = None
) -> HttpResponse:
    context = _task_context(request, model, task, taking)
    return render(request, "dashboard/retention_task.html", context, status=400 if taking else 200)


def _task_context(
    request: HttpRequest, model: RegisteredModel, task: RetentionTask, taking: ConfirmForm | None = None
) -> dict[str, Any]:
    """What the page shows; its list, and the form to take it, only once there is one."""
    is_admin = _is_admin(request, model)
    row = task_row(task, is_admin)
    context: dict[str, Any] = {
        "model": model,
        "row": row,
        "words": retention_words.policy_words(task),
        "poll_url": _task_poll_url(model, row),
    }
    if task.dry_run and not row.progress.is_active:
        listing = listing_of(task, request.GET.get("cursor", ""))
        can_take = is_admin and is_takeable(task, listing, policy_of(model))
        context |= {
            "listing": listing,
            "is_first_page": not request.GET.get("cursor"),
            "taking": (taking or _taking(listing)) if can_take else None,
        }
    return context


def _task_poll_url(model: RegisteredModel, row: TaskRow) -> str:
    address = reverse("dashboard:task_progress", args=[model.model_id, row.task.pk])
    return address if row.progress.is_active else ""


def _taking(listing: Listing, data: Any = None) -> ConfirmForm:
    message = f"Type {listing.count} to delete exactly these."
    return ConfirmForm(data, expected=str(listing.count), message=message)


@logged_in_fragment
@require_safe
@never_cache
def task_progress(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """The task as it is now, and whether to look again."""
    model, task = _task(request, model_id, task_id)
    return render(request, "dashboard/_task_progress.html", _task_context(request, model, task))


@posted
def take_preview(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Delete exactly what a dry run listed, less what was protected since."""
    model, task = _task(request, model_id, task_id, Role.ADMIN)
    listing = listing_of(task, "")
    # The page groups the digits, and so may whoever types them.
    form = _taking(listing, {"typed": request.POST.get("typed", "").replace(",", "")})
    if listing.page is not None and not form.is_valid():
        return _task_page(request, model, task, taking=form)
    return _begin(request, model, str(task.retention_policy_id), dry_run=False, preview_task_id=str(task.pk))


@posted
def stop_task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    model, task = _task(request, model_id, task_id, Role.ADMIN)
    service.stop_task(task=task)
    return redirect("dashboard:retention_task", model.model_id, task.pk)


@login_required
@require_safe
def download_preview(request: HttpRequest, model_id: str, task_id: str, kind: str) -> HttpResponseBase:
    """The whole list of a dry run."""
    if kind not in DOWNLOADS:
        raise Http404
    _, task = _task(request, model_id, task_id)
    written, content_type = DOWNLOADS[kind]
    try:
        items = preview_items(task)
    except Refusal:
        raise Http404 from None  # its page says why there is none
    return download(written(items), content_type, f"retention-{task.pk}.{kind}")
