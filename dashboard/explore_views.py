"""What the explore page asks for after its results, and what leads to such a page."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.code import curl_code, sdk_code
from dashboard.counting import count_patiently
from dashboard.panel import PAGE_NAMES, likely_type
from dashboard.reaching import fragment_or_page, is_fragment, logged_in_fragment, model_of, posted
from dashboard.results import ENTRIES, Asked, query_with, request_of
from dashboard.similarity import pasted_filter
from dashboard.suggest import suggest
from inference_store import replica
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.services.query_vectors import keep_query_vector


@fragment_or_page
@require_safe
@never_cache
@replica.reads
def count(request: HttpRequest, model_id: str) -> HttpResponse:
    """How many inferences match, exactly or as far as there was time to count."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    asked = request_of(model, filterset)
    counted = None
    if asked.request is not None:
        counted = count_patiently(model, asked.request, with_entries=asked.counts_entries)
    template = "dashboard/_count.html" if is_fragment(request) else "dashboard/counted.html"
    context = {"model": model, "count": counted, "chips": filterset.chips(), "was_asked": True}
    return render(request, template, context, status=200 if asked.request is not None else 400)


@logged_in_fragment
@require_safe
@never_cache
@replica.reads
def suggestions(request: HttpRequest, model_id: str) -> HttpResponse:
    """Values that begin as what was typed, as options of a datalist."""
    model = model_of(request, model_id)
    data, field = request.GET, request.GET.get("field", "")
    key = data.get("metadata_key", "")
    type_ = data.get("metadata_type", "")
    if field == "value" and key and not type_:
        type_ = likely_type(model, key, data.get("metadata_value", ""))
    typed = data.get("metadata_value" if field == "value" else field, "")
    context = {"found": suggest(model, field, typed, key, type_), "field": field}
    return render(request, "dashboard/_suggestions.html", context)


@login_required
@require_safe
def code(request: HttpRequest, model_id: str) -> HttpResponse:
    """The page of results as a call of the SDK, and as curl."""
    model = model_of(request, model_id)
    filterset = InferenceFilterSet(request.GET, allowed=PAGE_NAMES)
    asked = request_of(model, filterset)
    context = {"model": model, "query": request.GET.urlencode(), "chips": filterset.chips(), "codes": []}
    if asked.request is not None:
        context["codes"] = _codes(request, model, asked, asked.request)
    return render(request, "dashboard/code.html", context, status=200 if asked.request else 400)


def _codes(
    request: HttpRequest, model: RegisteredModel, asked: Asked, body: NewGetInferencesRequest
) -> list[tuple[str, str, str]]:
    """(id, words, code) each."""
    base_url = f"{request.scheme}://{request.get_host()}"
    wanted = body.model_copy(update={"embeddings": None})
    entries, like = asked.view == ENTRIES, asked.similarity.like if asked.similarity else None
    address = base_url + reverse("api:granular" if entries else "api:search", args=[model.model_id])
    return [
        ("sdk", "Python", sdk_code(model.model_id, wanted, base_url, entries=entries, like=like)),
        ("curl", "curl", curl_code(address, wanted)),
    ]


@posted
def paste_vector(request: HttpRequest, model_id: str) -> HttpResponse:
    """Keep a pasted vector, and on to the page of what is near to it."""
    model = model_of(request, model_id)
    query = QueryDict(request.POST.get("query", ""))
    filterset = InferenceFilterSet(query, allowed=PAGE_NAMES)
    path = reverse("dashboard:inferences", args=[model.model_id])
    try:
        wanted = pasted_filter(request.POST.get("numbers", ""))
        digest = keep_query_vector(model=model, wanted=wanted)
    except Refusal as refusal:
        messages.error(request, f"This vector can't be searched by: {refusal.message.partition(': ')[2]}.")
        return redirect(f"{path}?{query.urlencode()}" if query else path)
    return redirect(f"{path}?{query_with(filterset, vector=digest, similar_to='', sort='', direction='')}")
