"""What a model's inferences can be narrowed by: its own labels and data sources."""

from django.db.models import Count

from inference_store.models import Catalogue, Entry, Inference, RegisteredModel

MOST_FACETS = 100


def labels(model: RegisteredModel) -> list[tuple[str, int]]:
    """The most frequent labels and how many entries carry each."""
    kept = Catalogue.objects.values_of(model, "label")
    if kept is not None:
        return kept[:MOST_FACETS]
    rows = Entry.objects.filter(registered_model=model).values_list("label").annotate(n=Count("label"))
    return list(rows.order_by("-n", "label")[:MOST_FACETS])


def data_sources(model: RegisteredModel) -> list[tuple[str, int]]:
    """The most frequent data sources and how many inferences came from each."""
    kept = Catalogue.objects.values_of(model, "data_source")
    if kept is not None:
        return kept[:MOST_FACETS]
    rows = Inference.objects.filter(registered_model=model, data_source__isnull=False)
    counted = rows.values_list("data_source").annotate(n=Count("pk"))
    return list(counted.order_by("-n", "data_source")[:MOST_FACETS])
