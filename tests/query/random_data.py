"""Random inferences and random filters over them, apt to hit: filters draw from what is stored."""

import json
from datetime import UTC, datetime, timedelta

from inference_store.contract.filters import BaseInferenceFilter, DeconstructedInferenceFilter
from inference_store.models import SearchSlot
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from tests.making import make_request

KEYS = [
    "k",
    "a.b",
    "a__b",
    "%s%%",
    'it\'s "k"',
    "back\\slash",
    "😀 key",
    " lead",
    "k,k",
    "1",
    "x" * 400,
    "json",
]
STRINGS = [
    *[
        "",
        " ",
        "a",
        "A",
        "b",
        "ab",
        "a,b",
        " lead",
        "trail ",
        '"quoted"',
        "'",
        "back\\slash",
        "%",
        "_",
        "a.b",
    ],
    *[
        "a__b",
        "é",
        "é",
        "\uffee",
        "\U00010000",
        "😀",
        "𝒳,𝒴",
        "[x]",
        "{}",
        "1",
        "null",
        "\n",
        "\u2003wide",
        "z" * 3000,
    ],
    *["-", "--", "; drop table x", "$1", "\\", '\\"', "\x7f", "\ue000"],
]
INTS = ["0", "-0", "+7", "007", "1", "-1", "2", "10", "9007199254740993", "9007199254740992"]
INTS += [str(2**63 - 1), str(2**63 - 2), str(-(2**63)), str(-(2**63) + 1), "4611686018427387904"]
FLOATS = [
    "0",
    "-0.0",
    "1",
    "1.0",
    ".5",
    "5.",
    "0.1",
    "0.30000000000000004",
    "1e23",
    "-1e-5",
    "1e-400",
    "1e16",
]
FLOATS += ["5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "-1.7976931348623157e308", "1E3"]
JSON_KEYS = ["a", "b", "0", "1", "x.y", "ключ", "", "a b", "😀", "__x", "%", "'", '"']
JSON_NUMBERS = [
    0,
    1,
    -1,
    1.0,
    1.5,
    2,
    2.0,
    -0.0,
    0.1,
    1e300,
    5e-324,
    10**30,
    2**63,
    2**63 - 1,
    -(2**63),
    1e22,
]
LABELS = [
    "cat",
    "dog",
    "Cat",
    "",
    " cat",
    "it's",
    '"',
    "%",
    "a__b",
    "a,b",
    "\\",
    "😀",
    "\U00010000",
    "\uffee",
    "z" * 512,
]
SCORES = [None, None, 0, -0.0, 0.25, 0.5, 0.5, 0.75, 1, 1.0, 1e308, -1e308, 5e-324, 0.1, 0.30000000000000004]
SOURCES = [None, None, "", "camera", "Camera", "it's", "%", "😀", "a\\b", "x" * 512]
HASHES = ["ab" * 32, "0f" * 32, "12" * 32]
LATITUDES = [90.0, -90.0, 89.9999999, -89.9999999, 0.0, -0.0, 45.0, 1e-9, 89.999, -89.9]
LONGITUDES = [180.0, -180.0, 179.9999999, -179.9999999, 0.0, -0.0, 90.0, -90.0, 179.99, -179.99]
START = datetime(2026, 1, 1, tzinfo=UTC)
OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "in"]
TYPES = ["int", "float", "string", "json.int", "json.float", "json.string"]


def latitude(rng):
    return rng.choice(LATITUDES) if rng.random() < 0.5 else rng.uniform(-90, 90)


def longitude(rng):
    return rng.choice(LONGITUDES) if rng.random() < 0.5 else rng.uniform(-180, 180)


