"""A filtered set as a pandas DataFrame or a pyarrow Table."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from inference_store.client.paging import inference_pages
from inference_store.contract.enums import MetadataType
from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.contract.inferences import Inference
from inference_store.contract.metadata import metadata_column_names

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import pyarrow  # type: ignore[import-untyped]

__all__ = ["to_arrow", "to_pandas"]

STRING, INSTANT, FLOAT, INT, BOOL, VECTOR = "string", "instant", "float", "int", "bool", "vector"

_STANDARD: dict[str, tuple[str, Callable[[Inference], Any]]] = {
    "model_id": (STRING, lambda row: row.model_id),
    "inference_id": (STRING, lambda row: row.inference_id),
    "created_at": (INSTANT, lambda row: row.created_at),
    "updated_at": (INSTANT, lambda row: row.updated_at),
    "inference_action": (STRING, lambda row: row.inference_action),
    "data": (STRING, lambda row: row.data),
    "data_hash": (STRING, lambda row: row.data_hash),
    "data_source": (STRING, lambda row: row.data_source),
    "latitude": (FLOAT, lambda row: row.data_coordinates and row.data_coordinates.latitude),
    "longitude": (FLOAT, lambda row: row.data_coordinates and row.data_coordinates.longitude),
    "data_storage_key": (STRING, lambda row: row.data_storage_key),
    "is_protected": (BOOL, lambda row: row.is_protected),
    "version": (STRING, lambda row: row.version),
}
_KIND_OF_METADATA: dict[str, tuple[str, Callable[[str], Any]]] = {
    MetadataType.INT.value: (INT, int),
    MetadataType.FLOAT.value: (FLOAT, float),
}
_PANDAS_TYPES = {
    STRING: "string",
    INSTANT: "datetime64[us, UTC]",
    FLOAT: "float64",
    INT: "Int64",
    BOOL: "bool",
    VECTOR: "object",
}


def to_pandas(model_id: str, request_body: NewGetInferencesRequest | None = None) -> pandas.DataFrame:
    """Get the inferences that match as a DataFrame.

    One column a standard field; `metadata.<key>` for each metadata key, int as Int64, float as float64,
    the others as strings (a key stored under several types: `metadata.<key>:<type>`); `embedding` as arrays
    of float32 where there are any; `embedding_distance` with a query.

    Args:
        model_id: The model id.
        request_body: The filter and order; without it everything. A limit caps the total.

    Returns:
        The DataFrame.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
        ImportError: pandas is not installed.
    """
    pd = _required("pandas", "to_pandas", "pandas")
    np = importlib.import_module("numpy")
    series = {}
    for name, (kind, values) in _columns(model_id, request_body).items():
        if kind == VECTOR:
            # frombuffer is a view: 4 bytes a number, as they came.
            values = [None if item is None else np.frombuffer(item, dtype=np.float32) for item in values]
        series[name] = pd.Series(values, dtype=_PANDAS_TYPES[kind])
    return pd.DataFrame(series)


def to_arrow(model_id: str, request_body: NewGetInferencesRequest | None = None) -> pyarrow.Table:
    """Get the inferences that match as a pyarrow Table, with the columns of `to_pandas`.

    Args:
        model_id: The model id.
        request_body: The filter and order; without it everything. A limit caps the total.

    Returns:
        The Table; instants as timestamp[us, UTC], embeddings as list<float32>.

    Raises:
        InferenceStoreError: the store refused or could not be reached.
        ImportError: pyarrow is not installed.
    """
    pa = _required("pyarrow", "to_arrow", "arrow")
    types = {
        STRING: pa.string(),
        INSTANT: pa.timestamp("us", tz="UTC"),
        FLOAT: pa.float64(),
        INT: pa.int64(),
        BOOL: pa.bool_(),
    }
    return pa.table(
        {
            name: _arrow_vectors(pa, values) if kind == VECTOR else pa.array(values, type=types[kind])
            for name, (kind, values) in _columns(model_id, request_body).items()
        }
    )


def _required(module: str, function: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f"{function} needs {module}: pip install 'inference-store[{extra}]'"
        raise ImportError(message, name=module) from error


def _arrow_vectors(pa: Any, vectors: list[array[float] | None]) -> Any:
    """A list<float32> column from one flat buffer: a Python float a number would take many times that."""
    flat, offsets = array("f"), [0]
    for vector in vectors:
        flat.extend(vector or ())
        offsets.append(len(flat))
    numbers = pa.FloatArray.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])
    absent = pa.array([vector is None for vector in vectors], type=pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), numbers, mask=absent)


def _columns(model_id: str, request_body: NewGetInferencesRequest | None) -> dict[str, tuple[str, list[Any]]]:
    """Name, kind and values of every column."""
    request = request_body or NewGetInferencesRequest()
    fields = dict(_STANDARD)
    if request.embedding_filters is not None:
        fields["embedding_distance"] = (FLOAT, lambda row: row.embedding_distance)
    if request.presign:
        fields["presigned_url"] = (STRING, lambda row: row.presigned_url)
    columns: dict[str, tuple[str, list[Any]]] = {name: (kind, []) for name, (kind, _) in fields.items()}
    vectors: list[array[float] | None] = []
    metadata = _MetadataColumns()
    for count, row in enumerate(_rows(model_id, request)):
        for name, (_, read) in fields.items():
            columns[name][1].append(read(row))
        vectors.append(_vector(row))
        metadata.add(count, row)
    if any(vector is not None for vector in vectors):
        columns["embedding"] = (VECTOR, vectors)
    return columns | metadata.named(len(vectors))


def _rows(model_id: str, request: NewGetInferencesRequest) -> Iterator[Inference]:
    total = request.pagination.limit if request.pagination else None
    return chain.from_iterable(inference_pages(model_id, request, total))


def _vector(row: Inference) -> array[float] | None:
    try:
        return row.float32_embedding or None
    except OverflowError:  # a native answer may be a list of larger numbers
        return None


class _MetadataColumns:
    """One column for each (key, type) seen, filled with None where an inference lacks it."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[Any]] = {}

    def add(self, position: int, row: Inference) -> None:
        for item in row.metadata or ():
            values = self._values.setdefault((item.key, item.type), [])
            values.extend([None] * (position - len(values)))
            _, parse = _KIND_OF_METADATA.get(item.type, (STRING, str))
            values.append(parse(item.value))

    def named(self, length: int) -> dict[str, tuple[str, list[Any]]]:
        columns: dict[str, tuple[str, list[Any]]] = {}
        for (key, type_), name in metadata_column_names(self._values).items():
            values = self._values[key, type_]
            values.extend([None] * (length - len(values)))
            columns[name] = (_KIND_OF_METADATA.get(type_, (STRING, str))[0], values)
        return columns
