"""Our own signed URLs, for bytes that go through the store."""

import hmac
import re
import time
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.crypto import salted_hmac

from inference_store.blobs.keys import KEY
from inference_store.contract.errors import Refusal

URL = re.compile(r"expires=([0-9]{1,12})&signature=([0-9a-f]{64})", re.ASCII)


def _signature(method: str, key: str, expires: str) -> str:
    message = f"{method}\n{key}\n{expires}"
    return salted_hmac("inference_store.blobs", message, algorithm="sha256").hexdigest()


def _url(method: str, key: str, expires: str) -> str:
    path = reverse("api:blob", args=[key])
    return f"{path}?expires={expires}&signature={_signature(method, key, expires)}"


def presigned_url(key: str, method: str, seconds: int | None = None) -> str:
    """A path with query, good for that key and method and so many seconds."""
    lifetime = settings.BLOB_URL_SECONDS if seconds is None else seconds
    return _url(method, key, str(int(time.time()) + lifetime))


def verify(method: str, full_path: str, key: str) -> None:
    """Refusal 403 unless this very URL, byte for byte, was signed for the method and is in time."""
    refused = Refusal(
        403, "bad_signature", "This URL was changed, is past its time, or is for another method."
    )
    signed = URL.fullmatch(urlsplit(full_path).query)
    if not signed or not KEY.fullmatch(key):
        raise refused
    expires = signed.group(1)
    if not hmac.compare_digest(_url(method, key, expires).encode(), full_path.encode()):
        raise refused
    if int(expires) < time.time():
        raise Refusal(403, "expired", "This URL is past its time; ask for a new one.")
