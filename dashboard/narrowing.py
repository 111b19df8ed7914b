"""A query string narrowed to what a bar, a brushed range or a typed circle means."""

import math
from datetime import datetime, timedelta

from django.http import QueryDict

from inference_store.filtersets import PAGE_POSITION, metadata_text, parse_metadata

BOUNDS = (">", ">=", "<", "<=")
VALUE_OF = {"label": "label", "source": "data_source"}
"""The parameter that a chart's text is given to."""
RANGE_OF = {"time": ("start", "end"), "score": ("minimum_score", "maximum_score")}
OFTEN_WHOLE = 1e15
MICROSECOND = timedelta(microseconds=1)


def on_first_page(data: QueryDict) -> QueryDict:
    """A copy that can be changed."""
    changed = data.copy()
    for name in PAGE_POSITION:
        changed.pop(name, None)
    return changed


def is_same(one: QueryDict, other: QueryDict) -> bool:
    """Whether two query strings ask for the same, in whatever order."""
    plain = [{name: sorted(texts) for name, texts in each.lists() if texts} for each in (one, other)]
    return plain[0] == plain[1]


def spelled(number: float) -> str:
    """As short as it reads back the same."""
    whole = number.is_integer() and abs(number) < OFTEN_WHOLE
    return str(int(number)) if whole else repr(number)


def instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" if moment.microsecond else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def key_of(chart: str) -> tuple[str, str]:
    """The type and the key of a chart of metadata."""
    type_, _, key = chart.partition(":")
    return type_, key


def _is_about(condition: str, chart: str, operators: tuple[str, ...]) -> bool:
    try:
        parts = parse_metadata(condition)
    except ValueError:
        return False
    return (parts["type"], parts["key"]) == key_of(chart) and parts["operator"] in operators


def without(data: QueryDict, chart: str) -> QueryDict:
    """Without what that chart's bars and ranges set."""
    changed = on_first_page(data)
    if ":" not in chart:
        for name in RANGE_OF.get(chart, (VALUE_OF.get(chart, ""),)):
            changed.pop(name, None)
        return changed
    operators = ("=", "in") if chart.startswith("string:") else BOUNDS
    changed.setlist(
        "metadata", [each for each in data.getlist("metadata") if not _is_about(each, chart, operators)]
    )
    return changed


def with_value(data: QueryDict, chart: str, value: str) -> QueryDict:
    """Narrowed to one text of a chart."""
    changed = without(data, chart)
    if ":" in chart:
        type_, key = key_of(chart)
        changed.appendlist("metadata", metadata_text(key, type_, "=", value))
    else:
        changed[VALUE_OF[chart]] = value
    return changed


def with_range(
    data: QueryDict,
    chart: str,
    low: "float | datetime | None",
    high: "float | datetime | None",
    *,
    with_end: bool,
) -> QueryDict:
    """Narrowed to what is not below `low`, and below `high` or, with its end, not above it."""
    changed = without(data, chart)
    if ":" not in chart:
        first, last = RANGE_OF[chart]
        if low is not None:
            changed[first] = instant(low) if isinstance(low, datetime) else spelled(low)
        if high is not None:
            # These two are inclusive filters: what is below the end ends just before it.
            if isinstance(high, datetime):
                changed[last] = instant(high if with_end else high - MICROSECOND)
            else:
                changed[last] = spelled(high if with_end else math.nextafter(high, -math.inf))
        return changed
    type_, key = key_of(chart)
    for operator, bound in ((">=", low), ("<=" if with_end else "<", high)):
        if isinstance(bound, int | float):
            text = str(math.floor(bound)) if type_ == "int" else spelled(bound)
            changed.appendlist("metadata", metadata_text(key, type_, operator, text))
    return changed
