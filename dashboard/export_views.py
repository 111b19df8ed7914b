"""The pages of a model's exports."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.bounded import in_time
from dashboard.export_rows import ExportRow, export_rows
from dashboard.forms import NewExportForm, fitting_formats
from dashboard.jobs import PAGE_SIZE, asked_ids, page_number, poll_url
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import answered, logged_in_fragment, model_of, posted, rank_of
from dashboard.selection import MOST_TICKED
from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import Export, JobState, RegisteredModel
from inference_store.query.pages import count_inferences
from inference_store.services import exports as service


@login_required
@require_safe
@never_cache
def exports(request: HttpRequest, model_id: str) -> HttpResponse:
    """A model's exports, newest first; those that run move by themselves."""
    model = model_of(request, model_id)
    page = page_number(request.GET)
    start = (page - 1) * PAGE_SIZE
    rows = export_rows(model, request.user, service.model_exports(model)[start : start + PAGE_SIZE + 1])
    shown = rows[:PAGE_SIZE]
    context = {
        "model": model,
        "rank": rank_of(request, model),
        "rows": shown,
        "poll_url": _poll_url(model, shown),
        "page": page,
        "has_more": len(rows) > PAGE_SIZE,
    }
    return render(request, "dashboard/exports.html", context)


@logged_in_fragment
@require_safe
@never_cache
def export_progress(request: HttpRequest, model_id: str) -> HttpResponse:
    """The rows that were running when last looked at, and whether to look again."""
    model = model_of(request, model_id)
    asked = service.model_exports(model).filter(pk__in=asked_ids(request.GET))
    rows = export_rows(model, request.user, asked)
    context = {
        "model": model,
        "rows": rows,
        "poll_url": _poll_url(model, rows),
        "ended": [row for row in rows if not row.progress.is_active],
    }
    return render(request, "dashboard/_export_progress.html", context)


def _poll_url(model: RegisteredModel, rows: list[ExportRow]) -> str:
    running = [row.task.id for row in rows if row.progress.is_active]
    return poll_url(reverse("dashboard:export_progress", args=[model.model_id]), running)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_export(request: HttpRequest, model_id: str) -> HttpResponse:
    """Say what is to be exported, which is what the query string filters, and as what."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    posted = request.POST if request.method == "POST" else None
    ids = request.POST.getlist("id")[:MOST_TICKED]
    form = NewExportForm(posted, formats=fitting_formats(model), ids=ids)
    filters = filterset.request_body().filters if filterset.is_valid() else None
    if posted is not None and filters is not None and form.is_valid():
        try:
            service.create_export(model=model, user=request.user, request=form.request_for(filters))
        except Refusal as refusal:
            form.add_error("format" if "format" in refusal.fields else None, refusal.message)
        else:
            return redirect("dashboard:exports", model.model_id)
    wrong = filters is None or bool(form.errors)
    context = _new_export(model, filterset, filters, form)
    return render(request, "dashboard/new_export.html", context, status=400 if wrong else 200)


def new_export_of(request: HttpRequest, model: RegisteredModel, ids: list[str]) -> HttpResponse:
    """The same page for inferences that were ticked one by one."""
    form = NewExportForm(formats=fitting_formats(model), ids=ids)
    context = _new_export(model, InferenceFilterSet(QueryDict()), BaseInferenceFilter(), form)
    return render(request, "dashboard/new_export.html", context)


def _new_export(
    model: RegisteredModel,
    filterset: InferenceFilterSet,
    filters: BaseInferenceFilter | None,
    form: NewExportForm,
) -> dict[str, Any]:
    asked = NewGetInferencesRequest(filters=filters) if filters is not None and not form.ids else None
    return {
        "model": model,
        "form": form,
        "chips": filterset.chips(),
        "wrong": {name: " ".join(map(str, texts)) for name, texts in filterset.errors.items()},
        "filter_query": filterset.filter_query(),
        "count": in_time(lambda: count_inferences(model, asked)) if asked else len(form.ids) or None,
    }


@posted
def stop_export(request: HttpRequest, model_id: str, export_id: str) -> HttpResponse:
    model, export = _export(request, model_id, export_id)
    try:
        stopped = service.stop_export(export=export, user=request.user)
    except Refusal as refusal:
        raise answered(refusal) from None
    if not stopped.is_active and stopped.stop_requested_at is None:
        messages.info(request, "That export had ended already.")
    return redirect("dashboard:exports", model.model_id)


@login_required
@require_safe
def download_export(request: HttpRequest, model_id: str, export_id: str) -> HttpResponse:
    """On to a presigned URL of the archive, made at this moment."""
    model, export = _export(request, model_id, export_id)
    told = service.told(export)
    if told.archive_key is None:
        is_gone = export.state == JobState.COMPLETE.value
        context = {"model": model, "is_gone": is_gone, "is_active": export.is_active}
        response: HttpResponse = render(
            request, "dashboard/no_archive.html", context, status=410 if is_gone else 404
        )
    else:
        service.record_link(model, [str(export.pk)])
        response = redirect(
            blobs.presigned_url(
                told.archive_key, "GET", told.readable_seconds, blobs.archive_name(told.archive_key)
            )
        )
    response["Cache-Control"] = "no-store"
    return response


def _export(request: HttpRequest, model_id: str, export_id: str) -> tuple[RegisteredModel, Export]:
    model = model_of(request, model_id)
    try:
        return model, service.find_export(model=model, export_id=export_id)
    except Refusal as refusal:
        raise answered(refusal) from None
