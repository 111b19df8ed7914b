"""The pages of saved views."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.filter_words import MOST_WORDS
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import answered, model_of, posted
from dashboard.results import DEFAULT_VIEW, VIEWS, request_of
from inference_store.contract.errors import Refusal
from inference_store.filtersets import PAGE_POSITION, InferenceFilterSet, without_empties
from inference_store.models import RegisteredModel, Role, SavedView
from inference_store.services import saved_views as service

LISTED = 100
"""In the explore page's menu; the page of views lists all."""


def views_of(request: HttpRequest, model: RegisteredModel) -> Any:
    """The views of the model that the user may see, their own first."""
    found = SavedView.objects.visible_to(request.user).filter(registered_model=model).select_related("owner")
    return sorted(found, key=lambda view: (view.owner_id != request.user.pk, view.name, view.created_at))


@dataclass(frozen=True)
class SavedRow:
    """A view in words: what it narrows by, `more` conditions that are left out, and how it shows the rest."""

    view: SavedView
    words: list[str]
    more: int
    shown_as: str
    may_delete: bool


def _row(view: SavedView, user_id: int | None, role: Role | None) -> SavedRow:
    data = QueryDict(view.query)
    words = [chip.words for chip in InferenceFilterSet(data, allowed=PAGE_NAMES).chips()]
    if data.get("similar_to") or data.get("vector"):
        words.insert(0, f"like {data['similar_to']}" if data.get("similar_to") else "like a pasted vector")
    shown_as = VIEWS[data["view"] if data.get("view") in VIEWS else DEFAULT_VIEW].words
    may_delete = service.may_delete(view, user_id, role)
    return SavedRow(view, words[:MOST_WORDS], len(words[MOST_WORDS:]), shown_as, may_delete)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def saved_views(request: HttpRequest, model_id: str) -> HttpResponse:
    """A model's views: one's own, to rename, share and delete, and those others share. POST saves one."""
    model = model_of(request, model_id)
    if request.method == "POST":
        return _save(request, model)
    role = model.project.role_of(request.user)
    rows = [_row(view, request.user.pk, role) for view in views_of(request, model)]
    context = {"model": model, "rows": rows}
    return render(request, "dashboard/saved_views.html", context)


def _save(request: HttpRequest, model: RegisteredModel) -> HttpResponse:
    query = _first_page(QueryDict(request.POST.get("query", "")))
    filterset = InferenceFilterSet(query, allowed=PAGE_NAMES)
    if request_of(model, filterset).request is None:
        messages.error(request, "A page whose filter is wrong can't be saved.")
        return redirect(_page(model, query.urlencode()))
    try:
        view = service.save_view(
            model=model,
            user=request.user,  # type: ignore[arg-type]  # logged in
            name=request.POST.get("name", ""),
            query=query.urlencode(),
            is_shared=request.POST.get("is_shared") == "yes",
        )
    except Refusal as refusal:
        messages.error(request, refusal.message)
    else:
        shared = " and shared with the project" if view.is_shared else ""
        messages.success(request, f"Saved as “{view.name}”{shared}.")
    return redirect(_page(model, query.urlencode()))


def _first_page(data: QueryDict) -> QueryDict:
    query = QueryDict(mutable=True)
    for name, text in without_empties(data):
        if name not in PAGE_POSITION:
            query.appendlist(name, text)
    return query


def _page(model: RegisteredModel, query: str) -> str:
    path = reverse("dashboard:inferences", args=[model.model_id])
    return f"{path}?{query}" if query else path


@login_required
@require_safe
def open_view(request: HttpRequest, view_id: UUID) -> HttpResponse:
    """A view's stable link: on to its page."""
    try:
        view = service.find_view(user=request.user, view_id=view_id)  # type: ignore[arg-type]
    except Refusal as refusal:
        raise answered(refusal) from None
    return redirect(_page(view.registered_model, view.query))


@posted
def change_view(request: HttpRequest, view_id: UUID, change: str) -> HttpResponse:
    """Rename, share, unshare or delete one's own; an admin deletes also others' that are shared."""
    user: Any = request.user
    try:
        if change == "rename":
            name = request.POST.get("name", "")
            view = service.rename_view(user=user, view_id=view_id, name=name)
            said = f"Renamed to “{view.name}”."
        elif change == "delete":
            view = service.delete_view(user=user, view_id=view_id)
            said = f"Deleted “{view.name}”."
        else:
            view = service.share_view(user=user, view_id=view_id, is_shared=change == "share")
            said = f"“{view.name}” is {'shared with the project' if view.is_shared else 'private'} now."
    except Refusal as refusal:
        if refusal.status in (403, 404):
            raise answered(refusal) from None
        messages.error(request, refusal.message)
        view = service.find_view(user=user, view_id=view_id)
    else:
        messages.success(request, said)
    return redirect("dashboard:saved_views", view.registered_model.model_id)
