"""Segments are built over whatever there is, and read whatever an index would find."""

from inference_store.query import segments as reading
from inference_store.services import segments


def always(monkeypatch):
    monkeypatch.setattr(segments, "FEWEST_ROWS", 0)
    monkeypatch.setattr(segments, "FEWEST_NEW", 1)
    monkeypatch.setattr(segments, "REST", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_BY_INDEX", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_BY_COLUMN", 0)
    monkeypatch.setattr(reading, "NANOSECONDS_AT_LEAST", 0)
    reading.forget()
