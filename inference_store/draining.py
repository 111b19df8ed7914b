"""Bodies of refused requests, read to their end before the answer goes out.

A server that closes a connection with a body unread on it breaks it: a proxy in front, which is still
sending, then answers 502 in place of what was answered.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

LARGEST_BYTES = 2 * 2**20
"""Of a body that is read in vain: what is larger is not worth it."""
CHUNK_BYTES = 64 * 1024

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def draining(application: Application) -> Application:
    """The WSGI application, which leaves no such body unread."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = application(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdigit() and int(length) <= LARGEST_BYTES:
            body = environ["wsgi.input"]
            with suppress(OSError):  # whoever sent it is gone
                while body.read(CHUNK_BYTES):
                    pass
        return response

    return answer
