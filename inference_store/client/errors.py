"""The exceptions that the client raises."""

from collections.abc import Mapping

import httpx
from pydantic import ValidationError

from inference_store.contract.errors import ErrorBody

UNREACHABLE = "unreachable"
NOT_CONFIGURED = "not_configured"
NOT_A_STORE = "not_a_store"
NOT_FOUND = "not_found"
INVALID = "invalid"


class ArchiveError(Exception):
    """An archive is not, byte for byte, what an export writes; the message says what is wrong and where."""


class InferenceStoreError(Exception):
    """A call that did not succeed.

    Attributes:
        status: the HTTP status; 0 where no answer came.
        message: what was wrong and what to do.
        code: a slug for programs; besides the store's own: "unreachable", "not_configured", "not_a_store".
        fields: what is wrong with which field, by the field's path.
    """

    def __init__(
        self, status: int, message: str, code: str = "", fields: Mapping[str, str] | None = None
    ) -> None:
        # All four reach Exception.args, so that the error survives pickling between processes.
        super().__init__(status, message, code, dict(fields or {}))
        self.status = status
        self.message = message
        self.code = code
        self.fields = dict(fields or {})

    def __str__(self) -> str:
        number = f"{self.status} " if self.status else ""
        listed = "; ".join(f"{path}: {reason}" for path, reason in self.fields.items())
        return f"{number}{self.message}" + (f" ({listed})" if listed else "")


def error_body(response: httpx.Response) -> ErrorBody | None:
    """The store's own words, None where something else answered."""
    try:
        return ErrorBody.model_validate_json(response.content)
    except ValidationError:
        return None
