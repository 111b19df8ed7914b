"""The site: the API, the admin site, the pages."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.http import require_safe

import inference_store.admin  # noqa: F401  (registers itself; there is no autodiscovery, see settings)
from inference_store.api import ROUTE


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process serves. Whether the database does is the API's to say."""
    return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


handler400 = "inference_store.api.errors.bad_request"
handler403 = "inference_store.api.errors.permission_denied"
handler404 = "inference_store.api.errors.page_not_found"
handler500 = "inference_store.api.errors.server_error"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path(ROUTE, include("inference_store.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("dashboard.urls")),
]
