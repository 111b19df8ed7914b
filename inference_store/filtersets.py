"""A query string becomes the contract's filter: pages, forms and the REST GET lists share it.

Nothing here builds a lookup: each parameter has a fixed place in the contract's request, whose bounds and
defaults decide, and `query/` turns the request into rows.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import django_filters
from django import forms
from django.http import QueryDict
from pydantic import ValidationError

from inference_store.contract.enums import (
    PaginationEmbeddingSortField,
    PaginationGranularInferenceSortField,
    PaginationSortField,
)
from inference_store.contract.errors import Refusal, message_of
from inference_store.contract.filters import LARGEST_LIMIT, NewGetInferencesRequest, parse_instant
from inference_store.models import Inference

PAGE_POSITION = ("cursor", "offset", "trail")
"""What a change of the filter must forget."""
SortField = PaginationSortField | PaginationEmbeddingSortField | PaginationGranularInferenceSortField
SORT_FIELDS = sorted({field.value for fields in get_args(SortField) for field in fields})


@dataclass(frozen=True)
class Chip:
    """An active filter in words, and the query string without it."""

    words: str
    query_without_it: str


def zoned(text: str) -> str:
    """RFC 3339; what a form's datetime-local sends, which has no zone, is UTC."""
    date, t, time = text.strip().partition("T")
    if not t or not set(time) <= set("0123456789:."):
        return text.strip()
    return f"{date}T{time}:00Z" if time.count(":") == 1 else f"{date}T{time}Z"


def instant_words(text: str) -> str:
    moment = parse_instant(zoned(text))
    return f"{moment:%Y-%m-%d %H:%M} UTC" if not moment.second else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def parse_metadata(text: str) -> dict[str, str]:
    """The parts of `key:type:operator:value`; a key that holds ':' is written as a JSON string."""
    shape = "write it as key:type:operator:value, for example altitude:float:>=:100"
    if text.startswith('"'):
        try:
            key, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            raise ValueError(f"the key's quotes don't close: {shape}") from None
        rest = text[end:].removeprefix(":").split(":", 2) if text[end : end + 1] == ":" else []
    else:
        key, _, tail = text.partition(":")
        rest = tail.split(":", 2)
    if len(rest) != 3:
        raise ValueError(shape)
    return {"key": key, "type": rest[0], "operator": rest[1], "value": rest[2]}


def metadata_text(key: str, type_: str, operator: str, value: str) -> str:
    """What `parse_metadata` reads."""
    spelt = json.dumps(key, ensure_ascii=False) if ":" in key or key.startswith('"') else key
    return f"{spelt}:{type_}:{operator}:{value}"


OPERATOR_WORDS = {"=": "=", "!=": "≠", ">": ">", ">=": "≥", "<": "<", "<=": "≤", "in": "in"}


def metadata_words(text: str) -> str:
    parts = parse_metadata(text)
    return f"{parts['key']} {OPERATOR_WORDS[parts['operator']]} {parts['value']}"


