"""Faults are tried on real processes; blobs lie in a directory of the test's own."""

from pathlib import Path
from typing import Any

import pytest

from tests.cast import cast, detector  # noqa: F401
from tests.workers import worker  # noqa: F401


@pytest.fixture(autouse=True)
def blob_root(settings: Any, tmp_path: Path) -> Path:
    settings.BLOB_ROOT = tmp_path / "blobs"
    return settings.BLOB_ROOT
