"""For what fills the running store faster than its API takes things in: on its machine, with its settings."""

# ruff: noqa: E402  (the settings come before the models)
import os
from collections.abc import Iterator
from contextlib import contextmanager

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_store.settings")
django.setup()

from inference_store.contract.enums import TaskType
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import RegisteredModel, SoftDeletedInference
from inference_store.services.deletion import delete_matching


@contextmanager
def emptied(model_id: str, project: str) -> Iterator[RegisteredModel]:
    """A model without inferences, before and after."""
    fields = {"project_id": project, "task_type": TaskType.OBJECT_DETECTION.value}
    model, _ = RegisteredModel.objects.get_or_create(model_id=model_id, defaults=fields)

    def empty() -> None:
        delete_matching(model=model, filters=BaseInferenceFilter())
        SoftDeletedInference.objects.filter(registered_model=model).delete()

    empty()  # what a run that was cut off left
    try:
        yield model
    finally:
        empty()


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]
