"""One nginx and one gunicorn for all tests here; each test has its own data in the database."""

from collections.abc import Iterator
from typing import Any

import pytest

import inference_store.client as istore
from tests.cast import cast, detector  # noqa: F401
from tests.deploy.deployed import INTERNAL, Deployed, refuse_without_nginx


@pytest.fixture(scope="package")
def deployed(django_db_setup: None) -> Iterator[Deployed]:
    refuse_without_nginx()
    store = Deployed()
    try:
        store.start()
        yield store
    finally:
        store.stop()


@pytest.fixture
def world(deployed: Deployed, transactional_db: None, cast: Any, settings: Any) -> Any:  # noqa: F811
    """The cast, in the store that runs; what the test itself stores lies where that one looks."""
    settings.BLOB_ROOT = deployed.blobs
    settings.BLOB_INTERNAL_LOCATION = INTERNAL
    return cast


@pytest.fixture
def sdk(deployed: Deployed, world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK as bob, who trusts the certificate as one does that is none of the public ones."""
    monkeypatch.setenv("SSL_CERT_FILE", str(deployed.certificate))
    istore.connect(base_url=deployed.url, token=world.bob.token)
    yield istore
    istore.disconnect()