def json_value(rng, depth=0):
    kind = rng.random()
    if depth < 3 and kind < 0.4:
        return {rng.choice(JSON_KEYS): json_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if depth < 3 and kind < 0.55:
        return [json_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind < 0.65:
        return rng.choice([True, False, None])
    return rng.choice(STRINGS[:20]) if kind < 0.8 else rng.choice(JSON_NUMBERS)


def metadata_text(rng, type_):
    if type_ == "json":
        return json.dumps(json_value(rng), ensure_ascii=rng.random() < 0.5)
    return rng.choice({"int": INTS, "float": FLOATS, "string": STRINGS}[type_])


def label_entry(rng):
    entry = {rng.choice(["label", "class_label", "class_name"]): rng.choice(LABELS)}
    if (score := rng.choice(SCORES)) is not None or rng.random() < 0.5:
        entry["score"] = score
    return entry


def random_request(rng, model, number):
    # Few keys in each set, so that they meet; the type of one key differs between inferences.
    keys = rng.sample(KEYS, rng.randrange(7))
    types = [rng.choice(["int", "float", "string", "json", "json"]) for _ in keys]
    return make_request(
        model,
        f"{number}-{rng.choice(['a', 'é', '😀', 'q=1&x', '%2e', chr(39)])}",
        action=rng.choice(["predict", "predict_proba", "embed"]),
        entries=None if rng.random() < 0.2 else [label_entry(rng) for _ in range(rng.randrange(5))],
        metadata=[(key, type_, metadata_text(rng, type_)) for key, type_ in zip(keys, types, strict=True)],
        place=None if rng.random() < 0.25 else (latitude(rng), longitude(rng)),
        source=rng.choice(SOURCES),
        data_hash=rng.choice(HASHES),
        created_at=START + timedelta(microseconds=rng.randrange(8)),
    )


def searched_keys(requests):
    """Every (type, key) that a filter on these could name, numbers and strings at each JSON path."""
    found = {}
    for request in requests:
        for item in request.data.metadata.extended_metadata:
            if item.type != "json":
                found[item.type, item.key] = None
                continue
            for path, value in _paths(json.loads(item.value)):
                if isinstance(value, str | int | float) and not isinstance(value, bool):
                    type_ = "json.string" if isinstance(value, str) else "json.float"
                    found[type_, _escaped([item.key, *path])] = None
    return list(found)


def give_slots(rng, model, keys):
    """Search slots for as many of the keys as there are, in a random order."""
    free = {True: list(STRING_SLOTS), False: list(NUMBER_SLOTS)}
    for type_, key in rng.sample(keys, len(keys)):
        if columns := free[type_.endswith("string")]:
            SearchSlot.objects.create(
                registered_model=model, type=type_, key=key, slot=columns.pop(), state="ready"
            )


# --- Filters -----------------------------------------------------------------------------------------------


def _paths(value):
    """Every path into a JSON value with what lies there."""
    yield [], value
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = ((str(position), each) for position, each in enumerate(value))
    else:
        return
    for segment, each in inner:
        for path, found in _paths(each):
            yield [segment, *path], found


def _escaped(path):
    return ".".join(segment.replace(".", "\\.") for segment in path)


def _as_item(rng, text):
    plain = text == text.strip() and "," not in text and not text.startswith('"') and text
    return text if plain and rng.random() < 0.8 else json.dumps(text, ensure_ascii=rng.random() < 0.5)


def _operand(rng, operator, kind, usual):
    pool = {"int": INTS, "float": FLOATS, "string": STRINGS}[kind]

    def one():
        return usual if usual is not None and rng.random() < 0.6 else rng.choice(pool)

    if operator != "in":
        return one()
    many = rng.choice([0, 1, 1, 2, 3, 5, 8, 49, 50, 51, 80])
    if many <= 8:
        items = [one() for _ in range(many)]
    elif kind == "string":
        items = [one(), *(f"filler {number}" for number in range(many - 1))]
    else:
        items = [one(), *(str(number * 3) for number in range(many - 1))]
    blank = rng.choice(["", " ", "\t", "  "])
    spelled = [_as_item(rng, item) if kind == "string" else item for item in items]
    return f"{blank}[{blank}{f'{blank},{blank}'.join(spelled)}{blank}]{blank}"


def metadata_filter(rng, requests):
    type_, operator = rng.choice(TYPES), rng.choice(OPERATORS)
    kind = type_.split(".")[-1]
    held = [
        item
        for request in rng.sample(requests, min(10, len(requests)))
        for item in request.data.metadata.extended_metadata
        if item.type.split(".")[0] == type_.split(".")[0]
    ]
    key, usual = rng.choice(KEYS), None
    if held and rng.random() < 0.9:
        item = rng.choice(held)
        key, usual = item.key, item.value
    if type_.startswith("json."):
        path = []
        if usual is not None:
            fitting = [
                (path, found)
                for path, found in _paths(json.loads(usual))
                if isinstance(found, str if kind == "string" else int | float) and not isinstance(found, bool)
            ]
            usual = None
            if fitting:
                path, found = rng.choice(fitting)
                usual = found if kind == "string" else repr(found)
                if kind == "int" and (found != int(found) or abs(found) >= 2**63):
                    usual = None
                elif kind == "int":
                    usual = str(int(found))
        if rng.random() < 0.1:
            path = [*path, rng.choice([*JSON_KEYS, "2", "-1", "99999999999999999999"])]
        key = _escaped([key, *path])
    return {"key": key, "type": type_, "operator": operator, "value": _operand(rng, operator, kind, usual)}


def circle(rng, places):
    center = rng.choice(places) if places and rng.random() < 0.5 else (latitude(rng), longitude(rng))
    if rng.random() < 0.1:  # another name of the same point
        center = (center[0], -center[1] if abs(center[1]) == 180 or abs(center[0]) == 90 else center[1])
    radius = rng.choice([0, 1e-3, 1, 100, 15e3, 1e6, 9.9e6, 10_007_543.4, 1.5e7, 2.0e7, 20_015_000, 20_100e3])
    radius = radius if rng.random() < 0.6 else rng.uniform(0, 20_100_000)
    return {"center": {"latitude": center[0], "longitude": center[1]}, "radius": radius}


def rectangle(rng, places):
    def corner():
        at = rng.choice(places) if places and rng.random() < 0.4 else (latitude(rng), longitude(rng))
        return {"latitude": at[0], "longitude": at[1]}

    return {"p1": corner(), "p2": corner(), "crosses_antimeridian": rng.random() < 0.4}


def location(rng, places):
    which = rng.random()
    return {
        "gps_coordinates_circle": circle(rng, places) if which < 0.6 else None,
        "gps_coordinates_rectangle": rectangle(rng, places) if which > 0.45 and which < 0.98 else None,
    }


def deconstructed(rng):
    some = lambda value: value if rng.random() < 0.5 else None  # noqa: E731
    bounds = [score for score in SCORES if score is not None]
    low, high = some(rng.choice(bounds)), some(rng.choice(bounds))
    return {
        "labels": some([rng.choice(LABELS) for _ in range(rng.choice([0, 1, 1, 2, 3]))]),
        "minimum_score": low,
        "maximum_score": high,
    }


def time_window(rng):
    def end():
        at = START + timedelta(microseconds=rng.randrange(-1, 9))
        if rng.random() < 0.3:
            return None
        return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if rng.random() < 0.8 else at.isoformat()

    return {"start": end(), "end": end()}


def conditions(rng, requests):
    """One to four conditions, each a field of the filter and its value."""
    places = [
        (standard.latitude, standard.longitude)
        for request in requests
        if (standard := request.data.metadata.standard_metadata).latitude is not None
    ]
    makers = {
        "metadata_filter": lambda: metadata_filter(rng, requests),
        "location_filter": lambda: location(rng, places),
        "deconstructed_inference_filter": lambda: deconstructed(rng),
        "time_window_filter": lambda: time_window(rng),
        "data_hash_filter": lambda: rng.choice([*HASHES, HASHES[0].upper(), "ff" * 32, "no hash", ""]),
        "data_source_filter": lambda: rng.choice([source for source in SOURCES if source is not None]),
        "inference_action_filter": lambda: rng.choice(["predict", "predict_proba", "embed", "detect"]),
    }
    names = rng.choices(list(makers), weights=[9, 4, 3, 2, 1, 1, 1], k=rng.choice([1, 1, 1, 2, 2, 3, 4]))
    return [(name, makers[name]()) for name in names]


def as_filter(chosen):
    """The conditions as the contract's filter; of a repeated field but metadata, the last counts."""
    fields = {}
    for name, value in chosen:
        if name == "metadata_filter":
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    return BaseInferenceFilter.model_validate(fields)


def nothing_asked():
    return BaseInferenceFilter(deconstructed_inference_filter=DeconstructedInferenceFilter())
