"""Addresses as clients see them."""

from collections.abc import Iterable

from django.conf import settings
from rest_framework.request import Request

from inference_store import blobs
from inference_store.query.rows import Plain


def presigned(request: Request, key: str, method: str, seconds: int | None = None, name: str = "") -> str:
    """An absolute URL for that key and method. The object store's own are absolute already."""
    url = blobs.presigned_url(key, method, seconds, name)
    if not url.startswith("/"):
        return url
    if settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL.rstrip('/')}{url}"
    return f"{request.scheme}://{request.get_host()}{url}"


def presign_inputs(request: Request, inferences: Iterable[Plain]) -> None:
    """Give each inference that has an input the URL to read it at."""
    for inference in inferences:
        if key := inference["data_storage_key"]:
            inference["presigned_url"] = presigned(request, key, "GET")
