"""How many inferences match: from the catalogues where one of them says it, else counted."""

from inference_store import statements
from inference_store.contract.enums import MetadataFilterOperator
from inference_store.contract.filters import (
    BaseInferenceFilter,
    MetadataFilter,
)
from inference_store.models import Catalogue, Inference, Leftover, RegisteredModel, SearchSlot
from inference_store.models.catalogue import BUCKETS
from inference_store.models.search_slot import Unfit, double_of, slot_type
from inference_store.query.conditions import ENTRIES, Condition
from inference_store.query.known_slots import KnownSlots, by_known_slots
from inference_store.query.matching import conditions_of, entry_condition, matching
from inference_store.query.segments import number_of
from inference_store.query.uses import note_filters

ORDERING = (">", ">=", "<", "<=")
LARGEST = 1e307
"""A bound and a width beyond that have no sum."""
KEPT_RANGE = """
    select (select coalesce(sum(c.count), 0) from inference_store_cataloguecount c
             where c.catalogue_id = k.id and c.bucket {beyond} k.bucket)
         + (select count(*) from inference_store_inference r
             where r.registered_model_id = k.registered_model_id and r.{column} {operator} k.bound
               and r.{column} >= case when k.bound < k.low then '-infinity'
                                      else least(k.high, k.bound - k.width) end
               and r.{column} <= case when k.bound >= k.high then 'infinity'
                                      else greatest(k.low, k.bound + k.width) end
               and search_bucket(r.{column}, k.low, k.high) = k.bucket)
      from (select *, search_bucket(bound, low, high) as bucket, (high - low) / {buckets} * 1.001 as width
              from inference_store_catalogue, (select %s::float8 as bound) asked
             where registered_model_id = %s and "column" = %s and state = 'exact'
               and low > -{largest} and high < {largest}) k
"""
"""The buckets that a bound leaves whole, and the rows of its own: one statement, so that both speak of one
moment. What is said twice of its own bucket is said for the index, by bounds that lie a little around it."""


def count_matching(model: RegisteredModel, filters: BaseInferenceFilter | None) -> int:
    """How many of the model's inferences the filter matches."""
    filters = filters or BaseInferenceFilter()
    given = [name for name, value in filters if value not in (None, [])]
    kept: int | None = None
    if not given:
        kept = Catalogue.objects.total(model, "created_at")
    elif given == ["data_source_filter"]:
        kept = Catalogue.objects.total(model, "data_source", [filters.data_source_filter or ""])
    elif given == ["metadata_filter"] and filters.metadata_filter and len(filters.metadata_filter) == 1:
        kept = _kept_count(model, filters.metadata_filter[0])
    if kept is not None:
        return kept
    wanted = entry_condition(filters.deconstructed_inference_filter)
    if given == ["deconstructed_inference_filter"] and wanted:
        return _by_entries(model, wanted)
    note_filters(model, filters.metadata_filter or [])

    def number(slots: KnownSlots) -> int:
        return number_of(model, conditions_of(model, filters, slots.by_key).all, slots)

    return by_known_slots(model, filters, number)


def count_up_to(
    model: RegisteredModel, filters: BaseInferenceFilter, most: int, *, embedded: bool = False
) -> int:
    """How many match, but no more than so many: it stops there. `embedded`: of those with an embedding."""
    found = matching(model, filters)
    if embedded:
        found = found.filter(embedding__isnull=False)
    return found.order_by()[:most].count()


def those_named(model: RegisteredModel, inference_ids: list[str]) -> list[str]:
    """Those of these ids that there are, in this order."""
    found = Inference.objects.filter(registered_model=model, inference_id__in=inference_ids)
    there = set(found.values_list("inference_id", flat=True))
    return [each for each in inference_ids if each in there]


def _by_entries(model: RegisteredModel, wanted: Condition) -> int:
    """Those with an entry like that. A live entry has an inference, always: these need not be read."""
    gone = f"select unnest(keys) from {Leftover._meta.db_table} where registered_model_id = %s"  # noqa: S608 # nosec B608
    statement = (
        f"select count(*) from (select distinct e.inference_id from {ENTRIES} e "  # noqa: S608
        f"where e.registered_model_id = %s and {wanted.text} and e.inference_id not in ({gone})) held"  # nosec B608
    )
    return int(statements.rows(statement, [model.pk, *wanted.values, model.pk], anew=True)[0][0])


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
        return Catalogue.objects.total(model, column, [str(each) for each in wanted.operands])
    return _kept_range(model, wanted, column)


def _kept_range(model: RegisteredModel, wanted: MetadataFilter, column: str) -> int | None:
    """The whole buckets above (or below) the bound, and what its own bucket has there."""
    operator = MetadataFilterOperator(wanted.operator).value
    if operator not in ORDERING:
        return None
    try:
        bound = double_of(wanted.operands[0])  # type: ignore[arg-type]  # strings are told before
    except Unfit:
        return None
    if abs(bound) >= LARGEST:
        return None
    statement = KEPT_RANGE.format(
        column=column, operator=operator, beyond=operator[0], buckets=BUCKETS, largest=LARGEST
    )
    rows = statements.rows(statement, [bound, model.pk, column])
    return int(rows[0][0]) if rows else None
