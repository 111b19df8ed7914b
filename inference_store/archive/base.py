"""What every format is: a writer that turns inferences into pieces of an archive.

A writer sees the inferences of a set once, in order, in batches, and keeps nothing but its counters, so that
another process can go on after any batch and the same bytes come out.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, ClassVar, TypeAlias

import orjson

from inference_store.contract.errors import Refusal
from inference_store.models import RegisteredModel
from inference_store.query.whole import WholeInference

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
}
BATCH_NUMBERS = 500_000
"""Of embeddings in a batch: as text and as objects each takes some 50 bytes."""
PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,99}", re.ASCII)
LOOKS_HASHED = re.compile(r".*-[0-9a-f]{32}", re.ASCII)
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Copy:
    """A member that is the input of the inference at hand."""

    name: str


@dataclass(frozen=True, slots=True)
class File:
    """A member with this content."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of a stream, which `Joined` members are made of at the end."""

    stream: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """A member made of these parts: bytes as they are, and streams by name."""

    name: str
    parts: list[bytes | str]


Output: TypeAlias = Copy | File | Piece


@dataclass(frozen=True, slots=True)
class Plan:
    """What a writer needs to know of the whole set before it sees the first inference.

    `keys`: the model's metadata keys with their types, in order; `labels`: the set's, in order.
    """

    model_id: str
    task_type: str
    embedding_size: int
    annotations: bool
    metadata: bool
    keys: list[tuple[str, str]]
    labels: list[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plan: dict[str, Any]) -> "Plan":
        return cls(**plan | {"keys": [(key, type_) for key, type_ in plan["keys"]]})


class Writer:
    """One format. `counters` are all that lasts from one batch to the next; the manifest shows them."""

    copies_inputs: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    """Whether `plan.labels` is to be filled, which reads all entries of the set."""
    needs_keys: ClassVar[bool] = False
    largest_batch: ClassVar[int] = 500

    def __init__(self, plan: Plan, counters: dict[str, int]) -> None:
        self.plan = plan
        self.counters = Counter(counters)

    @classmethod
    def refuse_unfit(cls, model: RegisteredModel) -> None:
        """Raise where the format can't hold what such a model infers."""

    @classmethod
    def batch_size(cls, model: RegisteredModel) -> int:
        """The most inferences of a batch, which is read at once: fewer where embeddings are wide."""
        return max(1, min(cls.largest_batch, BATCH_NUMBERS // max(1, model.embedding_size)))

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        """The pieces of one inference. Its `input` is None where its bytes are gone."""
        raise NotImplementedError

    def note_copied(self, whole: WholeInference, source: BinaryIO) -> None:
        """Count what is to be told of an input that is copied, read from its beginning."""

    def end_of_batch(self, number: int) -> Iterator[Output]:
        """What is left to write of a batch, counted from 0."""
        yield from ()

    def closing(self) -> Iterator[Joined]:
        """The members that stand after all inferences."""
        yield from ()


def refuse_task(model: RegisteredModel, format_: str, tasks: tuple[str, ...]) -> None:
    if model.task_type not in tasks:
        raise Refusal.invalid(
            "format", f"{format_} can hold {' and '.join(tasks)}; the model's task is {model.task_type}"
        )


def json_bytes(content: Any) -> bytes:
    """As JSON in UTF-8, in one line."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:  # a number that came as 1e300 is read from jsonb as a whole number
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def stem(inference_id: str) -> str:
    """A file name for an id: unique, whatever the file system makes of case, and safe to unpack anywhere.

    An id that is such a name is its own; any other gets a hash of itself. An id that looks like the latter
    gets one too, so that nobody can choose an id to meet another's name.
    """
    if (
        PLAIN.fullmatch(inference_id)
        and not inference_id.endswith(".")
        and not LOOKS_HASHED.fullmatch(inference_id)
        and not RESERVED.fullmatch(inference_id)
    ):
        return inference_id
    cleaned = re.sub(r"[^a-z0-9_-]+", "_", inference_id.lower(), flags=re.ASCII)[:80].lstrip("-") or "_"
    return f"{cleaned}-{hashlib.sha256(inference_id.encode()).hexdigest()[:32]}"


def file_name(whole: WholeInference) -> str:
    """The name of an inference's input. Always one extension more: ids `a` and `a.png` don't meet."""
    media_type = whole.input.media_type if whole.input else ""
    return f"{stem(whole.inference.inference_id)}.{EXTENSIONS.get(media_type, 'bin')}"
