"""Pages walk every row exactly once, in every order, by offset and by cursor, however many rows tie."""

import base64
import json
import math
import random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store import statements
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.query import entry_order, granular, page_keys, pages
from tests import oracle
from tests.making import LONG_AGO, make_model, make_request, store

pytestmark = pytest.mark.django_db
SORTS = ["created_at", "label", "score", "embedding_distance"]
DIRECTIONS = ["asc", "desc"]


def asked(embedding=None, **pagination):
    filters = None if embedding is None else {"query_embedding": embedding}
    return NewGetInferencesRequest.model_validate({"embedding_filters": filters, "pagination": pagination})


def page_of(model, **pagination):
    embedding = [1.0, 0.0] if pagination.get("sort") == "embedding_distance" else None
    return pages.inference_page(model, asked(embedding, **pagination))


def granular_page(model, **pagination):
    embedding = [1.0, 0.0] if pagination.get("sort") == "embedding_distance" else None
    return granular.granular_page(model, asked(embedding, **pagination))


def ids(page):
    return [each.inference_id for each in page.inferences]


def rows(page):
    return [(each.inference.inference_id, each.position) for each in page.granular_inferences]


def walked(ask, read, model, limit, **pagination):
    """Every row by cursor."""
    found, cursor = [], None
    while True:
        page = ask(model, limit=limit, cursor=cursor, **pagination)
        found += read(page)
        if page.next_cursor is None:
            return found
        assert len(read(page)) == limit
        cursor = page.next_cursor


def many_ties(number=40):
    """A model and requests that are all alike but for three labels, four scores and two vectors."""
    rng = random.Random(7)
    model = make_model(embedding_size=2)
    requests = [
        make_request(
            model,
            created_at=LONG_AGO,
            embedding=rng.choice([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
            entries=[
                {"label": rng.choice(["", "a", "😀"]), "score": rng.choice([None, 0, -0.0, 0.5])}
                for _ in range(rng.randrange(3))
            ],
        )
        for _ in range(number)
    ]
    store(model, *requests)
    return model, requests


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sort", SORTS)
def test_every_row_once(sort, direction):
    model, requests = many_ties()
    order = {"sort": sort, "direction": direction}
    whole = ids(page_of(model, limit=1000, **order))
    assert sorted(whole) == sorted(request.inference_id for request in requests)
    if sort != "embedding_distance":
        assert whole == oracle.ordered_ids(requests, BaseInferenceFilter(), sort, direction == "desc")
    for limit in (1, 7, 40, 41):
        assert walked(page_of, ids, model, limit, **order) == whole
        by_offset = [ids(page_of(model, limit=limit, offset=start, **order)) for start in range(0, 40, limit)]
        assert [each for page in by_offset for each in page] == whole


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sort", SORTS)
def test_every_granular_row_once(sort, direction):
    model, requests = many_ties()
    order = {"sort": sort, "direction": direction}
    whole = rows(granular_page(model, limit=1000, **order))
    assert len(set(whole)) == len(whole) == sum(len(request.data.entries) for request in requests)
    for limit in (1, 6):
        assert walked(granular_page, rows, model, limit, **order) == whole


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sort", ["label", "score"])
def test_inferences_without_entries_are_last(sort, direction):
    model = make_model()
    lists = {
        "none": None,
        "empty": [],
        "low": [{"label": "a", "score": 0.1}],
        "high": [{"label": "b", "score": 0.9}],
    }
    store(model, *(make_request(model, name, entries=entries) for name, entries in lists.items()))
    found = ids(page_of(model, sort=sort, direction=direction))
    assert found[:2] == (["low", "high"] if direction == "asc" else ["high", "low"])
    assert set(found[2:]) == {"none", "empty"}


def test_the_smallest_label_and_the_highest_score_count():
    model = make_model()
    store(
        model,
        make_request(model, "1", entries=[{"label": "z", "score": 0.9}, {"label": "a", "score": 0.1}]),
        make_request(model, "2", entries=[{"label": "b", "score": 0.5}]),
    )
    assert ids(page_of(model, sort="label")) == ["1", "2"]
    assert ids(page_of(model, sort="score")) == ["2", "1"]


def test_fifty_rows_oldest_first_unless_asked():
    model = make_model()
    store(model, *(make_request(model, str(number)) for number in range(60)))
    page = pages.inference_page(model, NewGetInferencesRequest())
    assert ids(page) == [str(number) for number in range(50)]
    assert pages.count_inferences(model, asked(limit=3, offset=5)) == 60


def test_an_offset_beyond_the_end_is_an_empty_page():
    model, _ = many_ties(3)
    page = page_of(model, offset=3)
    assert (ids(page), page.next_cursor) == ([], None)


def test_rows_that_come_and_go_between_pages_move_no_others():
    model, requests = many_ties(10)
    first = page_of(model, limit=5)
    gone = ids(first)[-1]
    model.inferences.filter(inference_id=gone).delete()
    store(model, make_request(model, "new", created_at=LONG_AGO))
    rest = ids(page_of(model, limit=50, cursor=first.next_cursor))
    assert rest == [*(request.inference_id for request in requests[5:]), "new"]


def cursor_of(*body):
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        *["", "a", "!!!", "é", "AAAA", "bnVsbA", "[]", "x" * 8_000],
        cursor_of("created_at", False),
        cursor_of("created_at", False, None, 1),
        cursor_of("created_at", False, "yesterday", 1),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00"),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00", "1"),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00", 1.5),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00", True),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00", 2**63),
        cursor_of("created_at", False, "2026-01-01T00:00:00+00:00", 1, 2),
        cursor_of("created_at", False, "0001-01-01T00:00:00+14:00", 1),
        cursor_of("created_at", False, {"a": 1}, 1),
        cursor_of("created_at", True, "2026-01-01T00:00:00+00:00", 1),
        cursor_of("score", False, 0.5, 1),
        cursor_of("nothing", False, 0.5, 1),
    ],
)
def test_a_cursor_of_somebody_else(cursor):
    model, _ = many_ties(2)
    with pytest.raises(Refusal) as refused:
        page_of(model, cursor=cursor)
    assert (refused.value.status, list(refused.value.fields)) == (400, ["pagination.cursor"])


