"""The contract's validators, made to stop at the first wrong item of a list.

Pydantic collects every mistake, and keeps some hundred bytes for each: two megabytes of wrong items would
take half a gigabyte. What is accepted stays the same.
"""

from copy import deepcopy
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import SchemaValidator


@cache
def validator(model: type[BaseModel]) -> SchemaValidator:
    """Reads what the model reads."""
    schema: Any = deepcopy(TypeAdapter(model).core_schema)
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("type") == "list":
                part["fail_fast"] = True
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
    # Without the flag the models inside would be read by their own validators, which go on.
    return SchemaValidator(schema, _use_prebuilt=False)
