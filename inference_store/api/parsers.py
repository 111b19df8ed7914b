"""The media types that bodies come in. Operations read and validate them: `operations.py`."""

from typing import IO, Any

from rest_framework.parsers import BaseParser


class ContractParser(BaseParser):
    """JSON, validated straight from its bytes by a model of the contract, never through `request.data`."""

    media_type = "application/json"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        raise NotImplementedError("operations read their bodies themselves, bounded")


class LinesParser(ContractParser):
    """One JSON object a line."""

    media_type = "application/x-ndjson"
