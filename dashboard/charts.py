"""Charts beside the results: which there are, and each as bars that lead to what they count."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.http import QueryDict

from dashboard.bounded import in_time
from dashboard.label_colours import BY_HASH, LabelColours, colours_of
from dashboard.narrowing import is_same, key_of, on_first_page, spelled, with_range, with_value, without
from inference_store.contract.base import INT64_MAX, INT64_MIN
from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.inferences import LIST_OF_TASK
from inference_store.filtersets import InferenceFilterSet
from inference_store.models import RegisteredModel
from inference_store.query import charts
from inference_store.query.statistics import key_type_counts

MOST_CHARTS, MOST_CHOICES = 12, 24
DEFAULT_CHARTS = 6
LONGEST_KEY = 200
"""Of those offered; many longer ones would be most of the page. `charts=` in an address takes any."""
LONGEST_QUERY = 7_000
"""Of what a bar leads to: the web server reads addresses of 8,190 characters."""
BIN_CHOICES = (10, 20, 40, 80)
DEFAULT_BINS = 20
MOST_ROWS = 8
BAR_WIDTH, BAR_GAP, HEIGHT, LEAST_HEIGHT = 10, 1.5, 100, 2.5
"""In units of the drawing, whose width and height are stretched."""
TITLES = {"time": "Time", "label": "Labels", "score": "Scores", "source": "Sources"}
OF_ENTRIES = ("label", "score")
CHARTED = ("int", "float", "string")


@dataclass(frozen=True)
class Bar:
    """`query` leads to what it counts, None where that is nothing; `low` and `high` as a range is typed."""

    words: str
    count: int
    query: str | None
    share: float
    x: float = 0
    low: str = ""
    high: str = ""
    is_chosen: bool = False

    @property
    def height(self) -> float:
        return max(self.share * HEIGHT, LEAST_HEIGHT) if self.count else 0

    @property
    def y(self) -> float:
        return HEIGHT - self.height

    @property
    def percent(self) -> float:
        return round(self.share * 100, 2)


@dataclass(frozen=True)
class ChartChoice:
    """A chart there can be."""

    name: str
    title: str
    kind: str
    is_chosen: bool


@dataclass(frozen=True)
class Chart:
    """What `_chart.html` shows. `is_cut`: it could not be counted in time."""

    name: str
    title: str
    counts_what: str
    bars: list[Bar] = field(default_factory=list)
    is_cut: bool = False
    is_range: bool = False
    input_type: str = "text"
    others: int = 0
    reset_query: str | None = None
    hidden: list[tuple[str, str]] = field(default_factory=list)
    colours: LabelColours = BY_HASH

    @property
    def total(self) -> int:
        return sum(bar.count for bar in self.bars) + self.others

    @property
    def width(self) -> float:
        return BAR_WIDTH * len(self.bars)

    @property
    def bar_width(self) -> float:
        return BAR_WIDTH - BAR_GAP

    @property
    def ends(self) -> tuple[str, str]:
        """Under the first and the last bar."""
        return _end(self.bars[0].low), _end(self.bars[-1].high)

    @property
    def highest(self) -> int:
        return max((bar.count for bar in self.bars), default=0)


@dataclass(frozen=True)
class ChartPanel:
    """What `_charts.html` shows: the charts to be loaded, and what else can be chosen."""

    shown: list[ChartChoice]
    choices: list[ChartChoice]
    bins: int
    bin_choices: tuple[int, ...]
    query: str
    hidden: list[tuple[str, str]]


def title_of(name: str) -> str:
    return TITLES[name] if name in TITLES else key_of(name)[1]


def names_of(model: RegisteredModel) -> list[str]:
    """The charts that the model can have, those that are most useful first."""
    has_entries = TaskType(model.task_type) in LIST_OF_TASK
    keys = [
        (-count, key, type_)
        for key, types in key_type_counts(model).counts.items()
        for type_, count in types.items()
        if type_ in CHARTED and len(key) <= LONGEST_KEY
    ]
    by_use = [f"{type_}:{key}" for _, key, type_ in sorted(keys)[:MOST_CHOICES]]
    return ["time", *(["label", "score"] if has_entries else []), *by_use, "source"]


def bins_of(data: QueryDict) -> int:
    """How many bins are asked for; the default where it is none of those there are."""
    given = data.get("bins", "")
    return int(given) if given in map(str, BIN_CHOICES) else DEFAULT_BINS


def chart_panel(model: RegisteredModel, filterset: InferenceFilterSet) -> ChartPanel:
    data = filterset.data
    names = names_of(model)
    chosen = [name for name in dict.fromkeys(data.getlist("charts")) if _is_chart(name)][:MOST_CHARTS]
    shown = chosen or names[:DEFAULT_CHARTS]
    choices = [_choice(name, name in shown) for name in dict.fromkeys([*names, *shown])]
    return ChartPanel(
        shown=[_choice(name, True) for name in shown],
        choices=choices,
        bins=bins_of(data),
        bin_choices=BIN_CHOICES,
        query=on_first_page(data).urlencode(),
        hidden=_pairs(data, besides=("charts", "bins")),
    )


def _choice(name: str, is_chosen: bool) -> ChartChoice:
    kind = key_of(name)[0] if ":" in name else ""
    return ChartChoice(name, title_of(name), kind, is_chosen)


def _is_chart(name: str) -> bool:
    type_, key = key_of(name)
    return name in TITLES or (type_ in CHARTED and bool(key) and "\x00" not in key)


def _pairs(data: QueryDict, besides: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What a form must send along to keep the page as it is otherwise."""
    kept = on_first_page(data)
    return [(name, text) for name, texts in kept.lists() if name not in besides for text in texts]


