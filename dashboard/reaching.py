"""What a page needs before it can begin: who looks at it, and the model that it is about."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
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


def project_of(request: HttpRequest, project_id: str, role: Role) -> Project:
    """The project, for somebody with that role in it."""
    try:
        return project_for(request.user, project_id, role)
    except Refusal as refusal:
        raise answered(refusal) from None


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
