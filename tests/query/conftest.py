"""What tests of codes look at."""

import pytest

from tests.query.coded import count_read, note_by_codes


@pytest.fixture
def read(monkeypatch):
    return count_read(monkeypatch)


@pytest.fixture
def by_codes(monkeypatch):
    return note_by_codes(monkeypatch)
