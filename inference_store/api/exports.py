"""Exports over REST."""

from http import HTTPStatus

from pydantic import TypeAdapter, ValidationError
from rest_framework.request import Request

from inference_store import blobs
from inference_store.api.addresses import presigned
from inference_store.api.authentication import user_of
from inference_store.api.operations import LIMIT, Answer, StoreView, operation, parameter
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT, LARGEST_LIMIT
from inference_store.contract.jobs import ExportTask, ExportTaskList, NewExportTaskRequest
from inference_store.models import RegisteredModel, Role
from inference_store.services import exports
from inference_store.services.exports import ToldExport


def handed_out(request: Request, model: RegisteredModel, told: list[ToldExport]) -> list[ExportTask]:
    """The tasks, with URLs to read the archives at that are there; that these were handed out is recorded."""
    if readable := [each.task.id for each in told if each.archive_key is not None]:
        exports.record_link(model, readable)
    return [_with_url(request, each) for each in told]


def _with_url(request: Request, told: ToldExport) -> ExportTask:
    if told.archive_key is not None:
        told.task.presigned_url = presigned(
            request,
            told.archive_key,
            "GET",
            told.readable_seconds,
            blobs.archive_name(told.archive_key),
        )
    return told.task


class ExportTasks(StoreView):
    @operation(
        "create_export_task",
        scope=TokenScope.EXPORT,
        role=Role.VIEWER,
        takes=NewExportTaskRequest,
        gives=ExportTask,
        created=True,
        summary="Export inferences",
        tag="exports",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewExportTaskRequest) -> Answer:
        """Begin an export of (filters and include_inference_ids) less exclude_inference_ids.

        `format` is the archive of inputs and JSON lines unless it says coco, yolo, parquet, jsonl or csv.
        """
        export = exports.create_export(model=model, user=user_of(request), request=body)
        return HTTPStatus.CREATED, exports.told(export).task

    @operation(
        "list_export_tasks",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        query=[
            parameter("limit", f"How many at most: {DEFAULT_LIMIT} unless given.", LIMIT),
            parameter("offset", "How many to pass over.", {"type": "integer", "minimum": 0}),
        ],
        gives=ExportTaskList,
        summary="List exports",
        tag="exports",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """The model's exports, newest first."""
        limit, offset = page_of(request)
        listed = exports.told_exports(exports.model_exports(model)[offset : offset + limit])
        return ExportTaskList(export_tasks=handed_out(request, model, listed))


class OneExportTask(StoreView):
    @operation(
        "get_export_task",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=ExportTask,
        summary="Get an export",
        tag="exports",
    )
    def get(self, request: Request, model: RegisteredModel, task_id: str) -> Answer:
        """How far it is; once complete, with a URL to read the archive at until it expires."""
        export = exports.find_export(model=model, export_id=task_id)
        return handed_out(request, model, [exports.told(export)])[0]


class StopExportTask(StoreView):
    @operation(
        "stop_export_task",
        scope=TokenScope.EXPORT,
        role=Role.VIEWER,
        gives=ExportTask,
        summary="Stop an export",
        tag="exports",
    )
    def post(self, request: Request, model: RegisteredModel, task_id: str) -> Answer:
        """Stop it and remove what it wrote: by the one who began it, or an editor.

        What has ended stays; `get_export_task` gives the link to its archive, to a token that may read.
        """
        export = exports.find_export(model=model, export_id=task_id)
        return exports.told(exports.stop_export(export=export, user=user_of(request))).task


_whole: TypeAdapter[int] = TypeAdapter(int)


def page_of(request: Request) -> tuple[int, int]:
    """`limit` and `offset` of the query string."""
    given = {}
    for name, default, most in (("limit", DEFAULT_LIMIT, LARGEST_LIMIT), ("offset", 0, 2**31)):
        try:
            given[name] = _whole.validate_python(request.query_params.get(name, default))
        except ValidationError:
            raise Refusal.invalid(name, "must be a whole number") from None
        if not (1 if name == "limit" else 0) <= given[name] <= most:
            raise Refusal.invalid(name, f"must be at most {most:,}, and not less than {int(name == 'limit')}")
    return given["limit"], given["offset"]
