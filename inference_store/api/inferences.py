"""Inferences: stored, listed, counted, deleted, protected."""

from http import HTTPStatus

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from pydantic import TypeAdapter, ValidationError
from rest_framework.request import Request

from inference_store.api import items
from inference_store.api.addresses import presign_inputs
from inference_store.api.answers import DeletedInference
from inference_store.api.operations import Answer, Body, StoreView, operation, parameter
from inference_store.api.query_strings import FILTER_PARAMETERS, request_from
from inference_store.api.renderers import spelled
from inference_store.contract.enums import TokenScope
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import LARGEST_LIMIT, EmbeddingForm, NewGetInferencesRequest
from inference_store.contract.inferences import (
    DeletedInferences,
    GranularInferencePage,
    Inference,
    InferenceCount,
    InferencePage,
    NewBulkDeleteRequest,
    NewBulkProtectionRequest,
    NewInferenceFromUploadRequest,
    NewInferenceStorageRequest,
    NewProtectionRequest,
    ProtectedInferences,
    StoredInferences,
)
from inference_store.contract.map_cells import MapCells, NewMapCellsRequest
from inference_store.models import RegisteredModel, Role
from inference_store.query import cells, granular, pages
from inference_store.query.rows import Plain, plain
from inference_store.services import audit, deletion, ingest, protection

_boolean: TypeAdapter[bool] = TypeAdapter(bool)
_form: TypeAdapter[EmbeddingForm] = TypeAdapter(EmbeddingForm)
FORM = parameter("embeddings", "How to spell the embedding.", {"enum": ["numbers", "base64", "none"]})


# --- Helpers ------------------------------------------------------------------------------------------------
def bounded(body: NewGetInferencesRequest) -> NewGetInferencesRequest:
    """The request, unless its page is larger than one answer may be."""
    if body.pagination and body.pagination.limit and body.pagination.limit > LARGEST_LIMIT:
        raise Refusal.invalid(
            "pagination.limit", f"must be 1 to {LARGEST_LIMIT:,}; for more, go on with the cursor"
        )
    return body


def boolean(request: Request, name: str) -> bool:
    """A query parameter as true or false; false where it is not given."""
    try:
        return _boolean.validate_python(request.query_params.get(name, "false"))
    except ValidationError:
        raise Refusal.invalid(name, "must be true or false") from None


def receipted(answer: Body, given: list[audit.Receipt]) -> HttpResponse:
    """The answer, with the audit record that proves it and the chain's head at that time in its headers."""
    response = HttpResponse(spelled(answer), content_type="application/json")
    for receipt in given[-1:]:
        response["Audit-Record"] = str(receipt.record_id)
        if receipt.head:
            response["Audit-Head"] = receipt.head
    return response


def no_inference(inference_id: str) -> Refusal:
    return Refusal.not_found(f"The model has no inference {inference_id!r}.")


def embedding_form(request: Request) -> EmbeddingForm:
    """How the query string wants embeddings spelled."""
    try:
        return _form.validate_python(request.query_params.get("embeddings", "numbers"))
    except ValidationError as error:
        raise Refusal.invalid("embeddings", error.errors()[0]["msg"]) from None


def stored_inference(model: RegisteredModel, inference_id: str, form: EmbeddingForm = "numbers") -> Plain:
    """The inference, or 404 where there is none (any more)."""
    if (inference := pages.plain_inference(model, inference_id, form)) is None:
        raise no_inference(inference_id)
    return inference


def page_of(request: Request, model: RegisteredModel, body: NewGetInferencesRequest) -> Plain:
    page = pages.plain_page(model, bounded(body))
    if body.presign:
        presign_inputs(request, page["inferences"])
    return page


def granular_page_of(request: Request, model: RegisteredModel, body: NewGetInferencesRequest) -> Plain:
    page = granular.plain_granular_page(model, bounded(body))
    if body.presign:
        presign_inputs(request, (row["inference"] for row in page["granular_inferences"]))
    return page


