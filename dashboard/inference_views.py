"""An inference's page, what it is made of, and what can be changed there."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.cards import version_of
from dashboard.details import detail_of, excerpt_of, input_of
from dashboard.fetching import base_url, curl_words, sdk_words
from dashboard.forms import ConfirmForm, MetadataForm
from dashboard.overlays import bounds
from dashboard.pictures import LARGE, SIZES, Picture, crop_picture, large_picture, placeholder, small_picture
from dashboard.reaching import answered, is_fragment, logged_in_fragment, model_of, posted
from dashboard.surroundings import beside, neighbours_of, same_input_of, whence
from inference_store import blobs, replica
from inference_store.contract.entries import Entry
from inference_store.contract.errors import Refusal
from inference_store.contract.inferences import Inference
from inference_store.models import RegisteredModel, Role
from inference_store.query.entries import entries_of
from inference_store.query.pages import one_inference
from inference_store.services import deletion as deletion_service
from inference_store.services import metadata as metadata_service
from inference_store.services import protection as protection_service

FOR_EVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
DATA_ONLY = "default-src 'none'; sandbox"


def _inference(
    request: HttpRequest, model_id: str, inference_id: str, role: Role = Role.VIEWER
) -> tuple[RegisteredModel, Inference]:
    model = model_of(request, model_id, role)
    found = one_inference(model, inference_id) if "\x00" not in inference_id else None
    if found is None:
        raise Http404
    return model, found


# --- The page -----------------------------------------------------------------------------------------------
@login_required
@require_safe
@never_cache
def inference(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """One inference with everything that is known about it."""
    model, found = _inference(request, model_id, inference_id)
    return _page(request, model, found)


def _page(request: HttpRequest, model: RegisteredModel, found: Inference, **forms: Any) -> HttpResponse:
    """The page; 400 where it comes back with a form that is wrong."""
    role = model.project.role_of(request.user)
    result = whence(model, request.GET)
    base = base_url(request)
    context = {
        "model": model,
        "inference": found,
        "detail": detail_of(model, found),
        "result": result,
        "beside": beside(model, found, result),
        "same_input": same_input_of(request.user, model, found),
        "is_editor": role in Role.at_least(Role.EDITOR),
        "is_admin": role is Role.ADMIN,
        "metadata_form": MetadataForm(),
        "deletion": _deletion(found),
        "sdk": sdk_words(base, model, found),
        "curl": curl_words(base, model, found),
    }
    return render(request, "dashboard/inference.html", context | forms, status=400 if forms else 200)


def _back(request: HttpRequest, model_id: str, inference_id: str, anchor: str) -> HttpResponse:
    """To the inference's page, as part of the result that it was seen in."""
    address = reverse("dashboard:inference", args=[model_id, inference_id])
    query = request.GET.urlencode()
    return redirect(f"{address}?{query}#{anchor}" if query else f"{address}#{anchor}")


