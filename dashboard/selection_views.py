"""What is done with a selection: exported, protected, deleted."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from dashboard.export_views import new_export_of
from dashboard.forms import ConfirmForm
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import model_of, posted
from dashboard.selection import MOST_AT_ONCE, Selection, selection_of
from inference_store.contract.errors import Refusal
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import RegisteredModel, Role

ROLES = {"export": Role.VIEWER, "delete": Role.EDITOR, "protect": Role.ADMIN, "unprotect": Role.ADMIN}
NOTHING = "Nothing is selected: tick some inferences, or all that match."
TOO_MANY = (
    f"These are more than {MOST_AT_ONCE:,}, or counting them took too long: narrow the filter, or use the "
    "SDK; what grows old is deleted by retention."
)


@posted
def selection(request: HttpRequest, model_id: str) -> HttpResponse:
    """Do with what was selected what the button says; deleting, and unprotecting all, asks once more."""
    action = request.POST.get("action", "")
    model = model_of(request, model_id, ROLES.get(action, Role.VIEWER))
    try:
        selected = selection_of(model, request.POST)
        return _act(request, selected, action)
    except Refusal as refusal:
        messages.error(request, refusal.message)
        return redirect(_page(model, request.POST.get("query", "")))


def _act(request: HttpRequest, selected: Selection, action: str) -> HttpResponse:
    back = _page(selected.model, selected.query)
    if selected.is_empty:
        messages.error(request, NOTHING)
    elif action == "export":
        return _export(request, selected)
    elif (count := selected.count()) is None:
        messages.error(request, TOO_MANY)
    elif count == 0:
        messages.error(request, "None of these is there any more.")
    elif action == "delete":
        return _confirm(request, selected, count)
    elif action == "unprotect" and selected.filters is not None:
        return _unprotect_all(request, selected, count)
    elif action in ("protect", "unprotect"):
        _protect(request, selected, count, action == "protect")
    else:
        messages.error(request, "Choose what to do: export, protect or delete.")
    return redirect(back)


def _protect(request: HttpRequest, selected: Selection, count: int, is_protected: bool) -> None:
    changed = selected.protect(is_protected)
    done = "Protected" if is_protected else "Lifted the protection of"
    already = f"; {_words(count - changed)} had it so already" if changed < count else ""
    messages.success(request, f"{done} {_words(changed)}{already}.")


def _unprotect_all(request: HttpRequest, selected: Selection, count: int) -> HttpResponse:
    """Ask once more: retention may delete from then on what nobody has looked at one by one."""
    form = _form(count, "unprotect", request.POST if "typed" in request.POST else None)
    if form.is_valid():
        _protect(request, selected, count, False)
        return redirect(_page(selected.model, selected.query))
    context = _asked_of(selected, count, form) | {
        "what": f"Lift the protection of {_words(count)}",
        "verb": "unprotect",
        "action": reverse("dashboard:selection", args=[selected.model.model_id]),
    }
    status = 400 if form.is_bound else 200
    return render(request, "dashboard/unprotect_selection.html", context, status=status)


def _export(request: HttpRequest, selected: Selection) -> HttpResponse:
    if selected.ids:
        return new_export_of(request, selected.model, selected.ids)
    query = InferenceFilterSet(QueryDict(selected.query), allowed=PAGE_NAMES).filter_query()
    path = reverse("dashboard:new_export", args=[selected.model.model_id])
    return redirect(f"{path}?{query}" if query else path)


@posted
def delete_selection(request: HttpRequest, model_id: str) -> HttpResponse:
    """Delete what was selected, if its number was typed and still is the number."""
    model = model_of(request, model_id, Role.EDITOR)
    try:
        selected = selection_of(model, request.POST)
        if selected.is_empty:
            raise Refusal.invalid("id", NOTHING)
        if (count := selected.count()) is None:
            raise Refusal.invalid("typed", TOO_MANY)
        form = _form(count, "delete", request.POST)
        if not form.is_valid():
            return _confirm(request, selected, count, form, status=400)
        deleted = selected.delete(expected=count)
    except Refusal as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"Deleted {_words(deleted)} for good.")
    return redirect(_page(model, request.POST.get("query", "")))


def _confirm(
    request: HttpRequest,
    selected: Selection,
    count: int,
    form: ConfirmForm | None = None,
    status: int = 200,
) -> HttpResponse:
    there = selected.there() if selected.ids else []
    context = _asked_of(selected, count, form or _form(count, "delete"))
    context |= {
        "what": f"Delete {_words(count)}",
        "verb": "delete",
        "action": reverse("dashboard:delete_selection", args=[selected.model.model_id]),
        "there": there,
        "gone_count": len(selected.ids) - len(there),
    }
    return render(request, "dashboard/delete_selection.html", context, status=status)


def _asked_of(selected: Selection, count: int, form: ConfirmForm) -> dict[str, Any]:
    return {
        "model": selected.model,
        "selection": selected,
        "count": count,
        "form": form,
        "back": _page(selected.model, selected.query),
    }


def _form(count: int, verb: str, data: Any = None) -> ConfirmForm:
    typed = f"Type {count} to {verb} exactly these."
    if data is not None:
        data = data.copy()
        data["typed"] = data.get("typed", "").strip().replace(",", "")
    return ConfirmForm(data, expected=str(count), message=typed)


def _words(count: int) -> str:
    return f"{count:,} inference{'s' if count != 1 else ''}"


def _page(model: RegisteredModel, query: str) -> str:
    path = reverse("dashboard:inferences", args=[model.model_id])
    spelt = QueryDict(query).urlencode()
    return f"{path}?{spelt}" if spelt else path
