"""Uploads: a storage key and where to put its bytes; the bytes themselves, by presigned URL."""

import io
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from inference_store import blobs
from inference_store.api import bodies, errors
from inference_store.api.addresses import presigned
from inference_store.api.operations import REASONS, Answer, StoreView, operation
from inference_store.api.ranges import Part, PartReader, UnsatisfiableError, part_of
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import ErrorBody, Refusal
from inference_store.contract.inferences import DataUpload, MetadataUpload
from inference_store.models import Blob, RegisteredModel, Role
from inference_store.services import uploads
from inference_store.services.exports import record_download


class DataUploads(StoreView):
    @operation(
        "upload_data",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        gives=DataUpload,
        created=True,
        summary="Get a place for an input",
        tag="uploads",
    )
    def post(self, request: Request, model: RegisteredModel) -> Answer:
        """A storage key, and the URL to PUT the input at, once."""
        key = uploads.new_upload(model=model, kind=Blob.Kind.DATA)
        return HTTPStatus.CREATED, DataUpload(
            data_presigned_url=presigned(request, key, "PUT"), data_storage_key=key
        )


class MetadataUploads(StoreView):
    @operation(
        "upload_inference_and_metadata",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        gives=MetadataUpload,
        created=True,
        summary="Get a place for an encoded inference",
        tag="uploads",
    )
    def post(self, request: Request, model: RegisteredModel) -> Answer:
        """A storage key, and the URL to PUT an encoded inference with metadata at, once."""
        key = uploads.new_upload(model=model, kind=Blob.Kind.METADATA)
        return HTTPStatus.CREATED, MetadataUpload(
            metadata_presigned_url=presigned(request, key, "PUT"), metadata_storage_key=key
        )


SIGNED = [
    OpenApiParameter("expires", OpenApiTypes.INT, OpenApiParameter.QUERY, required=True),
    OpenApiParameter("signature", OpenApiTypes.STR, OpenApiParameter.QUERY, required=True),
]


def refusals(*statuses: int) -> dict[Any, Any]:
    return {status: OpenApiResponse(ErrorBody, REASONS[status]) for status in statuses}


def address_as_sent(request: HttpRequest) -> str:
    """Path and query byte for byte where the server keeps them, so that no other spelling is believed."""
    raw = request.META.get("RAW_URI") or request.META.get("REQUEST_URI")
    return str(raw) if raw and raw.startswith("/") else request.get_full_path()


RANGES = [
    OpenApiParameter(
        "Range", OpenApiTypes.STR, OpenApiParameter.HEADER, description="One range, `bytes=first-last`."
    ),
    OpenApiParameter(
        "If-Range", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The ETag that the range is of."
    ),
]
SENT_BYTES = 64 * 1024


class Sending(FileResponse):
    """Bytes of a blob."""

    block_size = SENT_BYTES


class Blobs(StoreView):
    """Inputs by presigned URL, which is all the permission that it takes."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        operation_id="put_blob",
        summary="Put bytes",
        description="Write a key, once. The URL comes from `upload_data` and its siblings.",
        tags=["uploads"],
        auth=[],
        parameters=SIGNED,
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={204: OpenApiResponse(description="It was written.")}
        | refusals(400, 403, 404, 409, 411, 413, 503, 507),
    )
    def put(self, request: Request, key: str) -> HttpResponseBase:
        # The method is signed too: a URL to read is none to write.
        blobs.verify("PUT", address_as_sent(request._request), key)
        pieces = bodies.chunks(request._request, settings.BLOB_MAXIMUM_BYTES)
        uploads.receive(key=key, chunks=pieces, limit_bytes=settings.BLOB_MAXIMUM_BYTES)
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    @extend_schema(
        operation_id="get_blob",
        summary="Get bytes",
        description="Read an input. The URL comes from an inference's `presigned_url`.",
        tags=["uploads"],
        auth=[],
        parameters=SIGNED + RANGES,
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY, "The range."),
            304: OpenApiResponse(description="It is what If-None-Match names."),
        }
        | refusals(400, 403, 404, 416, 503),
    )
    def get(self, request: Request, key: str) -> HttpResponseBase:
        blobs.verify("GET", address_as_sent(request._request), key)
        blob = Blob.objects.filter(key=key, uploaded_at__isnull=False, doomed_at__isnull=True).first()
        if blob is None:
            raise Refusal.not_found("There is no such input any more.")
        etag = f'"{blob.key}"'
        if (unchanged := get_conditional_response(request._request, etag=etag)) is not None:
            return unchanged
        response = _by_the_proxy(blob) or _sent(request, blob, etag)
        if blob.kind == Blob.Kind.ARCHIVE and response.status_code < HTTPStatus.BAD_REQUEST:
            record_download(blob.key)
        named = f'; filename="{blobs.archive_name(blob.key)}"' if blob.kind == Blob.Kind.ARCHIVE else ""
        response["Content-Disposition"] = f"attachment{named}"
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        response["Cache-Control"] = f"private, max-age={settings.BLOB_URL_SECONDS}, immutable"
        response["ETag"] = etag
        response["Accept-Ranges"] = "bytes"
        return response


def _by_the_proxy(blob: Blob) -> HttpResponse | None:
    """Where a proxy in front sends files by itself: what tells it which. It sees to ranges, too."""
    if not (location := blobs.internal_location(blob.key)):
        return None
    return HttpResponse(content_type=blob.media_type, headers={"X-Accel-Redirect": location})


def _sent(request: Request, blob: Blob, etag: str) -> HttpResponseBase:
    """The bytes, or those that are asked for; a range of another version is none."""
    file = blobs.open_blob(blob.key)
    try:
        size = file.seek(0, io.SEEK_END)
        part = None
        if request.method == "GET" and request.headers.get("If-Range", etag).strip() == etag:
            part = part_of(request.headers.get("Range", ""), size)
        file.seek(0)
    except UnsatisfiableError:
        file.close()
        message = f"The range lies outside of what is there: {size:,} bytes."
        body = errors.body_of(Refusal(416, "range_not_satisfiable", message)).model_dump_json()
        headers = {"Content-Range": f"bytes */{size}"}
        return HttpResponse(
            body, "application/json", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers
        )
    except BaseException:
        file.close()
        raise
    if part is None:
        return Sending(file, content_type=blob.media_type)
    return _partial(Sending(PartReader(file, part), content_type=blob.media_type), part, size)


def _partial(response: HttpResponseBase, part: Part, size: int) -> HttpResponseBase:
    response.status_code = HTTPStatus.PARTIAL_CONTENT
    response["Content-Range"] = part.content_range(size)
    response["Content-Length"] = str(part.length)
    return response
