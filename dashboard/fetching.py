"""How to fetch what a page shows: the call of the SDK, and curl."""

import shlex

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from inference_store.contract.inferences import Inference
from inference_store.models import RegisteredModel

TOKEN = "$INFERENCE_STORE_TOKEN"  # noqa: S105  (a variable's name)


def base_url(request: HttpRequest) -> str:
    """The store's address as clients type it."""
    return settings.PUBLIC_URL.rstrip("/") or f"{request.scheme}://{request.get_host()}"


def sdk_words(base: str, model: RegisteredModel, found: Inference) -> str:
    return (
        "import inference_store.client as istore\n\n"
        f"istore.connect(base_url={base!r})  # the token is in INFERENCE_STORE_TOKEN\n"
        f"found = istore.get_inference({model.model_id!r}, {found.inference_id!r}, presign=True)"
    )


def curl_words(base: str, model: RegisteredModel, found: Inference) -> str:
    address = base + reverse("api:inference", args=[model.model_id, found.inference_id])
    return f'curl -H "Authorization: Bearer {TOKEN}" \\\n  {shlex.quote(address + "?presign=true")}'
