"""What a page needs before it can begin: who looks at it, and the model that it is about."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRefresh
from django_htmx.middleware import HtmxDetails

from inference_store.contract.errors import Refusal
from inference_store.models import Project, RegisteredModel, Role, User
from inference_store.services.access import model_for, project_for

View: TypeAlias = Callable[..., HttpResponse]


def answered(refusal: Refusal) -> Http404 | PermissionDenied | Refusal:
    """What a page raises for a refusal: a person gets the page of its status."""
    if refusal.status == 403:
        return PermissionDenied(refusal.message)
    return Http404() if refusal.status == 404 else refusal


def user_of(request: HttpRequest) -> User:
    """Who looks at a page that asks for a login."""
    user: User = request.user  # type: ignore[assignment]
    return user


def model_of(request: HttpRequest, model_id: str, role: Role = Role.VIEWER) -> RegisteredModel:
    """The model, for somebody with that role in its project."""
    try:
        return model_for(request.user, model_id, role)
    except Refusal as refusal:
        raise answered(refusal) from None


def rank_of(request: HttpRequest, model: RegisteredModel) -> int:
    """What whoever looks at a page may do in the model's project: 0 to look, 1 to edit, 2 to administer."""
    role = model.project.role_of(request.user)
    return role.rank if role else 0


def project_of(request: HttpRequest, project_id: str, role: Role) -> Project:
    """The project, for somebody with that role in it."""
    try:
        return project_for(request.user, project_id, role)
    except Refusal as refusal:
        raise answered(refusal) from None


def posted(view: View) -> View:
    """For what a form sends: whoever was logged out meanwhile comes back to the page with the form."""
    page = login_required(require_POST(view))

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST" and not request.user.is_authenticated:
            if is_fragment(request):
                return HttpResponseClientRefresh()
            unsent = redirect_to_login(_came_from(request))
            unsent["Location"] += "&unsent=1"
            return unsent
        return page(request, *args, **kwargs)

    return wrapped


def _came_from(request: HttpRequest) -> str:
    """The address of the page of ours that a form was on; home where the browser does not say."""
    page = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        return "/"
    parts = urlsplit(page)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path or "/"


def fragment_or_page(view: View) -> View:
    """For what a page asks for by itself, and a browser without scripts by a link."""
    fragment, page = logged_in_fragment(view), login_required(view)

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return (fragment if is_fragment(request) else page)(request, *args, **kwargs)

    return wrapped


def is_fragment(request: HttpRequest) -> bool:
    """Whether a page asks for a part of itself, and not a browser that goes back for the whole."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.history_restore_request


def logged_in_fragment(view: View) -> View:
    """For what a page asks for by itself: whoever was logged out meanwhile gets the whole page anew."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return HttpResponseClientRefresh()
        return view(request, *args, **kwargs)

    return wrapped
