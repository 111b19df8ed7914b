"""More inferences at once than a statement takes parameters (65,535)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import AuditedInferences, Export, Inference
from inference_store.services import deletion, exports, protection
from tests.faults.many import multiply
from tests.making import make_model, make_user

pytestmark = pytest.mark.django_db
MANY = 70_000
OF_CAMERA = BaseInferenceFilter(data_source_filter="camera")


def test_all_that_a_filter_finds_is_protected_and_deleted():
    model = make_model()
    ids = multiply(model, MANY, source="camera")
    changed = protection.set_protection_by_filter(model=model, filters=OF_CAMERA, is_protected=True)
    assert changed == len(ids) == MANY + 1
    assert Inference.objects.filter(registered_model=model, is_protected=True).count() == MANY + 1
    gone = deletion.delete_matching(model=model, filters=OF_CAMERA)
    assert sorted(gone) == sorted(ids)
    assert not Inference.objects.filter(registered_model=model).exists()
    assert AuditedInferences.objects.exists()


def test_archives_expire_at_the_same_cost_each(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path
    model, user = make_model(), make_user()

    def queries(count):
        shared = {
            "registered_model": model,
            "user": user,
            "state": "complete",
            "format": "csv",
            "request": {},
        }
        for number in range(count):
            key = f"{model.pk}/{number:032x}"
            Export.objects.create(archive_key=key, expires_at="2020-01-01T00:00:00Z", **shared)
        with CaptureQueriesContext(connection) as captured:
            assert exports.expire_archives() == count
        return len(captured)

    one, six = queries(1), queries(6)
    assert six - one <= 5 * 5, "more than a transaction of its own for each"
