"""The one shape of an error on the wire."""

from inference_store.contract.base import ResponseModel


class ErrorBody(ResponseModel):
    """What was refused: a message that says what to do, a slug, and the offending fields by path."""

    error: str
    code: str
    fields: dict[str, str] = {}
