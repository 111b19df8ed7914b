"""Statistics over metadata: histograms, values by frequency, the keys there are."""

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from django.db.models import Count, QuerySet

from inference_store import statements
from inference_store.contract.enums import MetadataStatisticsType
from inference_store.contract.errors import Refusal
from inference_store.contract.metadata import (
    DEFAULT_BIN_COUNT,
    LARGEST_BIN_COUNT,
    MetadataKeyTypeCounts,
    MetadataStatistics,
    NewGetMetadataStatisticsRequest,
)
from inference_store.models import Catalogue, MetadataKey, RegisteredModel, SearchSlot
from inference_store.query.conditions import TABLE, Condition, Written
from inference_store.query.known_slots import KnownSlots, by_slots_of_any
from inference_store.query.matching import conditions_of, matching, stated
from inference_store.query.metadata_conditions import value_of
from inference_store.query.numbers import Array
from inference_store.query.segments import number_of, numbers_of
from inference_store.query.uses import note_filters, note_use

MOST_VALUES = 1_000
FEW_EDGES = 50
"""Up to so many, numbers are compared with each; else each number is looked up among them."""


def key_type_counts(model: RegisteredModel) -> MetadataKeyTypeCounts:
    """How many live inferences hold each key and type, exact right after a write. One query."""
    counts: dict[str, dict[str, int]] = {}
    for key, type_, count in MetadataKey.objects.counts(model):
        counts.setdefault(key, {})[type_] = count
    return MetadataKeyTypeCounts(counts=counts)


def metadata_statistics(
    model: RegisteredModel, request: NewGetMetadataStatisticsRequest
) -> MetadataStatistics:
    """The distribution of one key under the filters. Four queries at most."""
    note_use(model, str(request.type), request.key)
    numbers = by_slots_of_any(model, partial(_numbers, model, request))
    if numbers is not None:
        note_filters(model, (request.filters and request.filters.metadata_filter) or [])
        return _histogram(_Held(numbers), request)
    slots = SearchSlot.objects.searched(model)
    is_text = request.type == MetadataStatisticsType.STRING.value
    slot = slots.get((str(request.type), request.key))
    if is_text and slot and not (request.filters and request.filters.model_dump(exclude_none=True)):
        kept = Catalogue.objects.values_of(model, slot)
        if kept is not None:
            return _frequencies(kept, sum(n for _, n in kept))
    value = value_of(str(request.type), request.key, slots)
    if is_text:
        return _by_value(matching(model, request.filters).annotate(value=value).filter(value__isnull=False))
    conditions = conditions_of(model, request.filters).all
    return _histogram(_Values(model, conditions, value), request)


def _numbers(
    model: RegisteredModel, request: NewGetMetadataStatisticsRequest, slots: KnownSlots
) -> Array | None:
    """The numbers of the key that the inferences have, where segments tell them."""
    slot = slots.by_key.get((str(request.type), request.key))
    if slot is None or request.type == MetadataStatisticsType.STRING.value:
        return None
    conditions = conditions_of(model, request.filters, slots.by_key).all
    return numbers_of(model, conditions, slot, slots)


def _by_value(queryset: QuerySet[Any]) -> MetadataStatistics:
    rows = queryset.values_list("value").annotate(n=Count("*")).order_by("-n", "value")
    found = list(rows[: MOST_VALUES + 1])
    return _frequencies(found, queryset.count() if len(found) > MOST_VALUES else sum(n for _, n in found))


def _frequencies(found: list[tuple[str, int]], count: int) -> MetadataStatistics:
    """Of values by frequency; no more than so many are listed."""
    return MetadataStatistics(
        count=count, distribution=dict(found[:MOST_VALUES]), truncated=len(found) > MOST_VALUES
    )


class _Held:
    """Numbers that are at hand."""

    def __init__(self, numbers: Array) -> None:
        self.numbers = numbers

    def number(self) -> int:
        return len(self.numbers)

    def ends(self) -> tuple[Any, Any]:
        if not len(self.numbers):
            return None, None
        return float(self.numbers.min()), float(self.numbers.max())

    def counts(self, edges: list[float], *, from_least: bool) -> list[int]:
        low, high, inner = edges[0], edges[-1], edges[1:-1]
        numbers = self.numbers
        if len(inner) > FEW_EDGES:
            inside = numbers[(numbers >= low) & (numbers <= high)]
            counts = np.bincount(np.searchsorted(inner, inside, "right"), minlength=len(inner) + 1)
            return [int(count) for count in counts]
        # Comparing all with one edge takes no longer than looking up three of them.
        before = [int(np.count_nonzero(numbers < edge)) for edge in (low, *inner)]
        return [end - start for start, end in pairwise([*before, int(np.count_nonzero(numbers <= high))])]


