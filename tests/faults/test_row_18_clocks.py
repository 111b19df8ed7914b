"""A machine's clock a day off deletes no upload early, whether it took the upload in or sweeps.

Retention by such a clock: tests/services/test_retention.py. Two schedulers at once:
tests/faults/test_row_19_broker_away.py.
"""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from inference_store.models import Blob
from inference_store.services.sweeping import sweep_blobs
from tests.making import make_model, make_upload


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what this machine takes for the time, in days from what it is; PostgreSQL keeps its own."""
    real_now, real_time = timezone.now, time.time

    def off_by(days: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: real_now() + timedelta(days=days))
        monkeypatch.setattr(time, "time", lambda: real_time() + days * 86_400)

    return off_by


@pytest.mark.django_db
@pytest.mark.parametrize("receiving", [-2, 0, 2])
@pytest.mark.parametrize("sweeping", [-2, 0, 2])
def test_an_upload_is_swept_after_a_day_by_no_machine_s_clock(
    clock: Any, receiving: int, sweeping: int
) -> None:
    model = make_model()
    clock(receiving)
    young, old = make_upload(model), make_upload(model)
    Blob.objects.filter(key=old).update(created_at=F("created_at") - timedelta(hours=25))
    clock(sweeping)
    assert sweep_blobs() == 1
    assert list(Blob.objects.values_list("key", flat=True)) == [young]
