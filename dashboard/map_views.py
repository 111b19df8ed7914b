"""The map's own addresses: what lies in a viewport, and the way back with a circle that was typed."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe
from pydantic import ValidationError

from dashboard.chart_views import explore
from dashboard.maps import LARGEST_ZOOM, found_in
from dashboard.narrowing import on_first_page
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import logged_in_fragment, model_of
from inference_store import replica
from inference_store.contract.map_cells import Viewport
from inference_store.filtersets import InferenceFilterSet

CIRCLE_NAMES = ("latitude", "longitude", "radius")
BOUNDS = ("south", "west", "north", "east")


@logged_in_fragment
@require_safe
@replica.reads
def cells(request: HttpRequest, model_id: str) -> HttpResponse:
    """The rows of what lies in the viewport `bounds` (south,west,north,east) at that zoom."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=(*PAGE_NAMES, "bounds", "zoom"))
    try:
        bounds = dict(zip(BOUNDS, request.GET.get("bounds", "").split(","), strict=True))
        viewport, zoom = Viewport.model_validate(bounds), int(request.GET.get("zoom", ""))
    except (ValueError, ValidationError):
        raise Http404 from None
    if not filterset.is_valid() or not 0 <= zoom <= LARGEST_ZOOM:
        raise Http404
    found = found_in(model, filterset, viewport, zoom)
    return render(request, "dashboard/_map_cells.html", {"model": model, "found": found})


@login_required
@require_safe
def circle(request: HttpRequest, model_id: str) -> HttpResponse:
    """Back to the map, narrowed to the circle whose center and radius were typed."""
    model = model_of(request, model_id)
    data = on_first_page(request.GET)
    typed = [data.get(name, "").strip() for name in CIRCLE_NAMES]
    for name in (*CIRCLE_NAMES, "circle", "viewport"):
        data.pop(name, None)
    if any(typed):
        # What is wrong with it is said beside the filter.
        data["circle"] = ",".join(typed)
    return HttpResponseRedirect(explore(model, data))
