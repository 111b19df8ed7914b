# mypy: allow-untyped-calls
"""The OpenAPI document, made from the operations and the contract's models, and the page that shows it."""

import json
from functools import lru_cache
from typing import Any

import drf_spectacular.contrib.pydantic  # noqa: F401  (registers itself: pydantic models become schemas)
from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request

from inference_store.api.operations import StoreView, refuse_unknown_parameters

# The bundled page styles elements inline; nothing else is loosened.
STYLES_CSP = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)


BEARER = """A token, as the page “API tokens” makes them. Each operation names the scope that the token needs:

- `read`: everything that only looks: pages, counts, statistics, the state of exports and their archives
- `write`: register models, store inferences, inputs and metadata, protect
- `delete`: delete inferences, and retention, which does
- `export`: make and stop exports
- `manage`: create projects, read the audit log

A token never does what its user's role doesn't allow. One of a single project sees no other."""


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "inference_store.api.authentication.BearerTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": BEARER}

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        declared = getattr(getattr(auto_schema.view, auto_schema.method.lower()), "operation", None)
        return {self.name: [each.value for each in declared.scopes] if declared else []}


@lru_cache(maxsize=1)
def document() -> str:
    """The document as JSON, in an order that depends on the code alone."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        if "requestBody" in operation:  # which the generator leaves open
            operation["requestBody"]["required"] = True
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"


class Document(StoreView):
    authentication_classes = []
    permission_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        refuse_unknown_parameters(request, frozenset())
        return HttpResponse(document(), content_type="application/json")


class Documentation(SpectacularSwaggerSplitView):
    """Swagger UI, served from here."""

    authentication_classes = []
    permission_classes = []
    renderer_classes = [TemplateHTMLRenderer]
    template_name = "api/docs.html"
    url_name = "api:openapi"
    http_method_names = ["get", "head"]

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        refuse_unknown_parameters(request, frozenset({"script"}))
        response = super().get(request, *args, **kwargs)
        response["Content-Security-Policy"] = STYLES_CSP
        return response

    def handle_exception(self, exc: Exception) -> Any:
        # JSON, where pages have their own renderer.
        refused = super().handle_exception(exc)
        return HttpResponse(
            refused.data.model_dump_json(),
            status=refused.status_code,
            headers=dict(refused.items()) | {"Content-Type": "application/json"},
        )
