"""Statistics over metadata: histograms, values by frequency, the keys there are."""

import math
from typing import Any

from django.db.models import Count, F, Func, IntegerField, Max, Min, QuerySet, Value

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
from inference_store.query.matching import matching
from inference_store.query.metadata_conditions import AsFloat, value_of
from inference_store.query.uses import note_use

MOST_VALUES = 1_000


class Bin(Func):
    """How many edges lie at or below the value, found by comparing with the edges themselves."""

    function = "width_bucket"
    template = "%(function)s(%(expressions)s::float8[])"
    output_field = IntegerField()


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
    found: QuerySet[Any] = matching(model, request.filters)
    note_use(model, str(request.type), request.key)
    slots = SearchSlot.objects.searched(model)
    is_text = request.type == MetadataStatisticsType.STRING.value
    slot = slots.get((str(request.type), request.key))
    if is_text and slot and not (request.filters and request.filters.model_dump(exclude_none=True)):
        kept = Catalogue.objects.values_of(model, slot)
        if kept is not None:
            return _frequencies(kept, sum(n for _, n in kept))
    valued = found.annotate(value=value_of(str(request.type), request.key, slots))
    queryset = valued.filter(value__isnull=False)
    if is_text:
        return _by_value(queryset)
    return _histogram(queryset, request)


def _by_value(queryset: QuerySet[Any]) -> MetadataStatistics:
    rows = queryset.values_list("value").annotate(n=Count("*")).order_by("-n", "value")
    found = list(rows[: MOST_VALUES + 1])
    return _frequencies(found, queryset.count() if len(found) > MOST_VALUES else sum(n for _, n in found))


def _frequencies(found: list[tuple[str, int]], count: int) -> MetadataStatistics:
    """Of values by frequency; no more than so many are listed."""
    return MetadataStatistics(
        count=count, distribution=dict(found[:MOST_VALUES]), truncated=len(found) > MOST_VALUES
    )


def _histogram(queryset: QuerySet[Any], request: NewGetMetadataStatisticsRequest) -> MetadataStatistics:
    # Without a count beside them, a slot's index gives these two from its ends.
    seen = queryset.aggregate(low=Min("value"), high=Max("value"))
    if seen["low"] is None:
        return MetadataStatistics(count=0, distribution={})
    low, high = request.distribution_minimum_value, request.distribution_maximum_value
    low = float(seen["low"]) if low is None else low
    high = float(seen["high"]) if high is None else high
    edges = bin_edges(low, high, request.distribution_bin_count, request.distribution_bin_width)
    bounds = (request.distribution_minimum_value, request.distribution_maximum_value)
    distribution = _distribution(queryset, edges, from_least=bounds[0] is None) if edges else {}
    return MetadataStatistics(
        count=sum(distribution.values()) if bounds == (None, None) else queryset.count(),
        min=seen["low"],
        max=seen["high"],
        distribution=distribution,
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


def _distribution(queryset: QuerySet[Any], edges: list[float], *, from_least: bool) -> dict[str, int]:
    """`from_least`: the first edge is the least value, which need not be compared with. What is below it
    has bin 0, which is none of ours."""
    low, high = edges[0], edges[-1]
    # As float8, as the edges are: 2**53 + 1 is not above a maximum that reads 2.0**53.
    inside = queryset.annotate(number=AsFloat(F("value"))).filter(number__lte=high)
    inside = inside if from_least else inside.filter(number__gte=low)
    starts = edges[:-1] or edges
    rows: Any = inside.annotate(bin=Bin(F("number"), Value(starts))).values_list("bin").annotate(n=Count("*"))
    counts = dict(rows.order_by())
    last = len(starts) - 1
    distribution = {}
    for position, start in enumerate(starts):
        end = edges[position + 1] if len(edges) > 1 else start
        closing = "]" if position == last else ")"
        distribution[f"[{start!r}, {end!r}{closing}"] = counts.get(position + 1, 0)
    return distribution