class _Values:
    """The numbers of a key that the inferences have for which the conditions hold, read by the database."""

    def __init__(self, model: RegisteredModel, conditions: list[Condition], value: Written) -> None:
        self.value = value
        self.model = model
        self.conditions = [*conditions, Condition(f"{value.text} is not null", *value.values)]
        self.condition, self.values = stated(model, self.conditions)

    def number(self) -> int:
        return number_of(self.model, self.conditions)

    def ends(self) -> tuple[Any, Any]:
        """The least and the greatest: without a count beside them, a slot's index gives these."""
        text = self.value.text
        statement = f"select min({text}), max({text}) from {TABLE} r where {self.condition}"  # noqa: S608 # nosec B608
        low, high = statements.rows(statement, [*self.value.values * 2, *self.values], anew=True)[0]
        return low, high

    def counts(self, edges: list[float], *, from_least: bool) -> list[int]:
        """How many are in each bin; the last holds its end too. `from_least`: the first edge is the least
        value, which need not be compared with. What is below it has bin 0, which is none of ours."""
        # As float8, as the edges are: 2**53 + 1 is not above a maximum that reads 2.0**53.
        number, of_number = f"({self.value.text})::float8", self.value.values
        starts = edges[:-1] or edges
        inside, bounds = f"{number} <= %s::float8", [*of_number, edges[-1]]
        if not from_least:
            inside, bounds = f"{inside} and {number} >= %s::float8", [*bounds, *of_number, edges[0]]
        statement = (
            f"select width_bucket({number}, %s::float8[]), count(*) from {TABLE} r "  # noqa: S608
            f"where {self.condition} and {inside} group by 1"  # nosec B608
        )
        rows = statements.rows(statement, [*of_number, starts, *self.values, *bounds], anew=True)
        counts = dict(rows)
        return [counts.get(position + 1, 0) for position in range(len(starts))]


def _histogram(numbers: _Held | _Values, request: NewGetMetadataStatisticsRequest) -> MetadataStatistics:
    least, greatest = numbers.ends()
    if least is None:
        return MetadataStatistics(count=0, distribution={})
    low, high = request.distribution_minimum_value, request.distribution_maximum_value
    edges = bin_edges(
        float(least) if low is None else low,
        float(greatest) if high is None else high,
        request.distribution_bin_count,
        request.distribution_bin_width,
    )
    counts = numbers.counts(edges, from_least=low is None) if edges else []
    return MetadataStatistics(
        count=sum(counts) if low is None and high is None else numbers.number(),
        min=least,
        max=greatest,
        distribution=_spelled(edges, counts),
    )


def bin_edges(low: float, high: float, count: int | None, width: float | None) -> list[float]:
    """The edges of the bins from low to high, ascending; one edge where all values are one.

    Edges that rounding makes equal are one edge: a bin never stands for nothing.
    """
    if low > high:
        return []
    if low == high:
        return [low]
    if width is not None:
        bins = (high / width - low / width) if math.isinf(high - low) else (high - low) / width
        if bins > LARGEST_BIN_COUNT:
            raise Refusal.invalid(
                "distribution_bin_width",
                f"would make more than {LARGEST_BIN_COUNT:,} bins between {low!r} and {high!r}; widen it",
            )
        edges = [low + step * width for step in range(math.ceil(bins))]
    else:
        parts, span = count or DEFAULT_BIN_COUNT, high - low
        if math.isinf(span * parts):
            edges = [low * (1 - step / parts) + high * (step / parts) for step in range(parts)]
        else:
            edges = [low + span * step / parts for step in range(parts)]
    inner = sorted({edge for edge in edges if low <= edge < high} | {low})
    return [*inner, high]


def _spelled(edges: list[float], counts: list[int]) -> dict[str, int]:
    """The counts by their bins' names."""
    last, distribution = len(counts) - 1, {}
    for position, count in enumerate(counts):
        start = edges[position]
        end = edges[position + 1] if len(edges) > 1 else start
        distribution[f"[{start!r}, {end!r}{']' if position == last else ')'}"] = count
    return distribution
