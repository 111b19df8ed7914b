"""The one shape of an error on the wire, and the exception that becomes it."""

import re
from collections.abc import Mapping
from typing import Any

from inference_store.contract.base import IN_AN_ADDRESS, NO_NUL, ResponseModel

MESSAGES = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must be an object"),
    "string_type": "must be text",
    "list_type": "must be a list",
}
SHOULD = re.compile(r"^(Input|String|List) should ")
BOUNDS = {"greater than or equal to": "at least", "less than or equal to": "at most"}
PATTERNS = {
    NO_NUL: "holds a NUL character: remove it",
    IN_AN_ADDRESS: "may hold no slash and no control character: it stands in addresses",
}


def message_of(problem: Mapping[str, Any]) -> str:
    """What pydantic found wrong, in words for whoever sent it."""
    kind = problem.get("type")
    if kind == "string_pattern_mismatch":
        found = (words for pattern, words in PATTERNS.items() if f"'{pattern}'" in problem["msg"])
        return next(found, str(problem["msg"]))
    if kind in MESSAGES:
        return MESSAGES[kind]
    message = SHOULD.sub("must ", str(problem["msg"]).removeprefix("Value error, "))
    for theirs, ours in BOUNDS.items():
        message = message.replace(f"must be {theirs}", f"must be {ours}")
    return message


class ErrorBody(ResponseModel):
    """What was refused: a message that says what to do, a slug, and the offending fields by path."""

    error: str
    code: str
    fields: dict[str, str] = {}


class Refusal(Exception):  # noqa: N818  (it is an answer, not a fault)
    """A request that is refused: the HTTP status it is answered with, the body's content, and headers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fields = status, code, message, fields or {}
        self.headers = headers or {}

    @classmethod
    def invalid(cls, field: str, message: str) -> "Refusal":
        """A 400 about one field."""
        return cls(400, "invalid", f"{field}: {message}", {field: message})

    @classmethod
    def conflict(cls, message: str, fields: dict[str, str] | None = None) -> "Refusal":
        return cls(409, "conflict", message, fields)

    @classmethod
    def not_found(cls, message: str) -> "Refusal":
        return cls(404, "not_found", message)
