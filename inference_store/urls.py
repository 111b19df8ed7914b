"""The site: the API, the admin site, the pages."""

from django.contrib import admin
from django.urls import include, path

import inference_store.admin  # noqa: F401  (registers itself; there is no autodiscovery, see settings)
from inference_store import probes
from inference_store.api import ROUTE

handler400 = "inference_store.api.errors.bad_request"
handler403 = "inference_store.api.errors.permission_denied"
handler404 = "inference_store.api.errors.page_not_found"
handler500 = "inference_store.api.errors.server_error"

urlpatterns = [
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
    path(ROUTE, include("inference_store.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("dashboard.urls")),
]
