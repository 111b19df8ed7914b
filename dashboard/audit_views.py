"""The pages of the audit log: a project's, and of one of its models. For the project's admins."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.bounded import in_time
from dashboard.reaching import model_of, project_of
from inference_store.api.retention import csv_row, download
from inference_store.archive.csv_table import neutral
from inference_store.audit_filterset import ACTIONS, AuditFilterSet
from inference_store.contract.audit import AuditPage, AuditRecord
from inference_store.contract.errors import Refusal
from inference_store.models import Project, RegisteredModel, Role
from inference_store.query import audit

PAGE_SIZE = 50
PAGE_MS = 10_000


@login_required
@require_safe
@never_cache
def project_audit(request: HttpRequest, project_id: str) -> HttpResponse:
    """Who did what in the project."""
    return _audit(request, project_of(request, project_id, Role.ADMIN), None)


@login_required
@require_safe
@never_cache
def model_audit(request: HttpRequest, model_id: str) -> HttpResponse:
    """Who did what to the model's inferences; to one of them with `inference_id`."""
    model = model_of(request, model_id, Role.ADMIN)
    return _audit(request, model.project, model)


def _asked(data: QueryDict, model: RegisteredModel | None) -> QueryDict:
    """The filter of a query string, without what a form left empty."""
    asked = QueryDict(mutable=True)
    for name in AuditFilterSet.base_filters:
        if text := data.get(name, "").strip():
            asked[name] = text
    if model is not None:
        asked["model_id"] = model.model_id
    return asked


def _audit(request: HttpRequest, project: Project, model: RegisteredModel | None) -> HttpResponse:
    asked = _asked(request.GET, model)
    filterset = AuditFilterSet(asked, audit.records_of(project.pk))
    found: AuditPage | None = None
    if is_valid := filterset.is_valid():
        try:
            found = in_time(
                lambda: audit.page(filterset.found(), limit=PAGE_SIZE, cursor=request.GET.get("cursor", "")),
                PAGE_MS,
            )
        except Refusal:
            raise Http404 from None
    shown = asked.copy()
    if model is not None:
        del shown["model_id"]
    context: dict[str, Any] = {
        "project": project,
        "model": model,
        "asked": asked,
        "actions": [name for name, _ in ACTIONS],
        "wrong": {name: " ".join(map(str, texts)) for name, texts in filterset.errors.items()},
        "found": found,
        "is_late": is_valid and found is None,
        "is_narrowed": bool(shown),
        "is_first_page": "cursor" not in request.GET,
        "query": shown.urlencode(),
        "downloads": [(kind, _download(project, kind, asked)) for kind in KINDS] if is_valid else [],
    }
    return render(request, "dashboard/audit.html", context, status=200 if is_valid else 400)


# --- Downloads ----------------------------------------------------------------------------------------------
def _download(project: Project, kind: str, asked: QueryDict) -> str:
    address = reverse("dashboard:download_audit", args=[project.pk, kind])
    return f"{address}?{asked.urlencode()}" if asked else address


def _lines(records: Iterator[AuditRecord]) -> Iterator[str]:
    return (record.model_dump_json() + "\n" for record in records)


def _csv(records: Iterator[AuditRecord]) -> Iterator[str]:
    yield csv_row(AuditRecord.model_fields)
    for record in records:
        yield csv_row([_cell(each) for each in record.model_dump(mode="json").values()])


def _cell(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
    return neutral(text) if isinstance(text, str) else text


KINDS = {"csv": (_csv, "text/csv; charset=utf-8"), "jsonl": (_lines, "application/x-ndjson")}


@login_required
@require_safe
def download_audit(request: HttpRequest, project_id: str, kind: str) -> HttpResponseBase:
    """All records that the filter leaves, as a file."""
    project = project_of(request, project_id, Role.ADMIN)
    if kind not in KINDS:
        raise Http404
    try:
        found = AuditFilterSet(_asked(request.GET, None), audit.records_of(project.pk)).found()
    except Refusal:
        raise Http404 from None  # its page says what is wrong
    written, content_type = KINDS[kind]
    return download(written(audit.every(found)), content_type, f"audit.{kind}")
