"""Retention over REST: policies, their tasks, and what a dry run found."""

import csv
import io
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request

from inference_store.api.authentication import user_of
from inference_store.api.exports import page_of
from inference_store.api.operations import LIMIT, Answer, StoreView, operation, parameter
from inference_store.archive.csv_table import neutral
from inference_store.contract.base import ResponseModel
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import DEFAULT_LIMIT
from inference_store.contract.jobs import (
    NewGetRetentionTasksRequest,
    NewRetentionPolicyRequest,
    NewRetentionTaskRequest,
    RetentionPolicy,
    RetentionPreview,
    RetentionPreviewItem,
    RetentionTask,
    RetentionTaskList,
)
from inference_store.models import RegisteredModel, Role
from inference_store.query.retention import (
    policy_body,
    policy_of,
    preview_items,
    preview_page,
    retention_tasks,
    task_body,
)
from inference_store.services import retention, retention_policies

TEXTS_AT_ONCE = 500


class DeletedRetentionPolicy(ResponseModel):
    """The id of the retention policy that was deleted."""

    id: str


# --- Policies -----------------------------------------------------------------------------------------------
class Policies(StoreView):
    @operation(
        "create_retention_policy",
        scope=TokenScope.DELETE,
        role=Role.ADMIN,
        takes=NewRetentionPolicyRequest,
        gives=RetentionPolicy,
        created=True,
        summary="Create a retention policy",
        refuses=[409],
        tag="retention",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewRetentionPolicyRequest) -> Answer:
        """Say how long to keep the model's inferences, past ones too, and their inputs.

        The same again gives the policy that stands, another one while it stands 409.
        """
        policy, created = retention_policies.create_policy(model=model, user=user_of(request), request=body)
        return (HTTPStatus.CREATED if created else HTTPStatus.OK), policy_body(policy)


class Policy(StoreView):
    @operation(
        "get_retention_policy",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=RetentionPolicy,
        summary="Get the retention policy",
        tag="retention",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """The model's retention policy; 404 where it has none."""
        if (policy := policy_of(model)) is None:
            raise Refusal.not_found(f"Model {model.model_id!r} has no retention policy.")
        return policy_body(policy)


class OnePolicy(StoreView):
    @operation(
        "delete_retention_policy",
        scope=TokenScope.DELETE,
        role=Role.ADMIN,
        gives=DeletedRetentionPolicy,
        summary="Delete a retention policy",
        tag="retention",
    )
    def delete(self, request: Request, model: RegisteredModel, policy_id: str) -> Answer:
        """Delete the policy. Its tasks stay, and a run that is under way ends by the limits it began with."""
        retention_policies.delete_policy(model=model, policy_id=policy_id)
        return DeletedRetentionPolicy(id=policy_id)


# --- Tasks --------------------------------------------------------------------------------------------------
class Tasks(StoreView):
    @operation(
        "create_retention_task",
        scope=TokenScope.DELETE,
        role=Role.ADMIN,
        takes=NewRetentionTaskRequest,
        gives=RetentionTask,
        created=True,
        summary="Run a retention policy",
        refuses=[409],
        tag="retention",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewRetentionTaskRequest) -> Answer:
        """Begin a run, or with `dry_run` a list of what one would take.

        With `preview_task_id` the run takes what that dry run listed, less what was protected since.
        A policy that runs by itself is not run by hand, and there is one run at a time: 409.
        """
        task = retention.create_task(model=model, user=user_of(request), request=body)
        return HTTPStatus.CREATED, task_body(task)


class TaskSearch(StoreView):
    @operation(
        "filter_retention_tasks",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        takes=NewGetRetentionTasksRequest,
        gives=RetentionTaskList,
        summary="Find retention tasks",
        tag="retention",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewGetRetentionTasksRequest) -> Answer:
        """The model's tasks, by time of creation, oldest first unless `direction` says otherwise."""
        return RetentionTaskList(retention_tasks=[task_body(task) for task in retention_tasks(model, body)])


class OneTask(StoreView):
    @operation(
        "get_retention_task",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=RetentionTask,
        summary="Get a retention task",
        tag="retention",
    )
    def get(self, request: Request, model: RegisteredModel, task_id: str) -> Answer:
        """How far it is, and what it took."""
        return task_body(retention.find_task(model=model, task_id=task_id))


class StopTask(StoreView):
    @operation(
        "stop_retention_task",
        scope=TokenScope.DELETE,
        role=Role.ADMIN,
        gives=RetentionTask,
        summary="Stop a retention task",
        tag="retention",
    )
    def post(self, request: Request, model: RegisteredModel, task_id: str) -> Answer:
        """Stop it after its batch; what it has deleted stays deleted, and what has ended stays as it is."""
        task = retention.find_task(model=model, task_id=task_id)
        return task_body(retention.stop_task(task=task))


# --- What a dry run found -----------------------------------------------------------------------------------
class Preview(StoreView):
    @operation(
        "get_retention_preview",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        query=[
            parameter("limit", f"How many at most: {DEFAULT_LIMIT} unless given.", LIMIT),
            parameter("cursor", "The page before's `next_cursor`."),
        ],
        gives=RetentionPreview,
        summary="Read what a dry run found",
        refuses=[409],
        tag="retention",
    )
    def get(self, request: Request, model: RegisteredModel, task_id: str) -> Answer:
        """What a run would take, and why: records first, then inputs of records that stay, each by age."""
        limit, _ = page_of(request)
        task = retention.find_task(model=model, task_id=task_id)
        return preview_page(task, limit=limit, cursor=request.query_params.get("cursor", ""))


class PreviewLines(StoreView):
    @operation(
        "download_retention_preview_as_jsonl",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=OpenApiTypes.STR,
        media_type="application/x-ndjson",
        summary="Download what a dry run found as JSON lines",
        refuses=[409],
        tag="retention",
    )
    def get(self, request: Request, model: RegisteredModel, task_id: str) -> HttpResponseBase:
        """The whole list, one object a line."""
        task = retention.find_task(model=model, task_id=task_id)
        return download(lines(preview_items(task)), "application/x-ndjson", f"retention-{task.pk}.jsonl")


class PreviewCsv(StoreView):
    @operation(
        "download_retention_preview_as_csv",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        gives=OpenApiTypes.STR,
        media_type="text/csv",
        summary="Download what a dry run found as CSV",
        refuses=[409],
        tag="retention",
    )
    def get(self, request: Request, model: RegisteredModel, task_id: str) -> HttpResponseBase:
        """The whole list. An id that a spreadsheet would take for a formula has an apostrophe before it."""
        task = retention.find_task(model=model, task_id=task_id)
        return download(csv_rows(preview_items(task)), "text/csv; charset=utf-8", f"retention-{task.pk}.csv")


def download(texts: Iterator[str], content_type: str, name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces(texts), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def pieces(texts: Iterator[str]) -> Iterator[bytes]:
    """The texts, many at a time."""
    while some := "".join(islice(texts, TEXTS_AT_ONCE)):
        yield some.encode()


def lines(items: Iterator[RetentionPreviewItem]) -> Iterator[str]:
    return (item.model_dump_json() + "\n" for item in items)


def csv_rows(items: Iterator[RetentionPreviewItem]) -> Iterator[str]:
    yield csv_row(RetentionPreviewItem.model_fields)
    for item in items:
        inference_id, *others = item.model_dump(mode="json").values()
        yield csv_row([neutral(inference_id), *others])


def csv_row(cells: Iterable[Any]) -> str:
    row = io.StringIO()
    csv.writer(row).writerow(cells)
    return row.getvalue()