@pytest.mark.parametrize(
    ("sort", "value"), [("label", 1), ("label", "\x00"), ("label", "\ud800"), ("score", "a"), ("score", [])]
)
def test_a_cursor_with_a_value_of_another_kind(sort, value):
    model, _ = many_ties(2)
    with pytest.raises(Refusal) as refused:
        page_of(model, sort=sort, cursor=cursor_of(sort, False, value, 1))
    assert refused.value.status == 400


def test_a_cursor_of_another_order():
    model, _ = many_ties(5)
    cursor = page_of(model, limit=2, sort="score").next_cursor
    for other in ({"sort": "label"}, {"sort": "score", "direction": "desc"}, {}):
        with pytest.raises(Refusal) as refused:
            page_of(model, cursor=cursor, **other)
        assert refused.value.status == 400


def test_a_cursor_in_a_granular_page_of_inferences():
    model, _ = many_ties(5)
    cursor = page_of(model, limit=2).next_cursor
    with pytest.raises(Refusal) as refused:
        granular_page(model, cursor=cursor)
    assert refused.value.status == 400


@pytest.mark.parametrize("ask", [page_of, granular_page])
@pytest.mark.parametrize("sort", SORTS)
def test_it_runs_as_many_queries_for_twenty_rows_as_for_two(ask, sort):
    model, _ = many_ties(60)
    ask(model, sort=sort, limit=2)
    with CaptureQueriesContext(connection) as two:
        ask(model, sort=sort, limit=2)
    with CaptureQueriesContext(connection) as twenty:
        ask(model, sort=sort, limit=20)
    # Expect 2 queries: the keys, and the rows with their embeddings. One more in order of entries (of those
    # that were walked, where inferences stand), and for entries in order of time (of which inferences); an
    # index has the rows themselves in order of time.
    expected = {"label": 3, "score": 3, "created_at": 1} if ask is page_of else {"created_at": 3}
    assert len(two) == len(twenty) == expected.get(sort, 2)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("sort", ["label", "score"])
