"""Rows as the contract's objects."""

import json
from typing import Any

from inference_store.contract.filters import EmbeddingFilter, GeoPoint
from inference_store.contract.inferences import Inference as InferenceBody
from inference_store.contract.metadata import Metadata
from inference_store.models import Inference, RegisteredModel
from inference_store.query.embeddings import Vector, finite_distance, spelled, vectors

V2 = 2


def metadata_text(type_: str, value: Any) -> str:
    """A metadata value as the string that travels. jsonb gives back 1e22 as an integer: hence float()."""
    if type_ == "string":
        return str(value)
    if type_ == "float":
        return repr(float(value))
    if type_ == "int":
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def metadata_list(metadata: dict[str, dict[str, Any]]) -> list[Metadata]:
    """All metadata of an inference, by key."""
    found = [
        Metadata.model_construct(key=key, type=type_, value=metadata_text(type_, value))
        for type_, held in metadata.items()
        for key, value in held.items()
    ]
    return sorted(found, key=lambda each: each.key)


def body(
    row: Inference, model: RegisteredModel, vector: Vector | None, distance: float | None = None
) -> InferenceBody:
    """The row as the contract's object."""
    place = None
    if row.latitude is not None and row.longitude is not None:
        place = GeoPoint.model_construct(latitude=row.latitude, longitude=row.longitude)
    data, embedding = row.data, None
    if vector is not None:
        if data is None:
            data = spelled(vector)
        elif row.has_list:
            embedding = json.loads(spelled(vector))
    return InferenceBody.model_construct(
        model_id=model.model_id,
        inference_id=row.inference_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        inference_action=row.action,
        data=data,
        embedding_distance=distance,
        metadata=metadata_list(row.metadata),
        data_hash=row.data_hash,
        data_source=row.data_source,
        data_coordinates=place,
        data_storage_key=row.data_storage_key,
        presigned_url=None,
        is_protected=row.is_protected,
        version=f"v{row.version}",
        embedding=embedding,
    )


def bodies(
    model: RegisteredModel,
    ids: list[int],
    distances: dict[int, float] | None = None,
    wanted: EmbeddingFilter | None = None,
) -> dict[int, InferenceBody]:
    """The inferences with those keys, as the contract's objects. One query, two with embeddings."""
    rows = Inference.objects.filter(pk__in=ids)
    known = vectors(ids) if model.embedding_size else {}
    found = {}
    for row in rows:
        vector, distance = known.get(row.pk), (distances or {}).get(row.pk)
        if distance is not None and wanted is not None and vector is not None:
            distance = finite_distance(distance, wanted, vector)
        found[row.pk] = body(row, model, vector, distance)
    return found
