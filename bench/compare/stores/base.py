"""What a system's module defines: a class `Adapter`, with a method for each operation that it can express."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.compare.workload import Array, Record, Workload


@dataclass(frozen=True)
class Answer:
    """What an operation gave; `records` as the system's own client hands them out."""

    records: list[Any] | None = None
    count: int | None = None
    histogram: list[int] | None = None
    values: dict[str, int] | None = None


class Store(ABC):
    """A system with the workload's inferences.

    The operations are methods by the names in operations.py; one that the system can't express is missing,
    one that its client computes from more than the answer is named in `emulated`.
    """

    version: str
    kind: str
    batch_size: ClassVar[int] = 1_000
    clients: ClassVar[int] = 1
    """How many clients at once single inserts are also measured with."""
    emulated: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, directory: Path, size: int, *, embedded: bool) -> None:
        self.directory = directory
        self.size = size
        self.embedded = embedded

    @abstractmethod
    def open(self, *, new: bool) -> None:
        """Make the store in its directory, or open what an earlier run has left there."""

    @abstractmethod
    def insert(self, records: list[Record], vectors: Array | None) -> None:
        """Store a batch, durably by the system's own defaults."""

    def insert_one(self, record: Record, vector: Array | None) -> None:
        self.insert([record], None if vector is None else vector[None])

    def fills_at(self, workload: Workload) -> bool:
        """Whether so much is filled from the inside; no rate of ingest is measured then."""
        return False

    def fill(self, workload: Workload) -> None:
        raise NotImplementedError

    def finish(self) -> None:  # noqa: B027  (most systems keep their indexes while they store)
        """Whatever belongs to loading and comes once, after the last batch."""

    def close(self) -> None:  # noqa: B027
        """Stop what was started."""

    def bytes_held(self) -> dict[str, int]:
        """What the inferences take, by part; empty where nobody asks."""
        return {}

    @abstractmethod
    def plain(self, found: Any) -> Record:
        """One of the answered records as it was given, for comparing; not timed."""
