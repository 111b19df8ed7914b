"""The audit log over REST, for a project's admins."""

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from inference_store.api.authentication import caller_of
from inference_store.api.exports import page_of
from inference_store.api.operations import LIMIT, Answer, StoreView, operation, parameter
from inference_store.audit_filterset import AuditFilterSet
from inference_store.contract.audit import AuditPage, SealedAuditRecord
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT
from inference_store.models import AuditRecord, AuditSeal, Role
from inference_store.query import audit

FILTERS = [
    OpenApiParameter(name, str, OpenApiParameter.QUERY, description=filter_.label)
    for name, filter_ in AuditFilterSet.base_filters.items()
]


def record_of(request: Request, project_id: str, record_id: str) -> AuditRecord:
    project = caller_of(request).project_for(project_id, Role.ADMIN)
    is_number = record_id.isascii() and record_id.isdigit() and len(record_id) < 19
    found = audit.records_of(project.pk).filter(pk=int(record_id)).first() if is_number else None
    if found is None:
        raise Refusal.not_found(f"The project has no audit record {record_id[:20]!r}.")
    return found


class AuditRecords(StoreView):
    @operation(
        "list_audit_records",
        scope=TokenScope.MANAGE,
        query=[
            *FILTERS,
            parameter("limit", f"How many at most: {DEFAULT_LIMIT} unless given.", LIMIT),
            parameter("cursor", "The page before's `next_cursor`."),
        ],
        gives=AuditPage,
        summary="Read the audit log",
        refuses=[404],
        tag="audit",
    )
    def get(self, request: Request, project_id: str) -> Answer:
        """Who did what to which inferences when, newest first. For admins of the project."""
        project = caller_of(request).project_for(project_id, Role.ADMIN)
        limit, _ = page_of(request)
        found = AuditFilterSet(request.query_params, audit.records_of(project.pk)).found()
        return audit.page(found, limit=limit, cursor=request.query_params.get("cursor", ""))


class OneAuditRecord(StoreView):
    @operation(
        "get_audit_record",
        scope=TokenScope.MANAGE,
        gives=SealedAuditRecord,
        summary="Get an audit record",
        refuses=[404],
        tag="audit",
    )
    def get(self, request: Request, project_id: str, record_id: str) -> Answer:
        """A record, and whether it is sealed by now; `Audit-Record` of a deletion's answer names it."""
        record = record_of(request, project_id, record_id)
        seal = AuditSeal.objects.filter(record_id=record.pk).first()
        head = AuditSeal.objects.first()
        return SealedAuditRecord.model_validate(
            audit.fields_of(record)
            | {"seal": seal.seal if seal else None, "head": str(head) if head else None}
        )


class AuditedInferences(StoreView):
    @operation(
        "list_audited_inferences",
        scope=TokenScope.MANAGE,
        gives=OpenApiTypes.STR,
        media_type="text/plain",
        summary="List the inferences of an audit record",
        refuses=[404],
        tag="audit",
    )
    def get(self, request: Request, project_id: str, record_id: str) -> HttpResponseBase:
        """The ids of all inferences that it is about, one a line, sorted: `sha256sum` gives `ids_digest`."""
        record = record_of(request, project_id, record_id)
        texts = (text.encode() for text in audit.ids_of(record))
        response = StreamingHttpResponse(texts, content_type="text/plain; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="audit-{record.pk}.txt"'
        response["X-Content-Type-Options"] = "nosniff"
        return response
