"""What a model's inferences can be narrowed by: its own labels and data sources."""

from typing import Any

from django.db import connection
from django.db.models import Count

from inference_store.models import Catalogue, Entry, Inference, RegisteredModel

MOST_FACETS = 100


COUNTED = """
    from (select value, sum(count) as n from inference_store_cataloguecount
      where catalogue_id = %(catalogue)s group by 1
      union all
     select entry.label, -count(*)
       from inference_store_leftover leftover, unnest(leftover.keys) gone(key)
       join inference_store_entry entry on entry.inference_id = gone.key
      where leftover.registered_model_id = %(model)s group by 1) counted
"""
"""Entries by label as the catalogue has them, less what deletions left behind: all as of one moment."""
LABELS = (
    "select value, sum(n)::bigint"
    + COUNTED
    + "group by 1 having sum(n) > 0 order by 2 desc, 1 limit %(most)s"
)
ENTRIES = "select coalesce(sum(n), 0)::bigint" + COUNTED


def labels(model: RegisteredModel, most: int = MOST_FACETS) -> list[tuple[str, int]]:
    """The most frequent labels and how many entries carry each."""
    counted: list[tuple[str, int]] | None = _counted(LABELS, model, most=most)
    if counted is not None:
        return counted
    rows = Entry.objects.live(model).values_list("label").annotate(n=Count("label"))
    return list(rows.order_by("-n", "label")[:most])


def counted_entries(model: RegisteredModel) -> int | None:
    """How many entries there are, where that is kept."""
    found = _counted(ENTRIES, model)
    return found[0][0] if found else None


def _counted(statement: str, model: RegisteredModel, **values: Any) -> list[Any] | None:
    kept = Catalogue.objects.exact(model, "label").first()
    if kept is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(statement, {"catalogue": kept.pk, "model": model.pk, **values})
        rows: list[Any] = cursor.fetchall()
    return rows


def data_sources(model: RegisteredModel) -> list[tuple[str, int]]:
    """The most frequent data sources and how many inferences came from each."""
    kept = Catalogue.objects.values_of(model, "data_source")
    if kept is not None:
        return kept[:MOST_FACETS]
    rows = Inference.objects.filter(registered_model=model, data_source__isnull=False)
    counted = rows.values_list("data_source").annotate(n=Count("pk"))
    return list(counted.order_by("-n", "data_source")[:MOST_FACETS])
