"""The documented semantics once more, by brute force and in plain Python: what queries must agree with.

Knows requests (as they were stored, in that order) and filters, but none of the code that answers them.
"""

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal

EARTH_RADIUS = 6_371_008.8
LABELS = ("label", "class_label", "class_name")
LISTS = ("image_classification", "object_detection", "oriented_object_detection", "image_segmentation")


class Unclear(Exception):  # noqa: N818  (it is a verdict, not a fault)
    """A point so near a circle's rim that floating point decides: not a case to judge by."""


# --- Values ------------------------------------------------------------------------------------------------


def value_of(request, key, type_):
    """The parsed value held under that key with that type, else None (for json: in a one-element list)."""
    for item in request.data.metadata.extended_metadata:
        if item.key == key and _plain(item.type) == type_:
            reader = {"int": int, "float": float, "string": str, "json": lambda text: [json.loads(text)]}
            return reader[type_](item.value)
    return None


def _plain(enum_or_text):
    return getattr(enum_or_text, "value", enum_or_text)


def segments_of(key):
    return [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key)]


def at_path(value, path):
    """A one-element list with what lies there, else None."""
    for segment in path:
        if isinstance(value, dict):
            if segment not in value:
                return None
            value = value[segment]
        elif isinstance(value, list):
            if not re.fullmatch("[0-9]+", segment) or int(segment) >= len(value):
                return None
            value = value[int(segment)]
        else:
            return None
    return [value]


def _exact(number):
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _json_value(request, key, kind):
    first, *rest = segments_of(key)
    held = value_of(request, first, "json")
    found = None if held is None else at_path(held[0], rest)
    if found is None:
        return None
    value = found[0]
    if kind == "string":
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = _exact(value)
    if kind == "int" and number != number.to_integral_value():
        return None
    return number


def items_of(text):
    """The items of "[a, b]"."""
    inner = text.strip()[1:-1]
    if not inner.strip():
        return []
    items, rest = [], inner + ","
    while rest:
        quoted = re.match(r'\s*("(?:[^"\\]|\\.)*")\s*,', rest, re.DOTALL)
        plain = re.match(r"([^,]*),", rest, re.DOTALL)
        items.append(json.loads(quoted.group(1)) if quoted else plain.group(1).strip())
        rest = rest[(quoted or plain).end() :]
    return items


def holds(request, wanted):
    """Whether one metadata filter holds."""
    type_, operator = _plain(wanted.type), _plain(wanted.operator)
    kind = type_.split(".")[-1]
    if type_.startswith("json."):
        value = _json_value(request, wanted.key, kind)
        read = {
            "int": lambda text: _exact(int(text)),
            "float": lambda text: _exact(float(text)),
            "string": str,
        }
    else:
        value = value_of(request, wanted.key, kind)
        read = {"int": int, "float": float, "string": str}
    if value is None:
        return False
    if operator == "in":
        return any(value == read[kind](item) for item in items_of(wanted.value))
    other = read[kind](wanted.value)
    return {
        "=": value == other,
        "!=": value != other,
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }[operator]


# --- Places ------------------------------------------------------------------------------------------------


def _cosine(latitude):
    """Of degrees; exactly 0 at the poles."""
    return math.sin(math.radians(90 - abs(latitude)))


def meters(one, other):
    """Great-circle distance by the haversine; exactly 0 for two names of one point."""
    (lat1, lon1), (lat2, lon2) = one, other
    turn = abs(lon1 - lon2)
    turn = min(turn, 360 - turn)
    half = math.sin(math.radians(lat1 - lat2) / 2) ** 2
    half += _cosine(lat1) * _cosine(lat2) * math.sin(math.radians(turn) / 2) ** 2
    return 2 * EARTH_RADIUS * math.atan2(math.sqrt(half), math.sqrt(max(0.0, 1 - half)))


def in_circle(place, circle):
    distance = meters(place, (circle.center.latitude, circle.center.longitude))
    if circle.radius == 0 or distance == 0:
        return distance <= circle.radius
    # The haversine is flat at the antipode: there a rounding in the last place is decimetres.
    doubt = 1.0 if distance > 19_900_000 else 1e-6 + 1e-9 * distance
    if abs(distance - circle.radius) < doubt:
        if circle.radius > math.pi * EARTH_RADIUS:
            return True
        raise Unclear
    return distance < circle.radius


def in_rectangle(place, rectangle):
    latitude, longitude = place
    one, other = rectangle.p1, rectangle.p2
    if not min(one.latitude, other.latitude) <= latitude <= max(one.latitude, other.latitude):
        return False
    west, east = min(one.longitude, other.longitude), max(one.longitude, other.longitude)
    if rectangle.crosses_antimeridian:
        return longitude <= west or longitude >= east
    return west <= longitude <= east


def located(request, wanted):
    circle, rectangle = wanted.gps_coordinates_circle, wanted.gps_coordinates_rectangle
    if circle is None and rectangle is None:
        return True
    standard = request.data.metadata.standard_metadata
    if standard.latitude is None:
        return False
    place = (standard.latitude, standard.longitude)
    return (circle is None or in_circle(place, circle)) and (
        rectangle is None or in_rectangle(place, rectangle)
    )


