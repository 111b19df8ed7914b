"""What stands before and after an inference is what stands there in the list, in every order."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.contract.filters import NewGetInferencesRequest
from inference_store.query.adjacent import Adjacent, adjacent
from inference_store.query.pages import inference_page
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query.test_pages import many_ties

pytestmark = pytest.mark.django_db
ORDERS = [(sort, direction) for sort in ("created_at", "label", "score") for direction in ("asc", "desc")]
NEAR = {"query_embedding": [1.0, 0.0]}


def beside(ids, inference_id):
    at = ids.index(inference_id)
    return Adjacent(ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None)


def check(model, **asked):
    request = NewGetInferencesRequest.model_validate(
        asked | {"pagination": asked["pagination"] | {"limit": 1_000}}
    )
    ids = [each.inference_id for each in inference_page(model, request).inferences]
    assert len(ids) > 5
    for inference_id in ids:
        assert adjacent(model, inference_id, request) == beside(ids, inference_id), inference_id


@pytest.mark.parametrize(("sort", "direction"), [*ORDERS, ("embedding_distance", "asc")])
def test_beside_an_inference_stands_what_the_list_has_there(sort, direction):
    model, requests = many_ties()
    store(model, *requests)
    # Without an entry, and so last in either direction.
    bare = [
        make_request(model, f"bare-{each}", entries=[], embedding=[0.0, 1.0], created_at=LONG_AGO)
        for each in range(3)
    ]
    store(model, *bare)
    near = NEAR if sort == "embedding_distance" else None
    check(model, embedding_filters=near, pagination={"sort": sort, "direction": direction})


@pytest.mark.parametrize(("sort", "direction"), ORDERS)
def test_a_filter_leaves_out_what_lies_between(sort, direction):
    model, requests = many_ties()
    store(model, *requests)
    wanted = {"deconstructed_inference_filter": {"minimum_score": 0.4}}
    check(model, filters=wanted, pagination={"sort": sort, "direction": direction})


def test_one_that_the_filter_excludes_stands_where_it_would():
    model = make_model()
    for number in range(5):
        store(model, make_request(model, f"i-{number}", source="a" if number != 2 else "b"))
    request = NewGetInferencesRequest.model_validate({"filters": {"data_source_filter": "a"}})
    assert adjacent(model, "i-2", request) == Adjacent("i-1", "i-3")


def test_what_has_no_place_has_nothing_beside_it():
    model = make_model(embedding_size=2)
    store(model, make_request(model, "bare"))
    assert adjacent(model, "none", NewGetInferencesRequest()) is None
    assert (
        adjacent(model, "bare", NewGetInferencesRequest.model_validate({"embedding_filters": NEAR})) is None
    )


def test_a_list_of_twenty_costs_the_queries_of_two():
    model = make_model()

    def queries():
        with CaptureQueriesContext(connection) as captured:
            adjacent(model, "i-1", NewGetInferencesRequest())
        return len(captured)

    store(model, *(make_request(model, f"i-{number}") for number in range(3)))
    few = queries()
    store(model, *(make_request(model, f"more-{number}") for number in range(20)))
    assert queries() == few == 4
