"""Filters as they are sent, and in plain Python what each matches."""

from datetime import timedelta


def _held(row, key, type_):
    held = row.metadata.get(key)
    return held[1] if held is not None and held[0] == type_ else None


def _entry(row, label, least=None):
    return any(
        name == label and (least is None or (score is not None and score >= least))
        for name, score in row.entries
    )


def _metadata(key, operator, type_, value):
    return {"metadata_filter": [{"key": key, "operator": operator, "type": type_, "value": value}]}


def filters_at(base):
    """(sent, predicate) each."""
    middle = base - timedelta(hours=45)
    near = {"center": {"latitude": 47.5, "longitude": 9.5}, "radius": 1000.0}
    return (
        ({"data_source_filter": "camera"}, lambda row: row.source == "camera"),
        (
            {"deconstructed_inference_filter": {"labels": ["kestrel"], "minimum_score": 0.5}},
            lambda row: _entry(row, "kestrel", 0.5),
        ),
        (
            {"deconstructed_inference_filter": {"labels": ["heron"]}},
            lambda row: _entry(row, "heron"),
        ),
        (_metadata("run", ">=", "int", "5"), lambda row: int(_held(row, "run", "int") or 0) >= 5),
        (_metadata("site", "=", "string", "north"), lambda row: _held(row, "site", "string") == "north"),
        (
            _metadata("site", "!=", "string", "north"),
            lambda row: _held(row, "site", "string") not in (None, "north"),
        ),
        (
            {"time_window_filter": {"end": middle.isoformat().replace("+00:00", "Z")}},
            lambda row: row.created_at <= middle,
        ),
        (
            {"location_filter": {"gps_coordinates_circle": near}},
            lambda row: row.place is not None,
        ),
        (
            {"data_source_filter": "phone", **_metadata("run", "=", "string", "7")},
            lambda row: row.source == "phone" and _held(row, "run", "string") == "7",
        ),
        ({"data_hash_filter": "cd" * 32}, lambda row: row.hash == "cd" * 32),
        ({}, lambda row: True),
    )
