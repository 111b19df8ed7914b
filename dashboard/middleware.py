"""What pages take from a browser, and what every one tells it that it may load."""

from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse

from inference_store.api import ROUTE

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
ADMIN_POLICY = POLICY | {"style-src": "'self' 'unsafe-inline'"}
HEADER = "Content-Security-Policy"
ALWAYS = {
    # No page here asks for any of these.
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
}


def spelled(policy: dict[str, str]) -> str:
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


SPELLED, ADMIN_SPELLED = spelled(POLICY), spelled(ADMIN_POLICY)


@cache
def _spelled(tiles: str) -> str:
    """The policy of pages, with pictures from the tile server's host where one is set."""
    server = urlsplit(tiles.replace("{s}", "*"))
    if not server.netloc:
        return SPELLED
    return spelled(POLICY | {"img-src": f"{POLICY['img-src']} {server.scheme}://{server.netloc}"})


@cache
def _admin(urlconf: str, prefix: str) -> str | None:
    """Where the admin site is, by those routes below that prefix."""
    try:
        return reverse("admin:index", urlconf)
    except NoReverseMatch:
        return None


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A strict policy on every answer, unless its view set its own."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for header, value in ALWAYS.items():
            response.headers.setdefault(header, value)
        if HEADER not in response:
            admin = _admin(get_urlconf() or settings.ROOT_URLCONF, get_script_prefix())
            is_admin = admin is not None and request.path.startswith(admin)
            response[HEADER] = ADMIN_SPELLED if is_admin else _spelled(settings.MAP_TILES_URL)
        return response

    return middleware


PAGE_METHODS = ("GET", "HEAD", "POST")


def forms_only(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Pages and the admin site take what links and forms send; the API says itself what it takes."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(f"/{ROUTE}"):
            return get_response(request)
        if request.method not in PAGE_METHODS:
            return HttpResponseNotAllowed(PAGE_METHODS)
        response = get_response(request)
        if response.status_code == 405 and request.method == "GET":
            # By a link, a bookmark, or a login that leads back to where a form was sent.
            page = render(request, "405.html", status=405)
            page["Allow"] = response["Allow"]
            return page
        return response

    return middleware
