"""Brings a model's inferences to a store, as any script would: register, upload, create.

What is there already is skipped, so a second run sends nothing.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from inference_store.client import inference, register, upload
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.contract.inferences import NewInferenceStorageRequest, NewRegisterModelRequest
from inference_store.demo.base import DemoModel, Sample
from inference_store.demo.places import DAYS, today

SPAN = timedelta(days=DAYS)
UPLOADERS = 6
PART = 150
WAITING = 4 * UPLOADERS
"""Inputs that are made ahead of their upload."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store already holds of a model, and the demo's first day as those inferences tell it."""

    numbers: frozenset[int]
    first_day: datetime | None


@dataclass(frozen=True, slots=True)
class Sent:
    """How many inferences there are to be, and how many of them are new."""

    count: int
    new: int


def scaled(model: DemoModel, scale: float) -> int:
    return max(1, round(model.count * scale))


def stored(model: DemoModel) -> Stored:
    """Asks the store; nothing where the model is not registered."""
    if register.get_registered_model(model.model_id) is None:
        return Stored(frozenset(), None)
    numbers, days = set(), []
    for found in inference.iterate_inferences(model.model_id, NewGetInferencesRequest(), page_size=1000):
        number = model.number(found.inference_id)
        if number is not None:
            numbers.add(number)
            days.append(model.visit(number).first_day(found.created_at))
    return Stored(frozenset(numbers), max(days, default=None))


def first_day(known: Iterable[Stored], now: datetime) -> datetime:
    """The day that the demo's times count from: that of its first run, as what is stored tells it."""
    return max((item.first_day for item in known if item.first_day is not None), default=today(now))


def send(model: DemoModel, project: str, there: Stored, start: datetime, scale: float = 1.0) -> Sent:
    """Register the model and store what is missing; a second run finds everything there and sends nothing."""
    register.register_model_for_inference_storage(
        NewRegisterModelRequest(
            model_id=model.model_id,
            project_id=project,
            task_type=model.task_type,
            embedding_size=model.embedding_size,
        )
    )
    count = scaled(model, scale)
    if there.numbers.issuperset(range(count)):
        return Sent(count, 0)
    missing = (sample for sample in model.samples(count) if sample.number not in there.numbers)
    requests = (_uploaded(model, sample, key, start) for sample, key in _uploads(model, missing))
    new = 0
    # In parts, so that there is something to look at soon, and an interruption loses little.
    while part := list(islice(requests, PART)):
        new += len(inference.create_inferences(model.model_id, part))
    return Sent(count, new)


def total(model: DemoModel) -> int:
    """How many inferences the store holds of the model now."""
    return inference.count_inferences(model.model_id, NewGetInferencesRequest())


def _uploaded(model: DemoModel, sample: Sample, key: str, start: datetime) -> NewInferenceStorageRequest:
    visit = model.visit(sample.number)
    request = model.request(sample, visit.created_at(start, datetime.now(UTC)))
    return request.model_copy(update={"data_storage_key": key})


def _uploads(model: DemoModel, samples: Iterator[Sample]) -> Iterator[tuple[Sample, str]]:
    """Each sample with the key of its uploaded input, in order; the next are made while these travel."""
    with ThreadPoolExecutor(UPLOADERS) as pool:
        waiting: list[tuple[Sample, Future[str]]] = []
        try:
            while True:
                ahead = islice(samples, WAITING - len(waiting))
                waiting.extend(
                    (sample, pool.submit(_upload, model.model_id, sample.blob)) for sample in ahead
                )
                if not waiting:
                    return
                sample, key = waiting.pop(0)
                yield sample, key.result()
        finally:
            for _, key in waiting:
                key.cancel()


def _upload(model_id: str, blob: bytes) -> str:
    place = upload.upload_data(model_id)
    if place is None:
        raise LookupError(f"the model {model_id} has gone while its inputs were uploaded")
    upload.put(place.data_presigned_url, blob)
    return place.data_storage_key
