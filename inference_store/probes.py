"""What machines ask: whether this process serves, and whether the store can."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

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
