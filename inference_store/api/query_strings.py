"""GET lists: a query string as the contract's request, by the filter set that the pages use too."""

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.filtersets import InferenceFilterSet

FILTER_PARAMETERS = [
    OpenApiParameter(name, str, OpenApiParameter.QUERY, description=filter_.label, many=filter_.repeated)
    for name, filter_ in InferenceFilterSet.base_filters.items()
]


def request_from(request: Request) -> NewGetInferencesRequest:
    """What the query string asks for, or a refusal that names each parameter that is wrong."""
    return InferenceFilterSet(request.query_params).request_body()
