"""What is computed here is judged by its result; how long an example takes says how busy the machine is."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def blob_root(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"
    return settings.BLOB_ROOT