# --- Entries -----------------------------------------------------------------------------------------------


def entries(request):
    """(label, score) of each entry."""
    items = next((given for name in LISTS if (given := getattr(request.data, name)) is not None), [])
    return [(next(item[name] for name in LABELS if name in item), item.get("score")) for item in items]


def entry_fits(entry, wanted):
    label, score = entry
    if wanted.labels is not None and label not in wanted.labels:
        return False
    if wanted.minimum_score is not None and (score is None or score < wanted.minimum_score):
        return False
    return wanted.maximum_score is None or (score is not None and score <= wanted.maximum_score)


# --- Filters -----------------------------------------------------------------------------------------------


def _instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def matches(request, filters):
    """Whether all given filters hold."""
    standard = request.data.metadata.standard_metadata
    window, wanted = filters.time_window_filter, filters.deconstructed_inference_filter
    action, digest = filters.inference_action_filter, filters.data_hash_filter
    tests = [
        action is None or _plain(standard.inference_action) == action,
        digest is None or standard.data_hash.lower() == digest.lower(),
        filters.data_source_filter is None or standard.data_source == filters.data_source_filter,
        window is None or window.start is None or request.created_at >= _instant(window.start),
        window is None or window.end is None or request.created_at <= _instant(window.end),
        all(holds(request, each) for each in filters.metadata_filter or []),
        wanted is None
        or (wanted.labels is None and wanted.minimum_score is None and wanted.maximum_score is None)
        or any(entry_fits(entry, wanted) for entry in entries(request)),
        filters.location_filter is None or located(request, filters.location_filter),
    ]
    return all(tests)


def matching(requests, filters):
    return [request for request in requests if matches(request, filters)]


# --- Order -------------------------------------------------------------------------------------------------


def _ordered(rows, descending):
    """(value, unique key, row) in order, the rows without a value last."""
    valued = sorted((row for row in rows if row[0] is not None), key=lambda row: row[:2], reverse=descending)
    rest = sorted((row for row in rows if row[0] is None), key=lambda row: row[1], reverse=descending)
    return [row[2] for row in valued + rest]


def sort_value(request, sort):
    if sort == "created_at":
        return request.created_at
    if sort == "label":
        return min((label for label, _ in entries(request)), default=None)
    return max((score for _, score in entries(request) if score is not None), default=None)


def ordered_ids(requests, filters, sort="created_at", descending=False):
    """Ids of what matches, in order; ties go by the order in which they were stored."""
    rows = [
        (sort_value(request, sort), position, request.inference_id)
        for position, request in enumerate(requests)
        if matches(request, filters)
    ]
    return _ordered(rows, descending)


def granular_rows(requests, filters, sort="created_at", descending=False):
    """(id, position in its list, label, score) of each entry asked for, in order."""
    wanted, rows = filters.deconstructed_inference_filter, []
    for number, request in enumerate(requests):
        if not matches(request, filters):
            continue
        for position, (label, score) in enumerate(entries(request)):
            if wanted is None or entry_fits((label, score), wanted):
                value = {"created_at": request.created_at, "label": label, "score": score}[sort]
                rows.append((value, (number, position), (request.inference_id, position, label, score)))
    return _ordered(rows, descending)


# --- Statistics --------------------------------------------------------------------------------------------


def observations(requests, filters, key, type_):
    found = [value_of(request, key, type_) for request in matching(requests, filters)]
    return [value for value in found if value is not None]


def key_type_counts(requests):
    counts = {}
    for request in requests:
        for item in request.data.metadata.extended_metadata:
            types = counts.setdefault(item.key, {})
            types[_plain(item.type)] = types.get(_plain(item.type), 0) + 1
    return counts


def bins(values, edges):
    """How many values lie in each bin between neighbouring edges, the last closed; one edge: equal to it."""
    if len(edges) == 1:
        return [sum(value == edges[0] for value in values)]
    counts = [0] * (len(edges) - 1)
    for value in values:
        for position in range(len(counts)):
            last = position == len(counts) - 1
            low, high = edges[position], edges[position + 1]
            if low <= value < high or (last and value == high):
                counts[position] += 1
                break
    return counts


# --- Embeddings --------------------------------------------------------------------------------------------


def distance(metric, query, stored):
    """In double precision, scaled so that nothing overflows on the way."""
    largest = max(map(abs, [*query, *stored]), default=0) or 1.0
    if metric == "cosine":
        one, other = _unit(query), _unit(stored)
        return (
            1.0
            if one is None or other is None
            else 1 - math.fsum(map(math.prod, zip(one, other, strict=True)))
        )
    if metric == "l2":
        scaled = ((a / largest - b / largest) ** 2 for a, b in zip(query, stored, strict=True))
        return largest * math.sqrt(math.fsum(scaled))
    return -math.fsum(a * b for a, b in zip(query, stored, strict=True))


def _unit(vector):
    largest = max(map(abs, vector), default=0)
    if largest == 0:
        return None
    scaled = [each / largest for each in vector]
    length = math.sqrt(math.fsum(each * each for each in scaled))
    return [each / length for each in scaled]
