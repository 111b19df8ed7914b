"""What the explore page asks for after its results."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.counting import count_patiently
from dashboard.panel import PAGE_NAMES
from dashboard.reaching import fragment_or_page, is_fragment, model_of
from dashboard.results import request_of
from inference_store.filtersets import InferenceFilterSet


@fragment_or_page
@require_safe
@never_cache
def count(request: HttpRequest, model_id: str) -> HttpResponse:
    """How many inferences match, exactly or as far as there was time to count."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    asked = request_of(model, filterset)
    counted = count_patiently(model, asked.request) if asked.request is not None else None
    template = "dashboard/_count.html" if is_fragment(request) else "dashboard/counted.html"
    context = {"model": model, "count": counted, "chips": filterset.chips(), "was_asked": True}
    return render(request, template, context, status=200 if asked.request is not None else 400)
