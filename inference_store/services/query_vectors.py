"""Vectors to search by are kept, so that an address can name them."""

from hashlib import sha256

import numpy as np
from django.db import transaction
from django.db.models.functions import Now

from inference_store.contract.filters import EmbeddingFilter
from inference_store.models import QueryVector, RegisteredModel
from inference_store.query.embeddings import refuse_unfit

MOST_KEPT = 1_000
"""Of one model: beyond that the least recently pasted goes."""


@transaction.atomic
def keep_query_vector(*, model: RegisteredModel, wanted: EmbeddingFilter) -> str:
    """The digest under which the vector is kept from now on; the same vector has the same."""
    refuse_unfit(model, wanted)
    packed = np.asarray(wanted.query_embedding, "<f4").tobytes()
    digest = sha256(packed).hexdigest()[:32]
    QueryVector.objects.bulk_create(
        [QueryVector(registered_model=model, digest=digest, packed=packed, used_at=Now())],
        update_conflicts=True,
        unique_fields=["registered_model", "digest"],
        update_fields=["used_at"],
    )
    of_model = QueryVector.objects.filter(registered_model=model)
    beyond = of_model.order_by("-used_at", "-pk").values("pk")[MOST_KEPT:]
    QueryVector.objects.filter(pk__in=beyond).delete()
    return digest