@pytest.mark.parametrize("most_walked", [0, 6, 20_000])
def test_walked_or_collected_it_is_the_same_page(monkeypatch, most_walked, sort, direction):
    monkeypatch.setattr(entry_order, "FIRST_WALKED", 2)
    monkeypatch.setattr(entry_order, "MOST_WALKED", most_walked)
    model, requests = many_ties()
    filters = BaseInferenceFilter.model_validate({"deconstructed_inference_filter": {"labels": ["a"]}})
    right = oracle.ordered_ids(requests, filters, sort, direction == "desc")

    def ask(model, **pagination):
        asked_for = {"filters": filters, "pagination": {"sort": sort, "direction": direction, **pagination}}
        return pages.inference_page(model, NewGetInferencesRequest.model_validate(asked_for))

    for limit in (1, 5):
        assert walked(ask, ids, model, limit) == right
        by_offset = [ids(ask(model, limit=limit, offset=start)) for start in range(0, len(right), limit)]
        assert [each for page in by_offset for each in page] == right


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("steps", "most_further"), [(1, 0), (3, 4), (3, 1_000), (10, 2), (39, 4), (40, 4), (41, 4), (2_000, 4)]
)
def test_walked_once_or_twice_or_collected_it_is_the_same_page(monkeypatch, steps, most_further, direction):
    monkeypatch.setattr(page_keys, "WALKED", steps)
    monkeypatch.setattr(page_keys, "WALKED_A_ROW", 0)
    monkeypatch.setattr(page_keys, "MOST_FURTHER", most_further)
    model, requests = many_ties()
    filters = BaseInferenceFilter.model_validate({"deconstructed_inference_filter": {"labels": ["a"]}})
    right = oracle.ordered_ids(requests, filters, "created_at", direction == "desc")

    def ask(model, **pagination):
        asked_for = {"filters": filters, "pagination": {"direction": direction, **pagination}}
        return pages.inference_page(model, NewGetInferencesRequest.model_validate(asked_for))

    for limit in (1, 5):
        assert walked(ask, ids, model, limit) == right
        by_offset = [ids(ask(model, limit=limit, offset=start)) for start in range(0, len(right), limit)]
        assert [each for page in by_offset for each in page] == right


@pytest.mark.parametrize("ask", [pages.inference_page, granular.granular_page])
@pytest.mark.parametrize("filters", [{}, {"deconstructed_inference_filter": {"labels": ["a"]}}])
def test_beyond_the_last_row_is_an_empty_page_however_far(ask, filters):
    model, _ = many_ties(5)
    asked_for = {"filters": filters, "pagination": {"offset": 2**63 - 1, "limit": 1_000}}
    page = ask(model, NewGetInferencesRequest.model_validate(asked_for))
    assert (page.inferences if ask is pages.inference_page else page.granular_inferences) == []
    assert page.next_cursor is None


def test_a_statement_may_have_more_values_than_the_protocol_counts():
    many = 70_000
    statement = f"select count(*) from unnest(array[{', '.join(['%s'] * many)}]::bigint[])"
    assert statements.rows(statement, range(many)) == [(many,)]


def test_huge_distances_do_not_stop_a_walk():
    model = make_model(embedding_size=1)
    store(model, *(make_request(model, embedding=[size]) for size in (1e38, -1e38, 3e38, -3e38, 1.0)))
    request = {"query_embedding": [3e38], "distance_metric": "negative_dot_product"}
    found, cursor = [], None
    for _ in range(5):
        asked_for = {"embedding_filters": request, "pagination": {"limit": 1, "cursor": cursor}}
        page = pages.inference_page(model, NewGetInferencesRequest.model_validate(asked_for))
        found += [each.embedding_distance for each in page.inferences]
        cursor = page.next_cursor
    assert cursor is None
    assert len(found) == 5
    assert all(map(math.isfinite, found))
