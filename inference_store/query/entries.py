"""The entries of a page of inferences."""

from inference_store.contract.entries import Entry as EntryBody
from inference_store.models import Entry, RegisteredModel


def entries_of(model: RegisteredModel, inference_ids: list[str]) -> dict[str, list[EntryBody]]:
    """The entries of each of those inferences, in their order. One query."""
    rows = (
        Entry.objects.filter(inference__registered_model=model, inference__inference_id__in=inference_ids)
        .order_by("inference_id", "position")
        .values_list("inference__inference_id", "label", "score", "geometry")
    )
    found: dict[str, list[EntryBody]] = {each: [] for each in inference_ids}
    for inference_id, label, score, geometry in rows:
        found[inference_id].append(EntryBody(label, score, geometry))
    return found
