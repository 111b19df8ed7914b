"""What CSV and Parquet have in common: an inference as a row of typed columns."""

from dataclasses import asdict
from typing import Any

from inference_store.archive.base import Plan, Writer, json_bytes
from inference_store.contract.metadata import metadata_column_names
from inference_store.query.rows import metadata_text
from inference_store.query.whole import WholeInference

STRING, INSTANT, FLOAT, INT, BOOL, ENTRIES, VECTOR = (
    *("string", "instant", "float", "int", "bool"),
    *("entries", "vector"),
)
STANDARD = {
    "inference_id": STRING,
    "created_at": INSTANT,
    "updated_at": INSTANT,
    "inference_action": STRING,
    "data_hash": STRING,
    "data_source": STRING,
    "latitude": FLOAT,
    "longitude": FLOAT,
    "is_protected": BOOL,
    "version": STRING,
    "data": STRING,
    "data_storage_key": STRING,
    "entries": ENTRIES,
}
KIND_OF_METADATA = {"int": INT, "float": FLOAT}
MOST_METADATA_COLUMNS = 1_000
"""A model with more keys has its metadata in one column, as JSON."""


class TableWriter(Writer):
    """Has its `columns`, name to kind, from the plan alone: they are the same in every part."""

    needs_keys = True

    def __init__(self, plan: Plan, counters: dict[str, int]) -> None:
        super().__init__(plan, counters)
        self.is_flat = len(plan.keys) <= MOST_METADATA_COLUMNS
        self._names = metadata_column_names(plan.keys) if self.is_flat else {}
        self.columns = STANDARD | ({"embedding": VECTOR} if plan.embedding_size else {})
        for (_, type_), name in self._names.items():
            self.columns[name] = KIND_OF_METADATA.get(type_, STRING)
        if not self.is_flat:
            self.columns["metadata"] = STRING

    def row(self, whole: WholeInference) -> dict[str, Any]:
        """The values that are there, by column."""
        inference, place = whole.inference, whole.inference.data_coordinates
        row = {name: getattr(inference, name, None) for name in STANDARD}
        row["entries"] = [asdict(entry) for entry in whole.entries]
        if place is not None:
            row |= {"latitude": place.latitude, "longitude": place.longitude}
        if self.plan.embedding_size:
            row["embedding"] = whole.vector
        return row | self._metadata(whole)

    def _metadata(self, whole: WholeInference) -> dict[str, Any]:
        if not self.is_flat:
            held = [each.model_dump(mode="json") for each in whole.inference.metadata or []]
            return {"metadata": json_bytes(held).decode()}
        row: dict[str, Any] = {}
        for type_, values in whole.metadata.items():
            for key, value in values.items():
                if name := self._names.get((key, type_)):
                    row[name] = metadata_cell(type_, value)
                else:
                    # A key that the model had not when the export began.
                    self.counters["skipped_metadata_values"] += 1
        return row


def metadata_cell(type_: str, value: Any) -> Any:
    """A value as its column holds it. jsonb gives back 1e22 as an integer: hence float()."""
    if type_ == "float":
        return float(value)
    if type_ == "int":
        return int(value)
    return metadata_text(type_, value)
