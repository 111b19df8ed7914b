"""The set of an export is written down once, so that what comes or changes meanwhile stays out of it."""

from typing import Any

from django.db import connection
from django.db.models import QuerySet

from inference_store.archive import Plan, Writer
from inference_store.contract.jobs import NewExportTaskRequest
from inference_store.models import Export, Inference, MetadataKey, RegisteredModel
from inference_store.query.matching import matching

BATCH_BYTES = 64 * 2**20
"""Inputs in a batch, about: what a crash makes us copy again."""

# A batch ends after so many inferences, or so many bytes of inputs, or a mixture of both.
FIX = """
    with wanted as ({keys}),
    weighed as (
        select wanted.id, %s + %s * coalesce(blob.size, 0) as weight
          from wanted left join inference_store_blob blob
            on blob.inference_id = wanted.id and blob.kind = 'data'),
    placed as (
        select id, div(sum(weight) over (order by id) - weight, %s) as batch from weighed)
    insert into inference_store_exportbatch (export_id, number, keys)
    select %s, row_number() over (order by batch) - 1, array_agg(id order by id)
      from placed group by batch
"""
COUNT = "select coalesce(sum(cardinality(keys)), 0) from inference_store_exportbatch where export_id = %s"
LABELS = """
    select distinct entry.label from inference_store_exportbatch batch, unnest(batch.keys) wanted(id)
      join inference_store_entry entry on entry.inference_id = wanted.id
     where batch.export_id = %s order by 1
"""


def fix_set(export: Export, request: NewExportTaskRequest, writer: type[Writer]) -> int:
    """Write the set's batches, within the caller's transaction; how many inferences it has."""
    model = export.registered_model
    keys, parameters = _keys(model, request)
    size = writer.batch_size(model)
    with connection.cursor() as cursor:
        cursor.execute(
            FIX.format(keys=keys),
            [*parameters, BATCH_BYTES, size * writer.copies_inputs, size * BATCH_BYTES, export.pk],
        )
        cursor.execute(COUNT, [export.pk])
        return int(cursor.fetchone()[0])


def _keys(model: RegisteredModel, request: NewExportTaskRequest) -> tuple[str, list[Any]]:
    """(filters ∪ include) − exclude, as a query of primary keys."""
    found = matching(model, request.filters).order_by().values("id")
    sql, parameters = _sql(found)
    own = Inference.objects.filter(registered_model=model).order_by().values("id")
    for ids, operator in (
        (request.include_inference_ids, "union"),
        (request.exclude_inference_ids, "except"),
    ):
        if ids:
            # As one array: a list of parameters has its bounds.
            named, more = _sql(own)
            sql = f"({sql}) {operator} ({named} and inference_id = any(%s))"
            parameters = [*parameters, *more, ids]
    return sql, parameters


def _sql(queryset: QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    sql, parameters = queryset.query.sql_with_params()
    return sql, list(parameters)


def plan_of(export: Export, request: NewExportTaskRequest, writer: type[Writer]) -> Plan:
    """What the writer needs to know of the set, which has been written."""
    model, labels = export.registered_model, []
    if writer.needs_labels:
        with connection.cursor() as cursor:
            cursor.execute(LABELS, [export.pk])
            labels = [label for (label,) in cursor.fetchall()]
    keys = [(key, type_) for key, type_, _ in MetadataKey.objects.counts(model)] if writer.needs_keys else []
    return Plan(
        model_id=model.model_id,
        task_type=model.task_type,
        embedding_size=model.embedding_size,
        annotations=request.include_inferences_as_annotations,
        metadata=request.include_custom_metadata,
        keys=keys,
        labels=labels,
    )
