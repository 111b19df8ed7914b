from collections.abc import Iterator

import pytest

from inference_store import client as istore
from inference_store.client import connection, sending
from tests.client.scripted_store import ScriptedStore


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection from outside, and waits that a test can sit through."""
    monkeypatch.delenv(connection.URL_VARIABLE, raising=False)
    monkeypatch.delenv(connection.TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(sending, "FIRST_WAIT_SECONDS", 0.01)
    yield
    istore.disconnect()


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    """A scripted store that the client is connected to."""
    store = ScriptedStore()
    istore.connect(base_url=store.url, token="secret")
    yield store
    store.stop()
