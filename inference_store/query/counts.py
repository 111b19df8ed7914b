"""How many inferences match."""

from inference_store.contract.filters import BaseInferenceFilter, DeconstructedInferenceFilter
from inference_store.models import Entry, RegisteredModel
from inference_store.query.matching import entry_condition, matching


def count_matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> int:
    """How many of the model's inferences the filter matches."""
    filters = filters or BaseInferenceFilter()
    if _given(filters) == {"deconstructed_inference_filter"}:
        wanted = entry_condition(filters.deconstructed_inference_filter or DeconstructedInferenceFilter())
        if wanted:
            # An entry has an inference, always: these need not be read.
            entries = Entry.objects.filter(wanted, registered_model=model)
            return entries.order_by().values("inference_id").distinct().count()
    return matching(model, filters).count()


def _given(filters: BaseInferenceFilter) -> set[str]:
    """The fields of the filter that are set."""
    return {name for name, value in filters if value is not None}
