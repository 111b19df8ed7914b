"""The charts' own addresses: one for each, all of them on one page, and the way back with a range."""

from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard.charts import chart_of, chart_panel
from dashboard.narrowing import RANGE_OF, key_of, on_first_page, with_range
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import logged_in_fragment, model_of, rank_of
from inference_store import replica
from inference_store.contract.base import parse_float, parse_int
from inference_store.contract.filters import parse_instant
from inference_store.filtersets import InferenceFilterSet, zoned
from inference_store.models import RegisteredModel

RANGE_NAMES = ("chart", "low", "high", "below")
"""What a chart's form sends beside the page's own parameters; `below` is a `high` that is not included."""


def explore(model: RegisteredModel, data: QueryDict) -> str:
    """The address of the page of results with that query string."""
    path = reverse("dashboard:inferences", args=[model.model_id])
    return f"{path}?{data.urlencode()}" if data else path


@logged_in_fragment
@require_safe
@replica.reads
def chart(request: HttpRequest, model_id: str) -> HttpResponse:
    """One chart, for the page that is already there."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=(*PAGE_NAMES, "chart"))
    shown = chart_of(model, filterset, request.GET.get("chart", "")) if filterset.is_valid() else None
    if shown is None:
        raise Http404
    return render(request, "dashboard/_chart.html", {"model": model, "chart": shown})


@login_required
@require_safe
@replica.reads
def charts(request: HttpRequest, model_id: str) -> HttpResponse:
    """All charts at once, for whoever has no JavaScript; each is bounded in time."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    if not filterset.is_valid():
        return HttpResponseRedirect(explore(model, request.GET.copy()))
    panel = chart_panel(model, filterset)
    context = {
        "model": model,
        "rank": rank_of(request, model),
        "charts": panel,
        "chips": filterset.chips(),
        "all": [chart_of(model, filterset, each.name) for each in panel.shown],
    }
    return render(request, "dashboard/charts.html", context)


@login_required
@require_safe
def narrow(request: HttpRequest, model_id: str) -> HttpResponse:
    """Back to the results, narrowed to the range that was typed or brushed under a chart."""
    model = model_of(request, model_id)
    name = request.GET.get("chart", "")
    data = on_first_page(request.GET)
    for each in RANGE_NAMES:
        data.pop(each, None)
    if name not in RANGE_OF and key_of(name)[0] not in ("int", "float"):
        raise Http404
    below = request.GET.get("below", "")
    try:
        low, high = (
            _bound(name, text) for text in (request.GET.get("low", ""), below or request.GET.get("high", ""))
        )
    except ValueError as error:
        context = {"model": model, "message": str(error), "back": explore(model, data)}
        return render(request, "dashboard/no_range.html", context, status=400)
    narrowed = with_range(data, name, low, high, with_end=not below)
    return HttpResponseRedirect(explore(model, narrowed))


def _bound(name: str, text: str) -> float | datetime | None:
    text = text.strip()
    if not text:
        return None
    if name == "time":
        return parse_instant(zoned(text))
    return float(parse_int(text)) if name.startswith("int:") else parse_float(text)
