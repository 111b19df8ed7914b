"""What charts show beside a page of results: how many match by time, by number, by text, under one filter."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import (
    Count,
    DateTimeField,
    F,
    FloatField,
    Func,
    IntegerField,
    Max,
    Min,
    QuerySet,
    Sum,
    Value,
)
from django.db.models.functions import Cast

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Catalogue, Entry, RegisteredModel, SearchSlot
from inference_store.query.facets import MOST_FACETS, counted_entries, labels
from inference_store.query.matching import entry_condition, matching
from inference_store.query.metadata_conditions import value_of
from inference_store.query.statistics import bin_edges
from inference_store.query.uses import note_use

HOUR = timedelta(hours=1)
MOST_BUCKETS = 48
"""Of time in one chart."""
FIXED_UNITS = [
    timedelta(**{name: count})
    for name, counts in (
        ("seconds", (1, 5, 15, 30)),
        ("minutes", (1, 5, 15, 30)),
        ("hours", (1, 3, 6, 12)),
        ("days", (1, 7)),
    )
    for count in counts
]
MONTHS = (1, 3, 12, 60, 240)
"""Units of months, for longer spans."""
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
"""From which fixed units are counted, so that weeks begin on Mondays."""


class Bin(Func):
    """How many edges lie at or below the value, found by comparing with the edges themselves."""

    function = "width_bucket"
    template = "%(function)s(%(expressions)s::float8[])"
    output_field = IntegerField()


@dataclass(frozen=True, slots=True)
class NumberBins:
    """Counts between neighbouring edges, the last bin holding its end too; one edge: all values are that.

    Nothing to count: no edges.
    """

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class TimeBuckets:
    """Counts from one edge to before the next, without gaps."""

    edges: list[datetime]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class TextCounts:
    """The most frequent texts with their counts; `others` is the count of all the rest."""

    counts: list[tuple[str, int]]
    others: int

    @classmethod
    def of(cls, counted: list[tuple[str, int]], total: int, most: int) -> "TextCounts":
        shown = counted[:most]
        return cls(shown, total - sum(count for _, count in shown))


# --- Numbers ------------------------------------------------------------------------------------------------
def number_bins(
    model: RegisteredModel, filters: BaseInferenceFilter, type_: str, key: str, bins: int
) -> NumberBins:
    """The values of an int or float metadata key, in about so many bins with round edges."""
    note_use(model, type_, key)
    slots = SearchSlot.objects.searched(model)
    valued = matching(model, filters).annotate(value=value_of(type_, key, slots))
    return _bins(valued.filter(value__isnull=False), bins, whole=type_ == "int")


def score_bins(model: RegisteredModel, filters: BaseInferenceFilter, bins: int) -> NumberBins:
    """The scores of the entries that the filter asks for."""
    scored = entries_under(model, filters).filter(score__isnull=False).annotate(value=F("score"))
    return _bins(scored, bins, whole=False)


def _bins(valued: QuerySet[Any], bins: int, *, whole: bool) -> NumberBins:
    # Without a count beside them, an index gives these two from its ends.
    seen = valued.aggregate(low=Min("value"), high=Max("value"))
    if seen["low"] is None:
        return NumberBins([], [])
    edges = round_edges(float(seen["low"]), float(seen["high"]), bins, whole=whole)
    starts = edges[:-1] or edges
    # As float8, as the edges are; the last bin takes all from its start on.
    binned = valued.annotate(bin=Bin(Cast(F("value"), FloatField()), Value(starts)))
    counts: Any = dict(binned.order_by().values_list("bin").annotate(n=Count("*")))
    return NumberBins(edges, [counts.get(position + 1, 0) for position in range(len(starts))])


def round_edges(low: float, high: float, bins: int, *, whole: bool) -> list[float]:
    """Edges that are multiples of 1, 2 or 5 times a power of ten, from not above low to not below high.

    `whole`: of whole numbers, of which each is in the bin that begins at or below it; the last edge is
    above them all.
    """
    if low == high and not whole:
        return [low]
    step = max(_round_step((Decimal(high) - Decimal(low)) / bins), Decimal(1 if whole else 0))
    first, last = (Decimal(each) / step for each in (low, high))
    end = math.floor(last) + 1 if whole else math.ceil(last)
    edges = sorted({float(step * position) for position in range(math.floor(first), end + 1)})
    if edges[0] <= low and edges[-1] >= high and all(map(math.isfinite, edges)):
        return edges
    # What has not enough digits for round numbers.
    return bin_edges(low, high, bins, None)


def _round_step(least: Decimal) -> Decimal:
    """The least of 1, 2 and 5 times a power of ten that is not below it; 0 for 0."""
    if not least:
        return least
    power = Decimal(1).scaleb(least.adjusted())
    return next(step for factor in (1, 2, 5, 10) if (step := power * factor) >= least)


# --- Texts --------------------------------------------------------------------------------------------------
def text_counts(model: RegisteredModel, filters: BaseInferenceFilter, key: str, most: int) -> TextCounts:
    """The values of a string metadata key."""
    note_use(model, "string", key)
    slots = SearchSlot.objects.searched(model)
    slot = slots.get(("string", key))
    kept = Catalogue.objects.values_of(model, slot) if slot and not _asks(filters) else None
    if kept is not None:
        return TextCounts.of(kept, sum(n for _, n in kept), most)
    valued = matching(model, filters).annotate(value=value_of("string", key, slots))
    return _texts(valued.filter(value__isnull=False), "value", most)


def source_counts(model: RegisteredModel, filters: BaseInferenceFilter, most: int) -> TextCounts:
    """The data sources."""
    kept = None if _asks(filters) else Catalogue.objects.values_of(model, "data_source")
    if kept is not None:
        return TextCounts.of(kept, sum(n for _, n in kept), most)
    return _texts(matching(model, filters).filter(data_source__isnull=False), "data_source", most)


def label_counts(model: RegisteredModel, filters: BaseInferenceFilter, most: int) -> TextCounts:
    """The labels of the entries that the filter asks for."""
    if not _asks(filters):
        found = labels(model)
        known = len(found) < MOST_FACETS
        total = sum(n for _, n in found) if known else counted_entries(model)
        if total is not None:
            return TextCounts.of(found, total, most)
    return _texts(entries_under(model, filters), "label", most)


def count_entries(model: RegisteredModel, filters: BaseInferenceFilter) -> int:
    """How many entries the filter asks for."""
    total = None if _asks(filters) else counted_entries(model)
    return entries_under(model, filters).count() if total is None else total


def _texts(rows: QuerySet[Any], field: str, most: int) -> TextCounts:
    counted: Any = rows.order_by().values_list(field).annotate(n=Count("*"))
    found = list(counted.order_by("-n", field)[: most + 1])
    # Counted again only where not all are there.
    total = rows.count() if len(found) > most else sum(n for _, n in found)
    return TextCounts.of(found, total, most)


def entries_under(model: RegisteredModel, filters: BaseInferenceFilter) -> QuerySet[Entry]:
    """The entries that themselves have a label and score that is asked for, of inferences that match."""
    wanted = entry_condition(filters.deconstructed_inference_filter)
    others = filters.model_copy(update={"deconstructed_inference_filter": None})
    entries = Entry.objects.live(model)
    if wanted:
        entries = entries.filter(wanted)
    # A live entry has an inference, always: where nothing is asked of these they need not be read.
    return entries.filter(inference__in=matching(model, others)) if _asks(others) else entries


def _asks(filters: BaseInferenceFilter) -> bool:
    return any(value not in (None, []) for _, value in filters)


# --- Time ---------------------------------------------------------------------------------------------------
def volume(model: RegisteredModel, filters: BaseInferenceFilter) -> TimeBuckets:
    """How many inferences were made in each part of the time between the first and the last of them."""
    found = matching(model, filters)
    seen = found.aggregate(first=Min("created_at"), last=Max("created_at"))
    if seen["first"] is None:
        return TimeBuckets([], [])
    unit = _unit(seen["last"] - seen["first"])
    counts = None
    if not _asks(filters) and (isinstance(unit, int) or unit >= HOUR):
        counts = _kept_volume(model, unit)
    if counts is None:
        counts = _counted_volume(found, unit)
    return _without_gaps(counts, unit, seen["first"], seen["last"])


def _unit(span: timedelta) -> timedelta | int:
    """What divides the span into no more than so many parts: a fixed unit, or months."""
    for unit in FIXED_UNITS:
        if span / unit < MOST_BUCKETS:
            return unit
    return next((months for months in MONTHS if span.days / 30 / months < MOST_BUCKETS), MONTHS[-1])


def _bucket(moment: datetime, unit: timedelta | int) -> datetime:
    """The beginning of the part that a moment is in."""
    if isinstance(unit, timedelta):
        return MONDAY + (moment - MONDAY) // unit * unit
    month = (moment.year * 12 + moment.month - 1) // unit * unit
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _after(edge: datetime, unit: timedelta | int) -> datetime:
    if isinstance(unit, timedelta):
        return edge + unit
    month = edge.year * 12 + edge.month - 1 + unit
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _kept_volume(model: RegisteredModel, unit: timedelta | int) -> Counter[datetime] | None:
    """From the catalogue of hours, of which all units are made; None where it is not kept."""
    hours = Catalogue.objects.exact(model, "created_at").values_list("counts__bucket")
    counts: Counter[datetime] = Counter()
    for hour, n in hours.annotate(n=Sum("counts__count", default=0)).order_by():
        if hour is not None:
            counts[_bucket(datetime.fromtimestamp(hour * 3_600, UTC), unit)] += int(n)
    return counts or None


def _counted_volume(found: QuerySet[Any], unit: timedelta | int) -> Counter[datetime]:
    if isinstance(unit, timedelta):
        part: Func = Func(Value(unit), F("created_at"), Value(MONDAY), function="date_bin")
    else:
        part = Func(Value("month"), F("created_at"), function="date_trunc")
    part.output_field = DateTimeField()
    counted: Any = found.order_by().annotate(part=part).values_list("part").annotate(n=Count("*"))
    counts: Counter[datetime] = Counter()
    for moment, n in counted:
        counts[_bucket(moment, unit)] += n
    return counts


def _edges(unit: timedelta | int, first: datetime, last: datetime) -> Iterator[datetime]:
    edge = _bucket(first, unit)
    yield edge
    while edge <= last:
        edge = _after(edge, unit)
        yield edge


def _without_gaps(
    counts: Counter[datetime], unit: timedelta | int, first: datetime, last: datetime
) -> TimeBuckets:
    edges = list(_edges(unit, first, last))
    return TimeBuckets(edges, [counts[edge] for edge in edges[:-1]])
