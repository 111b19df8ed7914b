"""What every model of the demo is: a registration, and samples that it made."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inference_store.client.metadata import get_data_hash
from inference_store.contract.enums import InferenceAction, MetadataType, TaskType
from inference_store.contract.inferences import (
    LIST_OF_TASK,
    NewInferenceAndMetadataCollection,
    NewInferenceStorageRequest,
)
from inference_store.contract.metadata import (
    NewExtendedMetadataRequest,
    NewMetadataCollectionRequest,
    NewStandardMetadataRequest,
)
from inference_store.demo.places import Visit

PROTECTED_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Sample:
    """One input and what the model made of it; the number names it for good."""

    number: int
    blob: bytes
    metadata: dict[str, Any]
    entries: list[dict[str, Any]] | None = None
    embedding: list[float] | None = None


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model: how it is registered, how many inferences it makes, and how it makes them."""

    model_id: str
    task_type: TaskType
    action: InferenceAction
    count: int
    samples: Callable[[int], Iterator[Sample]] = field(repr=False)
    embedding_size: int = 0

    def inference_id(self, number: int) -> str:
        return f"{self.model_id}-{number:05d}"

    def number(self, inference_id: str) -> int | None:
        """The number in an id that this model gave; None for another's."""
        prefix, _, digits = inference_id.rpartition("-")
        return int(digits) if prefix == self.model_id and digits.isdecimal() else None

    def visit(self, number: int) -> Visit:
        return Visit.of(self.inference_id(number))

    def request(self, sample: Sample, created_at: datetime) -> NewInferenceStorageRequest:
        visit = self.visit(sample.number)
        data: dict[str, Any] = {"embedding": sample.embedding}
        if sample.entries is not None:
            data[LIST_OF_TASK[self.task_type]] = sample.entries
        return NewInferenceStorageRequest(
            model_id=self.model_id,
            inference_id=self.inference_id(sample.number),
            data=NewInferenceAndMetadataCollection(
                **data,
                metadata=NewMetadataCollectionRequest(
                    standard_metadata=NewStandardMetadataRequest(
                        data_hash=get_data_hash(sample.blob),
                        data_size=len(sample.blob),
                        task_type=self.task_type,
                        inference_action=self.action,
                        data_source=visit.data_source,
                        latitude=visit.latitude,
                        longitude=visit.longitude,
                    ),
                    extended_metadata=[
                        typed(key, value) for key, value in self._known(sample, visit).items()
                    ],
                ),
            ),
            is_protected=visit.share < PROTECTED_SHARE,
            created_at=created_at,
        )

    def _known(self, sample: Sample, visit: Visit) -> dict[str, Any]:
        return {**sample.metadata, "site": visit.site, "weather": visit.weather, "battery": visit.battery}


def typed(key: str, value: Any) -> NewExtendedMetadataRequest:
    """A metadata value in the type that it has: int, float, string; anything else is json."""
    kinds = {int: MetadataType.INT, float: MetadataType.FLOAT, str: MetadataType.STRING}
    kind = kinds.get(type(value), MetadataType.JSON)
    spelling = json.dumps(value) if kind is MetadataType.JSON else str(value)
    return NewExtendedMetadataRequest(key=key, type=kind, value=spelling)