# --- Lists --------------------------------------------------------------------------------------------------
class Inferences(StoreView):
    @operation(
        "list_inferences",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        query=FILTER_PARAMETERS,
        any_query=True,
        gives=InferencePage,
        summary="List inferences by a query string",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """The inferences that match, a page at a time: `filter_inferences` for people with curl."""
        return page_of(request, model, request_from(request))

    @operation(
        "create_inference",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        takes=NewInferenceStorageRequest,
        limit="INGEST_BODY_MAXIMUM_BYTES",
        query=[FORM],
        gives=Inference,
        created=True,
        summary="Store an inference",
        refuses=[409, 507],
    )
    def post(self, request: Request, model: RegisteredModel, body: NewInferenceStorageRequest) -> Answer:
        """Store one. The same content again gives the stored inference, other content for its id is 409."""
        if body.model_id != model.model_id:
            raise items.other_model(model.model_id)
        form = embedding_form(request)
        stored = ingest.store_inference(model=model, request=body)
        status = HTTPStatus.CREATED if stored.created_count else HTTPStatus.OK
        if (told := stored.told) is not None:
            return status, plain(told.row, model.model_id, told.vector, None, form)
        return status, stored_inference(model, body.inference_id, form)


class Search(StoreView):
    @operation(
        "filter_inferences",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        takes=NewGetInferencesRequest,
        gives=InferencePage,
        summary="Find inferences",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewGetInferencesRequest) -> Answer:
        """The inferences that match, a page at a time; go on with `next_cursor`."""
        return page_of(request, model, body)


class Count(StoreView):
    @operation(
        "count_inferences_by_query",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        query=FILTER_PARAMETERS,
        any_query=True,
        gives=InferenceCount,
        summary="Count inferences by a query string",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """How many inferences match; what is said about pages is ignored."""
        return InferenceCount(count=pages.count_inferences(model, request_from(request)))

    @operation(
        "count_inferences",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        takes=NewGetInferencesRequest,
        gives=InferenceCount,
        summary="Count inferences",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewGetInferencesRequest) -> Answer:
        """How many inferences match; the pagination is ignored."""
        return InferenceCount(count=pages.count_inferences(model, body))


class Granular(StoreView):
    @operation(
        "list_granular_inferences",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        query=FILTER_PARAMETERS,
        any_query=True,
        gives=GranularInferencePage,
        summary="List entries by a query string",
    )
    def get(self, request: Request, model: RegisteredModel) -> Answer:
        """One row per entry of the inferences that match: `filter_granular_inferences` by query string."""
        return granular_page_of(request, model, request_from(request))

    @operation(
        "filter_granular_inferences",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        takes=NewGetInferencesRequest,
        gives=GranularInferencePage,
        summary="Find entries",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewGetInferencesRequest) -> Answer:
        """One row per entry (label, score, geometry) of the inferences that match, with its inference."""
        return granular_page_of(request, model, body)


class Map(StoreView):
    @operation(
        "map_cells",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        takes=NewMapCellsRequest,
        gives=MapCells,
        summary="Count inferences by place",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewMapCellsRequest) -> Answer:
        """Where the inferences that match are: counts by cell of a grid, and each one where they are few."""
        return cells.map_cells(model, body)


# --- Storing ------------------------------------------------------------------------------------------------
class BulkCreate(StoreView):
    @operation(
        "create_inferences",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        reader=lambda request, model: items.read(request, model.model_id),
        request=items.DOCUMENTED_BODY,
        gives=StoredInferences,
        created=True,
        summary="Store many inferences",
        refuses=[409, 507],
    )
    def post(
        self, request: Request, model: RegisteredModel, body: list[NewInferenceStorageRequest]
    ) -> Answer:
        """Store up to 10,000 in one request of at most 32 MiB, as a JSON array or one JSON object a line.

        All or none are stored; `fields` names what is wrong by item, like `3.data.metadata`.
        """
        stored = ingest.store_inferences(model=model, requests=body) if body else None
        if stored is None:
            return StoredInferences(inference_ids=[], created_count=0)
        status = HTTPStatus.CREATED if stored.created_count else HTTPStatus.OK
        return status, StoredInferences(
            inference_ids=stored.inference_ids, created_count=stored.created_count
        )


class CreateFromUpload(StoreView):
    @operation(
        "create_inference_from_upload",
        scope=TokenScope.WRITE,
        role=Role.EDITOR,
        takes=NewInferenceFromUploadRequest,
        gives=Inference,
        created=True,
        summary="Store an uploaded inference",
        refuses=[409, 507],
        tag="uploads",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewInferenceFromUploadRequest) -> Answer:
        """Store the inference and metadata that were put at a presigned URL."""
        stored = ingest.store_from_upload(model=model, request=body)
        status = HTTPStatus.CREATED if stored.created_count else HTTPStatus.OK
        return status, stored_inference(model, body.inference_id)


# --- Deletion and protection by filter ----------------------------------------------------------------------
class BulkDelete(StoreView):
    @operation(
        "bulk_delete_inferences",
        scope=TokenScope.DELETE,
        role=Role.EDITOR,
        takes=NewBulkDeleteRequest,
        gives=DeletedInferences,
        summary="Delete inferences by a filter",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewBulkDeleteRequest) -> Answer:
        """Delete everything that matches for good, inputs included, protected or not."""
        with audit.receipts() as given:
            deleted = deletion.delete_matching(model=model, filters=body.filters)
        return receipted(DeletedInferences(inference_ids=[*deleted]), given)


class BulkProtection(StoreView):
    @operation(
        "set_protection_by_filter",
        scope=TokenScope.WRITE,
        role=Role.ADMIN,
        takes=NewBulkProtectionRequest,
        gives=ProtectedInferences,
        summary="Protect inferences by a filter",
    )
    def post(self, request: Request, model: RegisteredModel, body: NewBulkProtectionRequest) -> Answer:
        """Protect everything that matches from retention, or lift that."""
        changed = protection.set_protection_by_filter(
            model=model, filters=body.filters, is_protected=body.is_protected
        )
        return ProtectedInferences(changed_count=changed)


# --- One ----------------------------------------------------------------------------------------------------
class OneInference(StoreView):
    @operation(
        "get_inference",
        scope=TokenScope.READ,
        role=Role.VIEWER,
        reads=True,
        query=[parameter("presign", "Whether to add a URL to read the input at.", OpenApiTypes.BOOL), FORM],
        gives=Inference,
        summary="Get an inference",
    )
    def get(self, request: Request, model: RegisteredModel, inference_id: str) -> Answer:
        """One inference with its metadata."""
        presign, form = boolean(request, "presign"), embedding_form(request)
        inference = stored_inference(model, inference_id, form)
        if presign:
            presign_inputs(request, [inference])
        return inference

    @operation(
        "delete_inference",
        scope=TokenScope.DELETE,
        role=Role.EDITOR,
        gives=DeletedInference,
        summary="Delete an inference",
    )
    def delete(self, request: Request, model: RegisteredModel, inference_id: str) -> Answer:
        """Delete it for good, its metadata and input included, protected or not."""
        with audit.receipts() as given:
            deletion.delete_inference(model=model, inference_id=inference_id)
        return receipted(DeletedInference(inference_id=inference_id), given)


class Protection(StoreView):
    @operation(
        "set_protection",
        scope=(TokenScope.WRITE, TokenScope.READ),
        role=Role.ADMIN,
        takes=NewProtectionRequest,
        gives=Inference,
        summary="Protect an inference",
    )
    def put(
        self, request: Request, model: RegisteredModel, inference_id: str, body: NewProtectionRequest
    ) -> Answer:
        """Protect it from retention, or lift that. Once answered, it holds."""
        protection.set_protection(model=model, inference_id=inference_id, is_protected=body.is_protected)
        return stored_inference(model, inference_id)
