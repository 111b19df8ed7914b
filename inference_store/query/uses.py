"""Which metadata keys are searched by: noted in memory by reads, written down later by services."""

from collections import Counter
from collections.abc import Iterable
from threading import Lock, local

from inference_store.contract.filters import MetadataFilter
from inference_store.models import RegisteredModel
from inference_store.models.search_slot import slot_type

MOST_NOTED = 200
"""Keys until they are written down; further ones wait for their next use."""

Use = tuple[int, str, str]
_noted: Counter[Use] = Counter()
_lock = Lock()
_here = local()


def note_use(model: RegisteredModel, type_: str, key: str) -> None:
    """A key of the model is searched by."""
    add_uses({(model.pk, slot_type(type_), key): 1})


def note_filters(model: RegisteredModel, filters: Iterable[MetadataFilter]) -> None:
    for each in filters:
        note_use(model, str(each.type), each.key)


def noted() -> bool:
    """Whether there is anything to write down, asked where something was noted since this was last asked.

    So a request that searched by no key, and may not even need the database, pays for none.
    """
    here, _here.noted = getattr(_here, "noted", False), False
    return here and bool(_noted)


def add_uses(uses: dict[Use, int]) -> None:
    """So often was each key used, which is not written down yet."""
    _here.noted = True
    with _lock:
        for use, count in uses.items():
            if use in _noted or len(_noted) < MOST_NOTED:
                _noted[use] += count


def take_noted() -> dict[Use, int]:
    """How often each key was used since the last call."""
    with _lock:
        taken = dict(_noted)
        _noted.clear()
    return taken