def _numbers(text: str, *names: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(names):
        raise ValueError(f"write it as {','.join(names)}")
    return parts


def _point(latitude: str, longitude: str) -> dict[str, str]:
    return {"latitude": latitude, "longitude": longitude}


def parse_circle(text: str) -> dict[str, Any]:
    latitude, longitude, radius = _numbers(text, "latitude", "longitude", "radius in metres")
    return {"center": _point(latitude, longitude), "radius": radius}


def circle_words(text: str) -> str:
    circle = parse_circle(text)
    metres = float(circle["radius"])
    distance = f"{metres / 1000:,.6g} km" if metres >= 1000 else f"{metres:,.6g} m"
    return f"within {distance} of {circle['center']['latitude']}, {circle['center']['longitude']}"


def parse_rectangle(text: str) -> dict[str, Any]:
    corners = text.removesuffix(",crosses")
    lat1, lon1, lat2, lon2 = _numbers(corners, "latitude", "longitude", "latitude", "longitude")
    return {
        "p1": _point(lat1, lon1),
        "p2": _point(lat2, lon2),
        "crosses_antimeridian": corners != text,
    }


def rectangle_words(text: str) -> str:
    box = parse_rectangle(text)
    one, other = box["p1"], box["p2"]
    if one == other:
        return f"at {one['latitude']}, {one['longitude']}"
    how = " across 180°" if box["crosses_antimeridian"] else ""
    return f"between {one['latitude']}, {one['longitude']} and {other['latitude']}, {other['longitude']}{how}"


def _sort(text: str) -> str:
    if text not in SORT_FIELDS:
        raise ValueError(f"sort by one of {', '.join(SORT_FIELDS)}")
    return text


def _limit(text: str) -> str:
    if text.isascii() and text.isdigit() and int(text[:9]) > LARGEST_LIMIT:
        raise ValueError(f"at most {LARGEST_LIMIT:,} a page")
    return text


class RepeatedField(forms.Field):
    """All values of a parameter that can be given several times, empty ones dropped."""

    widget = forms.MultipleHiddenInput

    def clean(self, value: Any) -> list[str]:
        return [text for text in value or [] if text != ""]


class ContractFilter(django_filters.CharFilter):  # type: ignore[misc]
    """A parameter's place in the contract's request, how its text is read, and how it is said."""

    repeated = False

    def __init__(
        self,
        place: str,
        label: str,
        parse: Callable[[str], Any] = str,
        words: Callable[[str], str] | None = None,
        **extra: Any,
    ) -> None:
        self.place, self.parse, self.words = tuple(place.split(".")), parse, words
        super().__init__(field_name="pk", label=label, **extra)

    def value(self, given: Any) -> Any:
        return self.parse(given)

    def texts(self, data: QueryDict, name: str) -> list[str]:
        return [text for text in data.getlist(name) if text != ""]


def _at_most(text: str) -> str:
    """What a bar of a chart asks for ends just before its bound; that is what people read."""
    try:
        beyond = repr(math.nextafter(float(text), math.inf))
    except ValueError:
        return f"≤ {text}"
    return f"< {beyond.removesuffix('.0')}" if len(beyond) < len(text) // 2 else f"≤ {text}"


class OneFilter(ContractFilter):
    """A parameter given at most once."""

    field_class = forms.CharField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, strip=False, **kwargs)


class ManyFilter(ContractFilter):
    """A parameter that can be given several times."""

    field_class = RepeatedField
    repeated = True

    def value(self, given: Any) -> Any:
        return [self.parse(text) for text in given]


