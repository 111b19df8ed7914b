"""The pages of the store and of a model: each asks the floors below and hands what it got to a template."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from dashboard.charts import chart_panel
from dashboard.jobs import page_number
from dashboard.maps import map_panel
from dashboard.overview import overview
from dashboard.panel import PAGE_NAMES, canonical_query
from dashboard.reaching import fragment_or_page, is_fragment, model_of, rank_of
from dashboard.results import results_of
from dashboard.saved_views import LISTED, views_of
from inference_store import replica
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import Project
from inference_store.services.registration import may_create_projects

ASK_AGAIN = "private, no-cache"


@login_required
@require_safe
@replica.reads
def models(request: HttpRequest) -> HttpResponse:
    """Home: the models one may see, by project."""
    found = overview(request.user, request.GET.get("search", ""), page_number(request.GET))
    context: dict[str, Any] = {"overview": found}
    if not found.groups:
        # Whoever is in no project is told so; the others, how a first inference is sent.
        context["has_project"] = Project.objects.visible_to(request.user).exists()
        context["may_create"] = may_create_projects(request.user)  # type: ignore[arg-type]  # logged in
    return render(request, "dashboard/models.html", context)


@fragment_or_page
@require_safe
@replica.reads
def inferences(request: HttpRequest, model_id: str) -> HttpResponse:
    """A model's inferences under a filter, whose whole state is the query string."""
    model = model_of(request, model_id)
    canonical = canonical_query(request.GET, model)
    if canonical is not None:
        return HttpResponseRedirect(f"{request.path}?{canonical}" if canonical else request.path)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    results = results_of(model, filterset)
    context = {
        "model": model,
        "results": results,
        "panel": results.panel,
        "chips": results.chips,
        "rank": rank_of(request, model),
        "saved_views": views_of(request, model)[:LISTED],
    }
    if not results.panel.errors and results.found.length:
        context["charts"] = chart_panel(model, filterset)
        context["map"] = map_panel(model, filterset) if results.view == "map" else None
    # The page swaps its results: then they are the whole answer.
    template = "dashboard/_explore.html" if is_fragment(request) else "dashboard/inferences.html"
    response = render(request, template, context, status=200 if filterset.is_valid() else 400)
    patch_vary_headers(response, ["HX-Request"])
    response["Cache-Control"] = ASK_AGAIN
    return response


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """For whoever asks for it without looking at a page first, as browsers do for the API's JSON."""
    return HttpResponseRedirect(static("dashboard/mark.svg"))


@require_safe
def help_page(request: HttpRequest) -> HttpResponse:
    """Keys and the ways about, for anybody: a page, or what a dialog shows."""
    return render(request, "dashboard/_help.html" if is_fragment(request) else "dashboard/help.html")