@logged_in_fragment
@require_safe
@replica.reads
def neighbours(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """The nearest inferences by embedding: a fragment of the page, or a page of its own."""
    model, found = _inference(request, model_id, inference_id)
    if not model.embedding_size:
        raise Http404
    template = "dashboard/_neighbours.html" if is_fragment(request) else "dashboard/neighbours.html"
    context = {"model": model, "inference": found, "neighbours": neighbours_of(model, found)}
    return render(request, template, context)


# --- What it is made of -------------------------------------------------------------------------------------
@login_required
@require_safe
@replica.leaves_no_position
def thumbnail(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """A small picture of the input, or a large one to look at closely; a placeholder where there is none."""
    _, found = _inference(request, model_id, inference_id)
    size = request.GET.get("size", str(SIZES[0]))
    if size not in (*map(str, SIZES), LARGE):
        raise Http404
    version = version_of(found.data_storage_key or "")
    etag = f'"{version}-{size}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified()
    try:
        picture = _picture(found, size)
    except blobs.UnavailableError:
        return _later()
    response = _data(picture.content, picture.media_type)
    response["ETag"] = etag
    # Bytes under a key never change, so that an address with its version stands for one picture.
    response["Cache-Control"] = FOR_EVER if request.GET.get("v") == version else ASK_AGAIN
    return response


@login_required
@require_safe
@replica.leaves_no_position
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
    try:
        picture = _crop(found, entries[position])
    except blobs.UnavailableError:
        return _later()
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
        return _picture(found, str(SIZES[0]))
    try:
        with blobs.open_blob(found.data_storage_key) as source:
            return crop_picture(source, box, blob.size)
    except Refusal:
        return placeholder()


def _picture(found: Inference, size: str) -> Picture:
    if not found.data_storage_key:
        return placeholder()
    try:
        with blobs.open_blob(found.data_storage_key) as source:
            byte_count = input_of(found).size
            if size == LARGE:
                return large_picture(source, byte_count)
            return small_picture(source, int(size), byte_count)
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


def _later() -> HttpResponse:
    """A placeholder that no browser keeps: the blob store is away."""
    response = _data(placeholder().content, placeholder().media_type)
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    response["Cache-Control"] = "no-store"
    response["Retry-After"] = "2"
    return response


def _data(content: bytes, media_type: str) -> HttpResponse:
    headers: dict[str, Any] = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": DATA_ONLY}
    return HttpResponse(content, content_type=media_type, headers=headers)


# --- What can be changed ------------------------------------------------------------------------------------
@posted
def put_metadata(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Add a value, or replace the one that the key has."""
    model, found = _inference(request, model_id, inference_id, Role.EDITOR)
    form = MetadataForm(request.POST)
    if not form.is_valid() or form.asked is None:
        return _page(request, model, found, metadata_form=form)
    try:
        metadata_service.put_metadata(model=model, inference_id=inference_id, request=form.asked)
    except Refusal as refusal:
        raise answered(refusal) from None
    messages.success(request, f"{form.asked.key} is set.")
    return _back(request, model_id, inference_id, "metadata")


@posted
def delete_metadata(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    model = model_of(request, model_id, Role.EDITOR)
    key = request.POST.get("key", "")
    try:
        metadata_service.delete_metadata(model=model, inference_id=inference_id, key=key)
    except Refusal:
        messages.error(request, "That key is not there any more.")
    else:
        messages.success(request, f"{key} is removed.")
    return _back(request, model_id, inference_id, "metadata")


@posted
def set_protection(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Protect it from retention, or lift that."""
    model = model_of(request, model_id, Role.ADMIN)
    wanted = request.POST.get("is_protected")
    if wanted not in ("yes", "no"):
        raise Http404
    is_protected = wanted == "yes"
    try:
        protection_service.set_protection(model=model, inference_id=inference_id, is_protected=is_protected)
    except Refusal as refusal:
        raise answered(refusal) from None
    words = "Protected: retention never deletes it." if is_protected else "No longer protected."
    messages.success(request, words)
    return _back(request, model_id, inference_id, "keeping")


def _deletion(found: Inference, data: Any = None) -> ConfirmForm:
    return ConfirmForm(
        data, expected=found.inference_id.strip(), message="Type the inference's id to delete it."
    )


@posted
def delete_inference(request: HttpRequest, model_id: str, inference_id: str) -> HttpResponse:
    """Delete it for good, protected or not, and go on to the next of the result."""
    model, found = _inference(request, model_id, inference_id, Role.EDITOR)
    form = _deletion(found, request.POST)
    if not form.is_valid():
        return _page(request, model, found, deletion=form)
    result = whence(model, request.GET)
    onward = beside(model, found, result)
    try:
        deletion_service.delete_inference(model=model, inference_id=inference_id)
    except Refusal as refusal:
        raise answered(refusal) from None
    messages.success(request, f"{inference_id} is deleted.")
    return redirect(onward.after or onward.before or result.list_url)
