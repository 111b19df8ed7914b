"""Writes what is at a presigned URL to a file, and goes on where a connection broke."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin

import httpx

from inference_store.client.calls import refusal
from inference_store.client.connection import current
from inference_store.client.errors import UNREACHABLE, InferenceStoreError
from inference_store.client.sending import send

PIECE_BYTES = 2**20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/[0-9]+", re.ASCII)


def fetch(presigned_url: str, path: Path, another_url: Callable[[], str]) -> None:
    """Write a new file, durably. The URL is its own permission: no token is sent there.

    Args:
        presigned_url: Where the bytes are.
        path: The file, which must not be there yet.
        another_url: Gives a URL of the same bytes, once that one is past its time.

    Raises:
        InferenceStoreError: it was refused, or broke off again and again with nothing new in between.
        OSError: the file can't be written.
    """
    with open(path, "xb") as file:
        download, renewed_at = _Download(file), 0
        while True:
            before = download.position
            try:
                response = send(
                    download.request(presigned_url), repeatable=True, receive=download.receive
                ).response
            except InferenceStoreError as error:
                if error.code == UNREACHABLE and download.position > before:
                    continue
                raise
            if response.is_success:
                break
            if not download.position:
                raise refusal(response)
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                download.etag = ""  # from its beginning
            elif response.status_code == httpx.codes.FORBIDDEN and download.position > renewed_at:
                # It was good when the download began: a long one outlives its URL.
                presigned_url, renewed_at = another_url(), download.position
            else:
                raise refusal(response)
        file.flush()
        # The name must not outlive a crash that the content doesn't.
        os.fsync(file.fileno())


class _Download:
    """A file that grows, and which version of what it is of."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.etag = ""
        self._request: httpx.Request | None = None

    @property
    def position(self) -> int:
        """How many bytes are there that a next attempt can keep."""
        return self.file.tell() if self.etag else 0

    def request(self, presigned_url: str) -> httpx.Request:
        connection = current()
        # As it is stored: what a server packs on the way could not be told from what it cut short.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        url = urljoin(connection.settings.base_url, presigned_url)
        self._request = connection.client.build_request("GET", url, headers=headers)
        self._ask_for_the_rest(self._request)
        return self._request

    def _ask_for_the_rest(self, request: httpx.Request) -> None:
        for name in ("Range", "If-Range"):
            request.headers.pop(name, None)
        if self.position:
            request.headers["Range"] = f"bytes={self.position}-"
            request.headers["If-Range"] = self.etag

    def receive(self, response: httpx.Response) -> None:
        etag = response.headers.get("ETag", "")
        if not self._goes_on(response, etag):
            self.file.seek(0)
            self.file.truncate()
        # A weak one may be of other bytes, and what is packed in spite of us has other positions.
        is_exact = not etag.startswith("W/") and "Content-Encoding" not in response.headers
        self.etag = etag if is_exact else ""
        try:
            for piece in response.iter_bytes(PIECE_BYTES):
                self.file.write(piece)
        finally:
            # The same request is sent again where this attempt breaks off.
            self._ask_for_the_rest(response.request)

    def _goes_on(self, response: httpx.Response, etag: str) -> bool:
        """Whether the answer is what follows the bytes that are there.

        Raises:
            httpx.RemoteProtocolError: it is a part, but not the one that was asked for.
        """
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            return False
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found and int(found[1]) == self.position and etag in ("", self.etag):
            return True
        self.etag = ""
        self._ask_for_the_rest(response.request)
        raise httpx.RemoteProtocolError(
            "the part is not the one that was asked for", request=response.request
        )
