"""A stored filter in words, and as the query string that shows its inferences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from pydantic import ValidationError

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.filtersets import InferenceFilterSet, metadata_text

LONGEST_QUERY = 4_000
"""A longer address is not one for a page, and nobody reads so many words."""
MOST_WORDS = 6
TICKED: dict[str, Any] = {"deconstructed_inference_filter": {"labels": []}}
"""What matches nothing, beside ids."""


def _point(point: dict[str, Any]) -> str:
    return f"{point['latitude']!r},{point['longitude']!r}"


def _circle(circle: dict[str, Any]) -> str:
    return f"{_point(circle['center'])},{circle['radius']!r}"


def _rectangle(box: dict[str, Any]) -> str:
    return f"{_point(box['p1'])},{_point(box['p2'])}" + (",crosses" if box["crosses_antimeridian"] else "")


def _condition(condition: dict[str, str]) -> str:
    return metadata_text(*(condition[part] for part in ("key", "type", "operator", "value")))


SPELT: dict[str, Callable[[Any], str]] = {
    "circle": _circle,
    "rectangle": _rectangle,
    "metadata": _condition,
}


@dataclass(frozen=True)
class FilterWords:
    """`query` spells the filter, None where no query string can; `more` conditions are not in `words`."""

    words: list[str]
    more: int
    query: str | None


def filter_words(stored: dict[str, Any]) -> FilterWords:
    """A filter of the contract as it was stored."""
    if stored == TICKED:
        return FilterWords(["ticked one by one"], 0, None)
    query = _query(stored)
    filterset = InferenceFilterSet(query)
    try:
        exact = filterset.request_body().filters == BaseInferenceFilter.model_validate(stored)
    except (Refusal, ValidationError):
        exact = False
    encoded = query.urlencode()
    if not exact or len(encoded) > LONGEST_QUERY:
        return FilterWords(["a filter given to the API"], 0, None)
    words = [chip.words for chip in filterset.chips()]
    return FilterWords(words[:MOST_WORDS], len(words[MOST_WORDS:]), encoded)


def _query(stored: dict[str, Any]) -> QueryDict:
    """The query string of each parameter's place in the filter."""
    query = QueryDict(mutable=True)
    for name, filter_ in InferenceFilterSet.base_filters.items():
        value: Any = {"filters": stored}
        for part in filter_.place:
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            continue
        for each in value if filter_.repeated else [value]:
            query.appendlist(name, SPELT.get(name, str)(each))
    return query