class InferenceFilterSet(django_filters.FilterSet):  # type: ignore[misc]
    """Query string → NewGetInferencesRequest. Unknown parameters are errors, but for the `allowed`."""

    action = OneFilter("filters.inference_action_filter", "Action", words=lambda text: f"action {text}")
    data_hash = OneFilter(
        "filters.data_hash_filter", "Data hash", words=lambda text: f"data hash {text[:12]}…"
    )
    data_source = OneFilter("filters.data_source_filter", "Source", words=lambda text: f"source {text}")
    start = OneFilter(
        "filters.time_window_filter.start", "From", zoned, lambda text: f"from {instant_words(text)}"
    )
    end = OneFilter(
        "filters.time_window_filter.end", "Until", zoned, lambda text: f"until {instant_words(text)}"
    )
    label = ManyFilter(
        "filters.deconstructed_inference_filter.labels", "Label", words=lambda text: f"label {text}"
    )
    minimum_score = OneFilter(
        "filters.deconstructed_inference_filter.minimum_score",
        "Lowest score",
        words=lambda text: f"score ≥ {text}",
    )
    maximum_score = OneFilter(
        "filters.deconstructed_inference_filter.maximum_score",
        "Highest score",
        words=lambda text: f"score {_at_most(text)}",
    )
    metadata = ManyFilter("filters.metadata_filter", "Metadata", parse_metadata, metadata_words)
    circle = OneFilter("filters.location_filter.gps_coordinates_circle", "Circle", parse_circle, circle_words)
    rectangle = OneFilter(
        "filters.location_filter.gps_coordinates_rectangle", "Rectangle", parse_rectangle, rectangle_words
    )
    sort = OneFilter("pagination.sort", "Sort by", _sort)
    direction = OneFilter("pagination.direction", "Direction")
    limit = OneFilter("pagination.limit", "Page size", _limit)
    offset = OneFilter("pagination.offset", "Offset")
    cursor = OneFilter("pagination.cursor", "Cursor")
    presign = OneFilter("presign", "Presign")

    def __init__(self, data: QueryDict, allowed: Collection[str] = ()) -> None:
        super().__init__(data, queryset=Inference.objects.none())
        self.data: QueryDict = data
        self.allowed = frozenset(allowed)
        self._request: NewGetInferencesRequest | None = None

    @property
    def form(self) -> forms.Form:
        """The form, checked by the contract as soon as it is first asked for."""
        if not hasattr(self, "_form"):
            self._check(super().form)
        checked: forms.Form = self._form
        return checked

    def request_body(self) -> NewGetInferencesRequest:
        """The request that the query string spells; Refusal (400) names every wrong parameter."""
        if not self.is_valid() or self._request is None:
            fields = {name: " ".join(map(str, errors)) for name, errors in self.errors.items()}
            name, message = next(iter(fields.items()))
            raise Refusal(400, "invalid", f"{name}: {message}", fields)
        return self._request

    def chips(self) -> list[Chip]:
        """The active filters in words; wrong ones are left to their error message."""
        return [
            Chip(filter_.words(text), self.query_without(name, text))
            for name, filter_ in self.filters.items()
            if filter_.words and name not in self.errors
            for text in filter_.texts(self.data, name)
        ]

    def query_without(self, name: str, text: str) -> str:
        """The query string without that value, on its first page."""
        data = self.data.copy()
        data.setlist(name, [value for value in data.getlist(name) if value not in ("", text)])
        for position in PAGE_POSITION:
            data.pop(position, None)
        return data.urlencode()

    def filter_query(self) -> str:
        """The query string of the filter alone: which inferences, not in what order or how many at once."""
        filters = QueryDict(mutable=True)
        for name, filter_ in self.filters.items():
            if filter_.place[0] == "filters" and (texts := filter_.texts(self.data, name)):
                filters.setlist(name, texts)
        return filters.urlencode()

    # --- from the form to the contract ---

    def add_error(self, name: str, message: str) -> None:
        """What is wrong with a parameter that a page reads itself."""
        self.form.errors[name] = self.form.error_class([message])

    def add_refusal(self, refusal: Refusal) -> None:
        """Put what `query/` refused beside the parameters it is about."""
        for path, message in (refusal.fields or {"pagination": refusal.message}).items():
            location = tuple(int(part) if part.isdigit() else part for part in path.split("."))
            self._refuse(self.form, *self._addressed({"loc": location, "msg": message}))

    def _check(self, form: forms.Form) -> None:
        for name in self.data:
            if name not in self.filters and name not in self.allowed:
                form.errors[name] = form.error_class(["there is no such parameter"])
            elif len([text for text in self.data.getlist(name) if text]) > 1 and not self._repeats(name):
                self._refuse(form, name, "give it once")
        body = self._body(form)
        try:
            request = NewGetInferencesRequest.model_validate(body)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False, include_input=False):
                self._refuse(form, *self._addressed(problem))
        else:
            self._request = None if form.errors else request

    def _repeats(self, name: str) -> bool:
        return name in self.filters and self.filters[name].repeated

    def _body(self, form: forms.Form) -> dict[str, Any]:
        """The request as plain data; what can't be read is an error of its parameter and left out."""
        body: dict[str, Any] = {}
        for name, filter_ in self.filters.items():
            given = form.cleaned_data.get(name) if form.is_bound and not form.errors.get(name) else None
            if not given:
                continue
            try:
                value = filter_.value(given)
            except ValueError as error:
                self._refuse(form, name, str(error))
                continue
            *parents, last = filter_.place
            target = body
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = value
        return body

    def _addressed(self, problem: Mapping[str, Any]) -> tuple[str, str]:
        """The parameter that a contract's error is about, and what it says."""
        location, message = problem["loc"], message_of(problem)
        found = (each for each in self.filters.items() if location[: len(each[1].place)] == each[1].place)
        name, filter_ = next(found, (None, None))
        if name is None or filter_ is None:
            return "cursor", message  # the one rule over two parameters: cursor or offset
        within = location[len(filter_.place) :]
        subject = [part for part in within if isinstance(part, str) and part.islower()]
        if filter_.repeated and within and isinstance(within[0], int):
            subject.insert(0, filter_.texts(self.data, name)[within[0]][:80])
        return name, ": ".join([*subject, message])

    @staticmethod
    def _refuse(form: forms.Form, name: str, message: str) -> None:
        """Add the error; the first about a parameter is enough."""
        if name in form.fields and not form.errors.get(name):
            form.add_error(name, message)


def without_empties(data: QueryDict) -> Iterator[tuple[str, str]]:
    """The pairs of a query string that say something, in order."""
    return ((name, text) for name, texts in data.lists() for text in texts if text != "")
