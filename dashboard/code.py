"""A page of results as the call that fetches it: with the SDK, and with curl."""

import json
import shlex
from typing import Any

from inference_store.contract.base import RequestModel
from inference_store.contract.filters import NewGetInferencesRequest

WIDEST = 100


def sdk_code(
    model_id: str,
    request: NewGetInferencesRequest,
    base_url: str,
    *,
    entries: bool = False,
    like: str | None = None,
) -> str:
    """Python that prints what the page shows. `like`: the inference whose embedding is searched by."""
    asked = _call(request, {"query_embedding": "like.structured_embedding"} if like else {})
    function = "filter_granular_inferences" if entries else "filter_inferences"
    shown = (
        "print(row.inference.inference_id, row.position, row.label, row.score)"
        if entries
        else "print(row.inference_id, row.created_at, row.data)"
    )
    lines = [
        "import os",
        "",
        "from inference_store.client import connect, inference, models",
        "",
        f'connect(base_url={base_url!r}, token=os.environ["INFERENCE_STORE_TOKEN"])',
    ]
    if like is not None:
        lines.append(f"like = inference.get_inference({model_id!r}, {like!r})")
    lines += [
        f"request = {asked}",
        f"for row in inference.{function}({model_id!r}, request):",
        f"    {shown}",
    ]
    return "\n".join(lines) + "\n"


def _call(value: Any, instead: dict[str, str], depth: int = 0) -> str:
    """The value as Python spells it; of models only what was set, on one line where it fits.

    `instead`: expressions for fields of those names.
    """
    if isinstance(value, RequestModel):
        opening, closing = f"models.{type(value).__name__}(", ")"
        parts = [
            f"{name}={instead[name] if name in instead else _call(item, instead, depth + 1)}"
            for name, item in value
            if item != type(value).model_fields[name].get_default(call_default_factory=True)
        ]
    elif isinstance(value, list):
        opening, closing = "[", "]"
        parts = [_call(item, instead, depth + 1) for item in value]
    else:
        return repr(value)
    line = opening + ", ".join(parts) + closing
    if len(line) + 4 * depth <= WIDEST and "\n" not in line:
        return line
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return line  # a vector's numbers are not laid out one a line
    inner, outer = "    " * (depth + 1), "    " * depth
    return f"{opening}\n" + "".join(f"{inner}{part},\n" for part in parts) + outer + closing


def curl_code(address: str, request: NewGetInferencesRequest) -> str:
    """A shell command that fetches the page as JSON."""
    body = json.dumps(request.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
    return (
        f"curl --fail-with-body {shlex.quote(address)} \\\n"
        '  -H "Authorization: Bearer $INFERENCE_STORE_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}\n"
    )
