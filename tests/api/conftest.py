"""The API's tests share the cast; static files need no collecting, blobs go to a directory of their own."""

from pathlib import Path
from typing import Any

import pytest

from tests.cast import cast, detector  # noqa: F401


@pytest.fixture(autouse=True)
def _blob_root(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_ROOT = tmp_path / "blobs"
