"""The bucket that BLOB_STORE names, and what its service's faults mean to us."""

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from inference_store import counters
from inference_store.blobs.keys import UnavailableError

CONNECT_SECONDS, ATTEMPTS = 3, 2
PATIENCE_SECONDS = 60
"""Until a copy or the end of a large upload is answered, which take the service a while."""
REST_SECONDS = 3.0
"""For so long after nobody answered is nothing asked."""
CONNECTIONS = 32
FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioStorageQuotaExceeded")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the part of its keys that is ours; every call may raise what `answering` tells apart."""

    client: Any
    patient: Any  # for what takes the service long
    public: Any  # for URLs alone: under the name that browsers know
    name: str
    prefix: str

    def place(self, path: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": f"{self.prefix}{path}"}

    def now(self) -> datetime:
        """By the service's clock: this machine's may be a day off."""
        answer = self.client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def listed(self, path: str) -> Iterator[dict[str, Any]]:
        """What lies below the path: Key, Size, LastModified."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=f"{self.prefix}{path}"
        )
        for page in pages:
            yield from page.get("Contents", ())


def bucket() -> Bucket:
    """Of the settings as they are now."""
    address = urlsplit(settings.BLOB_STORE)
    prefix = address.path.strip("/")
    credentials = settings.S3_ACCESS_KEY_ID, settings.S3_SECRET_ACCESS_KEY
    told = settings.S3_REGION, settings.S3_ADDRESSING, *credentials
    seconds = settings.S3_TIMEOUT_SECONDS
    client = _client(settings.S3_ENDPOINT_URL, *told, seconds)
    patient = _client(settings.S3_ENDPOINT_URL, *told, max(seconds, PATIENCE_SECONDS))
    named = settings.S3_PUBLIC_ENDPOINT_URL
    public = _client(named, *told, seconds) if named else client
    return Bucket(client, patient, public, address.netloc, f"{prefix}/" if prefix else "")


@cache
def _client(endpoint: str, region: str, addressing: str, key_id: str, secret: str, seconds: float) -> Any:
    """One a process, used by all its threads. Without a key of ours, boto3 looks for the environment's."""
    import boto3  # the extra `s3`
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region,
        aws_access_key_id=key_id or None,
        aws_secret_access_key=secret or None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing},
            connect_timeout=min(CONNECT_SECONDS, seconds),
            read_timeout=seconds,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            # Services other than Amazon's know no trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Rest:
    """After nobody answered, nothing is asked for a moment, and then by one caller at a time.

    So a service that hangs holds a thread or two of a process, not all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def refuse(self) -> None:
        """UnavailableError while it lasts; once it is over, the first caller tries."""
        with self._lock:
            if not self._until:
                return
            now = time.monotonic()
            if now < self._until:
                counters.blob_failed("away")
                raise UnavailableError("The blob store did not answer a moment ago.")
            self._until = now + REST_SECONDS

    def begin(self) -> None:
        with self._lock:
            self._until = time.monotonic() + REST_SECONDS

    def end(self) -> None:
        self._until = 0.0


@cache
def rest(endpoint: str) -> Rest:
    """One a process for each service."""
    return Rest()


@contextmanager
def answering() -> Iterator[None]:
    """UnavailableError where the service is away, refuses us or is busy; OSError ENOSPC where it is full."""
    from botocore.exceptions import ConnectionError as NoConnectionError
    from botocore.exceptions import HTTPClientError

    resting = rest(settings.S3_ENDPOINT_URL)
    resting.refuse()
    with translated():
        try:
            yield
        except (HTTPClientError, NoConnectionError):
            resting.begin()
            raise
        except Exception:
            resting.end()  # it answered, if with a refusal
            raise
    resting.end()


@contextmanager
def translated() -> Iterator[None]:
    """The library's faults as ours."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if code_of(error) in FULL or status_of(error) == 507:
            counters.blob_failed("full")
            raise OSError(errno.ENOSPC, "The bucket is full") from error
        counters.blob_failed("away")
        raise UnavailableError(f"The blob store answered {code_of(error)}") from error
    except (BotoCoreError, Boto3Error) as error:
        counters.blob_failed("away")
        raise UnavailableError(f"The blob store does not answer: {error}") from error


def code_of(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def missing_is(value: BaseException) -> Iterator[None]:
    """Raise that where the service knows no such key."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if code_of(error) == "NoSuchBucket" or status_of(error) != 404:
            raise
        raise value from None
