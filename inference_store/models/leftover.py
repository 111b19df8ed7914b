"""What deletions left behind, to be removed in the background."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func

from inference_store.models.registered_model import RegisteredModel


class LeftoverQuerySet(models.QuerySet["Leftover"]):
    def keys_of(self, model: RegisteredModel) -> models.QuerySet["Leftover", int]:
        """The inferences that are gone, one a row: for what reads entries or embeddings alone."""
        return self.filter(registered_model=model).values_list(Func(F("keys"), function="unnest"), flat=True)


class Leftover(models.Model):
    """The primary keys of some deleted inferences whose entries and embeddings are still there.

    Whoever reads those without their inference leaves these out (docs/decisions/0010).
    """

    registered_model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="+")
    keys = ArrayField(models.BigIntegerField())

    objects = LeftoverQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{len(self.keys)} of {self.registered_model_id}"
