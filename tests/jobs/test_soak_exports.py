"""An export of the size that the store is for."""

import time

import pytest

from inference_store import blobs
from inference_store.client.verification import check_archive
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.services import exports
from tests.jobs.killing import ExportWatch, assert_nothing_is_left
from tests.jobs.stock import stock
from tests.making import make_model, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]

COUNT, INPUT_BYTES = 200_000, 20_000
MOST_GROWTH_BYTES = 100 * 10**6
PATIENCE_SECONDS = 1_800


def test_two_hundred_thousand_inputs_in_constant_memory(worker):
    model = make_model()
    stock(model, COUNT, size=INPUT_BYTES)
    idle = worker.memory()
    request = NewExportTaskRequest(include_inferences_as_annotations=True, include_custom_metadata=True)
    export = exports.create_export(model=model, user=make_user(), request=request)
    watch, began, moved, longest = ExportWatch(export), time.monotonic(), time.monotonic(), 0.0
    while export.is_active:
        seen = export.progress_count
        watch()
        if export.progress_count != seen:
            longest, moved = max(longest, time.monotonic() - moved), time.monotonic()
        assert time.monotonic() < began + PATIENCE_SECONDS
        time.sleep(0.25)
    seconds = time.monotonic() - began
    growth = worker.memory() - idle
    print(f"{COUNT / seconds:,.0f} inferences/s; {growth / 10**6:.0f} MB above {idle / 10**6:.0f} MB idle")
    print(f"the count stood still for {longest:.1f} s at the most")
    assert export.state == "complete", export.error
    assert export.progress_count == export.expected_count == COUNT
    assert growth < MOST_GROWTH_BYTES
    with blobs.open_blob(export.archive_key) as archive:
        summary = check_archive(archive.name)
    assert (summary.inference_count, summary.size) == (COUNT, export.size)
    assert summary.member_count == COUNT + 4
    assert_nothing_is_left()
