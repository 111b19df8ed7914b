"""How many inferences match: from the catalogues where one of them says it, else counted."""

from django.db.models import Count, F, IntegerField, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from inference_store.contract.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    MetadataFilter,
)
from inference_store.models import Catalogue, Entry, Inference, RegisteredModel, SearchSlot
from inference_store.models.catalogue import BucketOf
from inference_store.models.search_slot import Unfit, double_of, slot_type
from inference_store.query.matching import entry_condition, matching
from inference_store.query.metadata_conditions import Slots, metadata_condition
from inference_store.query.uses import note_filters

BEYOND = {">": "gt", ">=": "gt", "<": "lt", "<=": "lt"}
"""Which buckets a bound leaves whole."""


def count_matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> int:
    """How many of the model's inferences the filter matches."""
    filters = filters or BaseInferenceFilter()
    given = [name for name, value in filters if value not in (None, [])]
    kept: int | None = None
    if not given:
        kept = Catalogue.objects.total(model, "created_at")
    elif given == ["data_source_filter"]:
        kept = Catalogue.objects.total(model, "data_source", Q(counts__value=filters.data_source_filter))
    elif given == ["metadata_filter"] and filters.metadata_filter and len(filters.metadata_filter) == 1:
        kept = _kept_count(model, filters.metadata_filter[0])
    elif given == ["deconstructed_inference_filter"]:
        wanted = filters.deconstructed_inference_filter or DeconstructedInferenceFilter()
        if condition := entry_condition(wanted):
            # A live entry has an inference, always: these need not be read.
            entries = Entry.objects.live(model).filter(condition)
            return entries.order_by().values("inference_id").distinct().count()
    return matching(model, filters).count() if kept is None else kept


def count_up_to(
    model: RegisteredModel, filters: BaseInferenceFilter, most: int, *, embedded: bool = False
) -> int:
    """How many match, but no more than so many: it stops there. `embedded`: of those with an embedding."""
    found = matching(model, filters)
    if embedded:
        found = found.filter(embedding__isnull=False)
    return found.order_by()[:most].count()


def count_named(model: RegisteredModel, inference_ids: list[str]) -> int:
    """How many of these there are."""
    return Inference.objects.filter(registered_model=model, inference_id__in=inference_ids).count()


def _kept_count(model: RegisteredModel, wanted: MetadataFilter) -> int | None:
    """What the catalogue of the key's slot says; None where there is none, or it can't say it."""
    slots = SearchSlot.objects.searched(model)
    column = slots.get((slot_type(str(wanted.type)), wanted.key))
    if column is None or wanted.type == "json.int":
        return None
    note_filters(model, [wanted])
    if str(wanted.type).endswith("string"):
        if wanted.operator not in ("=", "in"):
            return None
        return Catalogue.objects.total(model, column, Q(counts__value__in=wanted.operands))
    return _kept_range(model, wanted, column, slots)


def _kept_range(model: RegisteredModel, wanted: MetadataFilter, column: str, slots: Slots) -> int | None:
    """The whole buckets above (or below) the bound, and what its own bucket has there."""
    catalogue = Catalogue.objects.exact(model, column).first() if wanted.operator in BEYOND else None
    try:
        bound = double_of(float(wanted.operands[0])) if catalogue else None
    except Unfit:
        return None
    if catalogue is None or bound is None:
        return None
    edge = Inference.objects.filter(metadata_condition(wanted, slots), registered_model=model)
    at, (low, high) = BucketOf(Value(bound), catalogue), catalogue.around(bound)
    edge = edge.filter(**{f"{column}__gte": low, f"{column}__lte": high})
    edge = edge.annotate(bucket=BucketOf(F(column), catalogue)).filter(bucket=at)
    counted = edge.order_by().values("registered_model").annotate(n=Count("pk")).values("n")
    # One statement, so that both speak of one moment.
    beyond = Q(**{f"counts__bucket__{BEYOND[wanted.operator]}": at})
    found = Catalogue.objects.exact(model, column).filter(pk=catalogue.pk)
    whole = Sum("counts__count", filter=beyond, default=0)
    rows = found.annotate(whole=whole, edge=Coalesce(Subquery(counted, output_field=IntegerField()), 0))
    row = rows.values_list("whole", "edge").first()
    return None if row is None else int(row[0] + row[1])
