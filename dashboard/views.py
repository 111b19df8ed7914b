"""The pages: each view asks the floors below and hands what it got to a template."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from dashboard.cards import version_of
from dashboard.charts import chart_panel
from dashboard.details import detail_of, excerpt_of, input_of
from dashboard.maps import map_panel
from dashboard.overlays import bounds
from dashboard.overview import overview
from dashboard.panel import PAGE_NAMES, canonical_query
from dashboard.pictures import SIZES, Picture, crop_picture, placeholder, small_picture
from dashboard.reaching import is_fragment, model_of
from dashboard.results import results_of
from dashboard.saved_views import LISTED, views_of
from inference_store import blobs
from inference_store.contract.entries import Entry
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import Inference
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query.entries import entries_of
from inference_store.query.pages import one_inference

FOR_EVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
DATA_ONLY = "default-src 'none'; sandbox"


def _inference(request: HttpRequest, model_id: str, inference_id: str) -> tuple[RegisteredModel, Inference]:
    model = model_of(request, model_id)
    found = one_inference(model, inference_id) if "\x00" not in inference_id else None
    if found is None:
        raise Http404
    return model, found


@login_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Home: the models one may see, by project."""
    groups, has_more = overview(request.user)
    return render(request, "dashboard/models.html", {"groups": groups, "has_more": has_more})


@login_required
@require_safe
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
        "rank": role.rank if (role := model.project.role_of(request.user)) else 0,
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


@login_required
@require_safe
def inference(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """One inference with everything that is known about it."""
    model, found = _inference(request, model_id, inference_id)
    context = {"model": model, "inference": found, "detail": detail_of(model, found)}
    return render(request, "dashboard/inference.html", context)


@login_required
@require_safe
def thumbnail(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """A small picture of the input; a placeholder where there can be none."""
    _, found = _inference(request, model_id, inference_id)
    size = request.GET.get("size", str(SIZES[0]))
    if size not in map(str, SIZES):
        raise Http404
    version = version_of(found.data_storage_key or "")
    etag = f'"{version}-{size}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified()
    picture = _picture(found, int(size))
    response = _data(picture.content, picture.media_type)
    response["ETag"] = etag
    # Bytes under a key never change, so that an address with its version stands for one picture.
    response["Cache-Control"] = FOR_EVER if request.GET.get("v") == version else ASK_AGAIN
    return response


@login_required
@require_safe
def crop(request: HttpRequest, model_id: str, inference_id: str, position: int) -> HttpResponse:
    """The part of the input that an entry is about; a placeholder where there can be none."""
    model, found = _inference(request, model_id, inference_id)
    entries = entries_of(model, [inference_id])[inference_id]
    if position >= len(entries):
        raise Http404
    version = version_of(found.data_storage_key or "")
    etag = f'"{version}-{position}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified()
    picture = _crop(found, entries[position])
    response = _data(picture.content, picture.media_type)
    response["ETag"] = etag
    response["Cache-Control"] = FOR_EVER if request.GET.get("v") == version else ASK_AGAIN
    return response


def _crop(found: Inference, entry: Entry) -> Picture:
    blob = input_of(found)
    if not found.data_storage_key or not blob.width or not blob.height:
        return placeholder()
    box = bounds(entry.geometry or {}, blob.width, blob.height)
    if box is None:
        return _picture(found, SIZES[0])
    try:
        with blobs.open_blob(found.data_storage_key) as source:
            return crop_picture(source, box, blob.size)
    except Refusal:
        return placeholder()


def _picture(found: Inference, size: int) -> Picture:
    if not found.data_storage_key:
        return placeholder()
    try:
        with blobs.open_blob(found.data_storage_key) as source:
            return small_picture(source, size, input_of(found).size)
    except Refusal:
        return placeholder()


@login_required
@require_safe
def excerpt(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """The beginning of a text input as plain text; 204 where the input is none."""
    _, found = _inference(request, model_id, inference_id)
    text = excerpt_of(found)
    if text is None:
        return HttpResponse(status=204)
    response = _data(text.encode(), "text/plain; charset=utf-8")
    response["Cache-Control"] = ASK_AGAIN
    return response


@login_required
@require_safe
def download(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """On to a presigned URL of the input, made at this moment."""
    _, found = _inference(request, model_id, inference_id)
    if not found.data_storage_key:
        raise Http404
    response = redirect(blobs.presigned_url(found.data_storage_key, "GET"))
    response["Cache-Control"] = "no-store"
    return response


def _data(content: bytes, media_type: str) -> HttpResponse:
    headers: dict[str, Any] = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": DATA_ONLY}
    return HttpResponse(content, content_type=media_type, headers=headers)
