"""The pages of one's own API tokens."""

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.access_forms import NewTokenForm
from dashboard.reaching import answered, posted, user_of
from inference_store.contract.errors import Refusal
from inference_store.models import Token
from inference_store.services import tokens as service

ENDS_SOON = timedelta(days=14)


@login_required
@require_safe
@never_cache
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own, newest first."""
    now = timezone.now()
    own = Token.objects.filter(user=user_of(request)).select_related("project")
    context = {"tokens": own, "now": now, "soon": now + ENDS_SOON, "most": service.MOST_TOKENS}
    return render(request, "dashboard/tokens.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """A form for one; what POST makes is shown by its answer, once and nowhere else.

    No redirect comes in between, for its secret would have to be kept meanwhile; a page that is sent again
    is refused, for its name is taken.
    """
    form = NewTokenForm(request.POST if request.method == "POST" else None, user=user_of(request))
    if form.is_valid():
        given = form.cleaned_data
        try:
            token, secret = service.create_token(
                user=user_of(request),
                name=given["name"],
                description=given["description"],
                scopes=given["scopes"],
                project=given["project"],
                days=form.days,
            )
        except Refusal as refusal:
            form.refuse(refusal)
        else:
            return render(request, "dashboard/new_token.html", {"token": token, "secret": secret})
    status = 400 if form.is_bound else 200
    return render(request, "dashboard/new_token.html", {"form": form}, status=status)


@posted
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """What uses it is refused from now on."""
    try:
        token = service.revoke_token(user=user_of(request), token_id=token_id)
    except Refusal as refusal:
        raise answered(refusal) from None
    messages.success(request, f"Revoked “{token.name}”: it is good for nothing any more.")
    return redirect("dashboard:tokens")
