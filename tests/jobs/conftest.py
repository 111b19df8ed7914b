"""Jobs by a real worker; blobs lie in a directory of the test's own."""

import pytest

from tests.workers import worker  # noqa: F401


@pytest.fixture(autouse=True)
def blob_root(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"
    return settings.BLOB_ROOT
