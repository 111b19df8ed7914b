"""Signing in and out, by password or by an OpenID provider."""

from django.conf import settings
from django.contrib.auth.views import LogoutView
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from inference_store import openid


@require_safe
@never_cache
def begin(request: HttpRequest) -> HttpResponseBase:
    """On to the provider; whoever is logged in goes on where they wanted."""
    if not openid.is_on():
        raise Http404
    if request.user.is_authenticated:
        to = request.GET.get("next", "")
        is_ours = url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure())
        return redirect(to if is_ours else settings.LOGIN_REDIRECT_URL)
    from inference_store.openid import views
    from inference_store.openid.provider import AwayError

    try:
        response: HttpResponseBase = views.Begin.as_view()(request)
        return response
    except AwayError as error:
        return views.failed(request, views.AWAY, 503, error)


@require_safe
@never_cache
def callback(request: HttpRequest) -> HttpResponseBase:
    """Back from the provider."""
    if not openid.is_on():
        raise Http404
    from inference_store.openid import views

    response: HttpResponseBase = views.Callback.as_view()(request)
    return response


@require_POST
@never_cache
def sign_out(request: HttpRequest) -> HttpResponseBase:
    """End the session, and with OIDC_LOGOUT the one at the provider: by a page that leads there.

    A form may lead to no other host (the policy's form-action), but a page may.
    """
    url = ""
    if openid.is_on() and settings.OIDC_LOGOUT:
        from inference_store.openid.views import leaving_url

        url = leaving_url(request)
    response = LogoutView.as_view()(request)
    if not url:
        return response
    return render(request, "dashboard/signing_out.html", {"url": url, "name": openid.name()})


def choices() -> dict[str, object]:
    """What the sign-in pages offer: the provider's name if there is one, and whether passwords are good."""
    return {"provider": openid.name() if openid.is_on() else "", "password": settings.PASSWORD_LOGIN}
