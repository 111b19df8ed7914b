"""What a module plants for all its tests, and what tests of codes look at."""

import pytest

from tests.neighbourhood import remove
from tests.query.coded import count_read, note_by_codes


@pytest.fixture(scope="module")
def planted(request, django_db_setup, django_db_blocker):
    """The module's own `Planted`, whose `model` gets indexes from a thousand embeddings on."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.VECTOR_INDEX_ROWS", 1_000)
        planted = request.module.Planted()
        yield planted
        remove(planted.model)


@pytest.fixture
def read(monkeypatch):
    return count_read(monkeypatch)


@pytest.fixture
def by_codes(monkeypatch):
    return note_by_codes(monkeypatch)