def chart_of(model: RegisteredModel, filterset: InferenceFilterSet, name: str) -> Chart | None:
    """One chart under the filter; None where there is no such chart."""
    if not _is_chart(name):
        return None
    data, filters = filterset.data.copy(), filterset.request_body().filters
    data.pop("chart", None)
    found = in_time(lambda: _counted(model, filters, name, bins_of(data)))
    parts: dict[str, Any] = {
        "name": name,
        "title": title_of(name),
        "counts_what": "entries" if name in OF_ENTRIES else "inferences",
        "is_cut": found is None,
    }
    bare, held = without(data, name), on_first_page(data)
    if not is_same(bare, held):
        parts["reset_query"] = bare.urlencode()
    if name == "label":
        parts["colours"] = colours_of(model)
    if isinstance(found, charts.TextCounts):
        parts |= {"bars": _rows(data, name, found), "others": found.others}
    elif isinstance(found, charts.TimeBuckets):
        parts |= {"bars": _spans(data, found), "is_range": True, "input_type": "datetime-local"}
    elif found is not None:
        parts |= {"bars": _columns(data, name, found), "is_range": True}
    return Chart(**parts, hidden=_pairs(data))


def _counted(
    model: RegisteredModel, filters: BaseInferenceFilter, name: str, bins: int
) -> charts.NumberBins | charts.TimeBuckets | charts.TextCounts:
    if name == "time":
        return charts.volume(model, filters)
    if name == "score":
        return charts.score_bins(model, filters, bins)
    if name == "label":
        return charts.label_counts(model, filters, MOST_ROWS)
    if name == "source":
        return charts.source_counts(model, filters, MOST_ROWS)
    type_, key = key_of(name)
    if type_ == "string":
        return charts.text_counts(model, filters, key, MOST_ROWS)
    return charts.number_bins(model, filters, type_, key, bins)


def _end(typed: str) -> str:
    """A bound as it stands under a chart; a midnight is a date."""
    return typed.removesuffix("T00:00").replace("T", " ")


def _shares(counts: Iterable[int]) -> list[float]:
    listed = list(counts)
    return [count / (max(listed) or 1) for count in listed]


def _rows(data: QueryDict, name: str, found: charts.TextCounts) -> list[Bar]:
    """One bar a text; the one that is chosen leads back."""
    shares = _shares(count for _, count in found.counts)
    now, back = on_first_page(data), without(data, name)
    bars = []
    for (text, count), share in zip(found.counts, shares, strict=True):
        query = with_value(data, name, text)
        is_chosen = is_same(query, now)
        leads_to = (back if is_chosen else query).urlencode()
        held = leads_to if len(leads_to) <= LONGEST_QUERY else None
        bars.append(Bar(text, count, held, share, is_chosen=is_chosen))
    return bars


def _columns(data: QueryDict, name: str, found: charts.NumberBins) -> list[Bar]:
    whole = name.startswith("int:")
    lows = found.edges[:-1] or found.edges
    highs = found.edges[1:] or found.edges
    bars = []
    for position, (low, high, count, share) in enumerate(
        zip(lows, highs, found.counts, _shares(found.counts), strict=True)
    ):
        is_last = position == len(lows) - 1
        words, end, with_end = f"{_number(low)} to {_number(high)}", high, is_last
        if whole:
            words, end, with_end = _whole(low, high)
        elif low == high:
            words = _number(low)
        query = with_range(data, name, _inside(low, whole), _inside(end, whole), with_end=with_end)
        bars.append(
            Bar(
                words,
                count,
                query.urlencode() if count else None,
                share,
                position * BAR_WIDTH,
                spelled(low),
                spelled(end),
            )
        )
    return bars


def _whole(low: float, high: float) -> tuple[str, float, bool]:
    """A bin of whole numbers ends at the last of them, where that can be told."""
    last = high - 1
    if last == high:
        return f"{_number(low)} to {_number(high)}", high, True
    return (_number(low) if low == last else f"{_number(low)} to {_number(last)}"), last, True


def _inside(number: float, whole: bool) -> float | None:
    """None where no whole number is there to compare with: then nothing lies beyond either."""
    return number if not whole or INT64_MIN <= int(number) <= INT64_MAX else None


def _number(number: float) -> str:
    return f"{number:,.10g}"


def _spans(data: QueryDict, found: charts.TimeBuckets) -> list[Bar]:
    bars = []
    shares = _shares(found.counts)
    for position, (low, high, count, share) in enumerate(
        zip(found.edges[:-1], found.edges[1:], found.counts, shares, strict=True)
    ):
        query = with_range(data, "time", low, high, with_end=False).urlencode() if count else None
        x = position * BAR_WIDTH
        bars.append(Bar(_moments(low, high), count, query, share, x, _typed(low), _typed(high)))
    return bars


def _typed(moment: datetime) -> str:
    """As a form's datetime-local is typed."""
    return f"{moment:%Y-%m-%dT%H:%M}" if not moment.second else f"{moment:%Y-%m-%dT%H:%M:%S}"


def _moments(low: datetime, high: datetime) -> str:
    """One part of the time, as briefly as it can be told."""
    span = high - low
    if span >= timedelta(days=28):
        return f"{low:%Y-%m}" if span < timedelta(days=32) else f"{low:%Y-%m} to {high - timedelta(1):%Y-%m}"
    if span >= timedelta(days=1):
        last = high - timedelta(days=1)
        return f"{low:%Y-%m-%d}" if last == low else f"{low:%Y-%m-%d} to {last:%Y-%m-%d}"
    seconds = ":%S" if span < timedelta(minutes=1) else ""
    return f"{low:%Y-%m-%d} {low.strftime(f'%H:%M{seconds}')} to {high.strftime(f'%H:%M{seconds}')}"
