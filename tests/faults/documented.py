"""Every operation of the OpenAPI document, with a body that fills all its fields: cases are made of these."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inference_store.api.document import document

TEXT, NUMBER, OBJECT = "text", "number", "object"
KINDS = {"string": TEXT, "number": NUMBER, "integer": NUMBER, "object": OBJECT}
OF_ENTRIES: dict[str, Any] = {"label": {"type": "string"}, "score": {"type": "number"}, "added": {}}
DOCUMENT = json.loads(document())
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Somewhere in a body, and what may stand there: text, a number, an object of known fields."""

    path: Path
    kinds: frozenset[str]

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


@dataclass(frozen=True)
class Operation:
    """One of the document: `schema` is that of its body, None where it takes none."""

    operation_id: str
    method: str
    path: str
    query: tuple[str, ...]
    segments: tuple[str, ...]
    schema: Any
    content_type: str = "application/json"

    @property
    def body(self) -> Any:
        """A body with something in every field, each of the type that the document says."""
        return filled(self.schema)

    @property
    def places(self) -> list[Place]:
        return list(_places(self.schema))

    def address(self, **given: str) -> str:
        return self.path.format(**{name: given.get(name, "none") for name in self.segments})


def _operations() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, told in methods.items():
            named = told.get("parameters", ())
            query, segments = (tuple(e["name"] for e in named if e["in"] == at) for at in ("query", "path"))
            common = (told["operationId"], method.upper(), path, query, segments)
            bodies = told.get("requestBody", {}).get("content", {})
            for content_type, content in bodies.items():
                if "json" in content_type:
                    yield Operation(*common, content["schema"], content_type)
            if not any("json" in each for each in bodies):
                yield Operation(*common, None)


OPERATIONS = list(_operations())
WITH_BODY = [each for each in OPERATIONS if each.schema]


def _resolved(schema: Any) -> Any:
    while "$ref" in schema:
        found = DOCUMENT
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _variants(schema: Any) -> list[Any]:
    """What may stand there, one or the other, without null."""
    schema = _resolved(schema)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or [schema]
    if choices == [schema]:
        return choices
    found = [variant for choice in choices for variant in _variants(choice)]
    return [each for each in found if each.get("type") != "null"]


def _fields(schema: Any) -> dict[str, Any]:
    """Those of an object; of one that takes any, such as an entry, these."""
    return dict(schema.get("properties") or OF_ENTRIES)


def filled(schema: Any) -> Any:
    """Something of that schema, as full as it gets."""
    first = _variants(schema)[0]
    if "const" in first or "enum" in first:
        return first.get("const", (first.get("enum") or [None])[0])
    match first.get("type"):
        case "object":
            return {name: filled(each) for name, each in _fields(first).items()}
        case "array":
            return [filled(first.get("items", {}))]
        case "string":
            return "a" * max(1, first.get("minLength", 1))
        case "number" | "integer":
            return first.get("minimum", 1)
        case "boolean":
            return True
    return "anything"


def _places(schema: Any, path: Path = ()) -> Iterator[Place]:
    variants = _variants(schema)
    kinds = {KINDS[each["type"]] for each in variants if each.get("type") in KINDS}
    if any("type" not in each and "enum" not in each and "const" not in each for each in variants):
        kinds |= {TEXT, NUMBER}  # any JSON
    if kinds:
        yield Place(path, frozenset(kinds - {OBJECT} if _is_open(variants[0]) else kinds))
    first = variants[0]
    if first.get("type") == "object":
        for name, each in _fields(first).items():
            yield from _places(each, (*path, name))
    elif first.get("type") == "array":
        yield from _places(first.get("items", {}), (*path, 0))


def _is_open(schema: Any) -> bool:
    """An object that takes fields of any name."""
    return bool(schema.get("additionalProperties")) or "properties" not in schema


def with_value(body: Any, path: Path, value: Any) -> Any:
    """The body with that value at the path."""
    if not path:
        return value
    copy = json.loads(json.dumps(body))
    place = copy
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return copy


def spelt(body: Any, raw: dict[str, str] | None = None) -> bytes:
    """The body as JSON; strings that are keys of `raw` are replaced by what JSON itself can't spell."""
    text = json.dumps(body)
    for token, replacement in (raw or {}).items():
        text = text.replace(json.dumps(token), replacement)
    return text.encode()


def is_named(place: Place, told: dict[str, str]) -> bool:
    """Whether the refusal names the field, the list that it stands in, or its kind in a union."""
    wanted = _names(place.name)
    named = [_names(each) for each in told]
    return any(each[: len(wanted)] == wanted for each in named) or wanted[:-1] in named


def _names(path: str) -> list[str]:
    return [part for part in path.split(".") if not part.isdigit()]
