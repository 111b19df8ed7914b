"""What a process keeps of embeddings to tell which of many matches can't be near: three bits a number."""

from django.db import models

from inference_store.models.vector_index import VectorIndex


class VectorCodes(models.Model):
    """The codes of the embeddings of an index, those of a range of ids (docs/decisions/0024-codes.md).

    `keys`: ascending ids, 8 bytes each in network order; `codes`: for each its planes of bits, each filled up
    to whole bytes (query/codes.py). They don't change while the index has its claim: an id that is not here
    is looked up, and one that is no more is not found.
    """

    vector_index = models.ForeignKey(
        VectorIndex, on_delete=models.CASCADE, db_index=False, related_name="codes"
    )
    part = models.BigIntegerField()
    keys = models.BinaryField()
    codes = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["vector_index", "part"], name="vector_codes_part")]

    def __str__(self) -> str:
        return f"codes {self.part} of {self.vector_index_id}"
