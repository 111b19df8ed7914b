"""What machines ask: whether this process serves, and whether the store can."""

import hmac
import ipaddress

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from inference_store import calling
from inference_store.services import metrics as store
from inference_store.services import readiness

FRESH = {"Cache-Control": "no-store"}


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process serves; to be restarted where it does not."""
    return JsonResponse({"status": "ok"}, headers=FRESH)


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Each part; 503 while one is away without which nothing is answered."""
    found = readiness.kept.look()
    body = {"ready": found.is_ready, "parts": found.parts}
    return JsonResponse(body, status=200 if found.is_ready else 503, headers=FRESH)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus: with METRICS_TOKEN for its bearer alone, without it for this machine alone."""
    if not _may_measure(request):
        return HttpResponse("Set METRICS_TOKEN, and send it as a bearer token.\n", "text/plain", 403)
    return HttpResponse(store.exposition(), "text/plain; version=0.0.4; charset=utf-8", headers=FRESH)


def _may_measure(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        sent = request.headers.get("Authorization", "")
        return hmac.compare_digest(sent.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    address = calling.client_of(request)
    return address is not None and ipaddress.ip_address(address).is_loopback
