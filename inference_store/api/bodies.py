"""Request bodies, read in bounded pieces whatever the client announces."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from inference_store.contract.errors import Refusal

CHUNK_BYTES = 64 * 1024


def too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"The body is larger than {limit:,} bytes: send less at a time.")


def chunks(request: HttpRequest, limit: int) -> Iterator[bytes]:
    """The body in pieces, refused at `limit` bytes: before reading where its length is announced."""
    announced = request.META.get("CONTENT_LENGTH") or ""
    if announced:
        if not announced.isascii() or not announced.isdigit():
            raise Refusal(400, "invalid", "Content-Length must be a whole number of bytes.")
        if int(announced) > limit:
            raise too_large(limit)
    return _counted(request, int(announced) if announced else None, limit)


def _counted(request: HttpRequest, announced: int | None, limit: int) -> Iterator[bytes]:
    source = _source(request, announced)
    if source is None:
        return
    received = 0
    while True:
        try:
            # One byte more than allowed tells a body that ends at the limit from one that does not.
            piece = source.read(min(CHUNK_BYTES, limit + 1 - received))
        except (OSError, UnreadablePostError) as error:
            raise Refusal(400, "incomplete", "The body broke off before its end: send it again.") from error
        if not piece:
            break
        received += len(piece)
        if received > limit:
            raise too_large(limit)
        yield piece
    if announced is not None and received < announced:
        raise Refusal(400, "incomplete", f"The body broke off after {received:,} of {announced:,} bytes.")


def _source(request: HttpRequest, announced: int | None):  # type: ignore[no-untyped-def]
    if announced is not None:
        return request
    if "chunked" not in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    # Django takes a body without a length for empty; the server marks the ones that it ends itself.
    if not request.META.get("wsgi.input_terminated"):
        raise Refusal(411, "length_required", "Send a Content-Length header with the body.")
    return request.META["wsgi.input"]
