"""Many inferences with inputs, stored quickly."""

from datetime import timedelta
from pathlib import Path
from random import Random

from django.conf import settings
from django.utils import timezone

from inference_store import blobs
from inference_store.models import Blob
from inference_store.services import ingest
from tests.making import LONG_AGO, make_request

AT_ONCE = 5_000


def stock(model, count, *, first=0, size=1_000, created_at=LONG_AGO):
    """So many inferences a second apart, with two metadata keys and an input of random bytes each."""
    random = Random(first)
    for start in range(0, count, AT_ONCE):
        numbers = range(first + start, first + min(count, start + AT_ONCE))
        keys = [_put(model, random.randbytes(size)) for _ in numbers]
        now = timezone.now()
        rows = [
            Blob(key=key, registered_model=model, kind=Blob.Kind.DATA, uploaded_at=now, size=size)
            for key in keys
        ]
        Blob.objects.bulk_create(rows)
        requests = [
            make_request(
                model,
                f"i-{number:07}",
                entries=[{"label": f"label-{number % 7}", "score": number % 100 / 100}],
                metadata=[("run", "int", str(number)), ("site", "string", f"harbour {number % 5}")],
                created_at=created_at + timedelta(seconds=number - first),
                key=key,
            )
            for number, key in zip(numbers, keys, strict=True)
        ]
        ingest.store_inferences(model=model, requests=requests)


def _put(model, content):
    """As an upload leaves it, but not forced to the disk file by file."""
    key = blobs.new_key(model.pk)
    incoming = Path(settings.BLOB_ROOT) / "incoming" / key.replace("/", "-")
    incoming.parent.mkdir(parents=True, exist_ok=True)
    incoming.write_bytes(content)
    blobs.Received(incoming, blobs.Description(len(content))).keep(key)
    return key


def stored_files():
    """The keys of all files of the blob store, and whatever else lies there."""
    root = Path(settings.BLOB_ROOT)
    found = (path.relative_to(root).parts for path in root.rglob("*") if path.is_file())
    return {
        f"{parts[0]}/{parts[2]}" if len(parts) == 3 and parts[0].isdigit() else "/".join(parts)
        for parts in found
    }
