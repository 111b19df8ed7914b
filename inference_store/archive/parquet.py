"""Parquet: typed columns in a directory of files, one for each batch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inference_store.archive.base import File, Joined, Output, Plan, json_bytes
from inference_store.archive.table import BOOL, ENTRIES, FLOAT, INSTANT, INT, STRING, VECTOR, TableWriter
from inference_store.query.whole import WholeInference

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

PART_BYTES = 32 * 2**20
"""Of text held before it is written, about."""


class Parquet(TableWriter):
    """`inferences/part-00000.parquet` and so on, all with one schema."""

    largest_batch = 2_000

    def __init__(self, plan: Plan, counters: dict[str, int]) -> None:
        super().__init__(plan, counters)
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def inference(self, whole: WholeInference) -> Iterator[Output]:
        row = self.row(whole)
        for entry in row["entries"]:
            entry["geometry"] = entry["geometry"] and json_bytes(entry["geometry"]).decode()
        self._rows.append(row)
        self._bytes += sum(len(value) for value in row.values() if isinstance(value, str))
        self._bytes += sum(len(entry["geometry"] or "") for entry in row["entries"])
        if self._bytes >= PART_BYTES:
            yield self._part()

    def end_of_batch(self, number: int) -> Iterator[Output]:
        if self._rows:
            yield self._part()

    def closing(self) -> Iterator[Joined]:
        if not self.counters["parts"]:
            yield Joined(_name(0), [self._written()])  # its columns can still be read

    def _part(self) -> File:
        part = File(_name(self.counters["parts"]), self._written())
        self.counters["parts"] += 1
        self._rows, self._bytes = [], 0
        return part

    def _written(self) -> bytes:
        # Here: the web processes, which only ask what formats there are, do without its 40 MB.
        import pyarrow as pa
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(self._rows, schema=schema(self.columns, self.plan.embedding_size))
        pq.write_table(table, sink, compression="zstd")
        written: bytes = sink.getvalue().to_pybytes()
        return written


def _name(number: int) -> str:
    return f"inferences/part-{number:05}.parquet"


def schema(columns: dict[str, str], embedding_size: int) -> "pa.Schema":
    import pyarrow as pa

    entry = pa.struct([("label", pa.string()), ("score", pa.float64()), ("geometry", pa.string())])
    types = {
        STRING: pa.string(),
        INSTANT: pa.timestamp("us", tz="UTC"),
        FLOAT: pa.float64(),
        INT: pa.int64(),
        BOOL: pa.bool_(),
        ENTRIES: pa.list_(entry),
        VECTOR: pa.list_(pa.float32(), embedding_size or 1),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])
