"""What a page needs before it can begin: who looks at it, and the model that it is about."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh

from inference_store.contract.errors import Refusal
from inference_store.models import RegisteredModel, Role
from inference_store.services.access import model_for

View: TypeAlias = Callable[..., HttpResponse]


def answered(refusal: Refusal) -> Http404 | PermissionDenied | Refusal:
    """What a page raises for a refusal: a person gets the page of its status."""
    if refusal.status == 403:
        return PermissionDenied(refusal.message)
    return Http404() if refusal.status == 404 else refusal


def model_of(request: HttpRequest, model_id: str, role: Role = Role.VIEWER) -> RegisteredModel:
    """The model, for somebody with that role in its project."""
    try:
        return model_for(request.user, model_id, role)
    except Refusal as refusal:
        raise answered(refusal) from None


def logged_in_fragment(view: View) -> View:
    """For what a page asks for by itself: whoever was logged out meanwhile gets the whole page anew."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return HttpResponseClientRefresh()
        return view(request, *args, **kwargs)

    return wrapped
