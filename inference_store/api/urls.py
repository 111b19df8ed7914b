"""The API's routes, below `ROUTE`."""

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter
from django.views.decorators.csrf import csrf_exempt
from pydantic import TypeAdapter, ValidationError

from inference_store.api import (
    audit,
    document,
    errors,
    exports,
    inferences,
    metadata,
    projects,
    retention,
    uploads,
)
from inference_store.contract.base import Identifier

_identifier: TypeAdapter[str] = TypeAdapter(Identifier)


class IdentifierConverter(StringConverter):
    """An id of the contract; what can't be one is no address."""

    def to_python(self, value: str) -> str:
        try:
            return _identifier.validate_python(value)
        except ValidationError as error:
            raise ValueError(value) from error


register_converter(IdentifierConverter, "id")


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    return errors.page_not_found(request, Exception())


app_name = "api"
MODEL = "models/<id:model_id>"
INFERENCE = f"{MODEL}/inferences/<id:inference_id>"
AUDIT_RECORD = "projects/<id:project_id>/audit/<id:record_id>"
RETENTION_TASK = f"{MODEL}/retention-tasks/<id:task_id>"
urlpatterns = [
    # They are tried in this order: what is asked most often comes first.
    path(f"{MODEL}/search", inferences.Search.as_view(), name="search"),
    path(f"{MODEL}/count", inferences.Count.as_view(), name="count"),
    path(INFERENCE, inferences.OneInference.as_view(), name="inference"),
    path(f"{MODEL}/inferences", inferences.Inferences.as_view(), name="inferences"),
    path(f"{MODEL}/metadata-statistics", metadata.Statistics.as_view(), name="metadata-statistics"),
    path("projects", projects.Projects.as_view(), name="projects"),
    path("models", projects.Models.as_view(), name="models"),
    path(MODEL, projects.OneModel.as_view(), name="model"),
    path("projects/<id:project_id>/audit", audit.AuditRecords.as_view(), name="audit"),
    path(AUDIT_RECORD, audit.OneAuditRecord.as_view(), name="audit-record"),
    path(f"{AUDIT_RECORD}/inferences", audit.AuditedInferences.as_view(), name="audited-inferences"),
    path(f"{MODEL}/granular", inferences.Granular.as_view(), name="granular"),
    path(f"{MODEL}/map-cells", inferences.Map.as_view(), name="map-cells"),
    path(f"{MODEL}/bulk-create", inferences.BulkCreate.as_view(), name="bulk-create"),
    path(f"{MODEL}/create-from-upload", inferences.CreateFromUpload.as_view(), name="create-from-upload"),
    path(f"{MODEL}/bulk-delete", inferences.BulkDelete.as_view(), name="bulk-delete"),
    path(f"{MODEL}/protection", inferences.BulkProtection.as_view(), name="bulk-protection"),
    path(f"{INFERENCE}/protection", inferences.Protection.as_view(), name="protection"),
    path(f"{INFERENCE}/metadata", metadata.InferenceMetadata.as_view(), name="metadata"),
    path(f"{MODEL}/metadata-keys", metadata.MetadataKeys.as_view(), name="metadata-keys"),
    path(f"{MODEL}/uploads/data", uploads.DataUploads.as_view(), name="upload-data"),
    path(f"{MODEL}/uploads/metadata", uploads.MetadataUploads.as_view(), name="upload-metadata"),
    path(f"{MODEL}/export-tasks", exports.ExportTasks.as_view(), name="export-tasks"),
    path(f"{MODEL}/export-tasks/<id:task_id>", exports.OneExportTask.as_view(), name="export-task"),
    path(
        f"{MODEL}/export-tasks/<id:task_id>/stop", exports.StopExportTask.as_view(), name="stop-export-task"
    ),
    path(f"{MODEL}/retention-policies", retention.Policies.as_view(), name="retention-policies"),
    path(f"{MODEL}/retention-policy", retention.Policy.as_view(), name="retention-policy"),
    path(
        f"{MODEL}/retention-policies/<id:policy_id>",
        retention.OnePolicy.as_view(),
        name="one-retention-policy",
    ),
    path(f"{MODEL}/retention-tasks", retention.Tasks.as_view(), name="retention-tasks"),
    path(f"{MODEL}/retention-tasks/filter", retention.TaskSearch.as_view(), name="retention-task-search"),
    path(RETENTION_TASK, retention.OneTask.as_view(), name="retention-task"),
    path(f"{RETENTION_TASK}/stop", retention.StopTask.as_view(), name="stop-retention-task"),
    path(f"{RETENTION_TASK}/preview", retention.Preview.as_view(), name="retention-preview"),
    path(f"{RETENTION_TASK}/preview.jsonl", retention.PreviewLines.as_view(), name="retention-preview-lines"),
    path(f"{RETENTION_TASK}/preview.csv", retention.PreviewCsv.as_view(), name="retention-preview-csv"),
    path("blobs/<path:key>", uploads.Blobs.as_view(), name="blob"),
    path("openapi.json", document.Document.as_view(), name="openapi"),
    path("docs", document.Documentation.as_view(), name="docs"),
    re_path("", unknown, name="unknown"),
]
