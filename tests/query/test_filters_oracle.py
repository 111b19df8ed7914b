"""Random filters over random inferences: lists, counts, granular rows and deletes agree with brute force.

A failure names its seed and the fewest conditions that still disagree.
"""

import random

import pytest
from django.db import transaction

from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.models import SearchSlot
from inference_store.models.inference import NUMBER_SLOTS, STRING_SLOTS
from inference_store.models.search_slot import Unfit
from inference_store.query import granular, pages
from inference_store.services import deletion
from tests import oracle
from tests.making import make_model, make_request, store
from tests.query import random_data

pytestmark = pytest.mark.django_db
DATA_SETS, INFERENCES, FILTERS = 13, 60, 200
SOAKED_DATA_SETS = 500


def asked(filters, sort, descending):
    direction = "desc" if descending else "asc"
    pagination = {"sort": sort, "direction": direction, "limit": 1000}
    return NewGetInferencesRequest.model_validate({"filters": filters, "pagination": pagination})


def listed(model, filters, sort="created_at", descending=False):
    page = pages.inference_page(model, asked(filters, sort, descending))
    return [inference.inference_id for inference in page.inferences]


def granular_rows(model, filters, sort, descending):
    page = granular.granular_page(model, asked(filters, sort, descending))
    return [
        (row.inference.inference_id, row.position, row.label, row.score) for row in page.granular_inferences
    ]


def deleted(model, filters):
    """The ids that a delete with this filter takes, and takes back."""
    with transaction.atomic():
        ids = deletion.delete_matching(model=model, filters=filters)
        left = listed(model, BaseInferenceFilter())
        transaction.set_rollback(True)
    return ids, left


def fewest(model, requests, chosen):
    """The conditions without those that the disagreement does not need, and the ids in dispute."""

    def dispute(some):
        filters = random_data.as_filter(some)
        expected = {each.inference_id for each in oracle.matching(requests, filters)}
        return expected ^ set(listed(model, filters))

    for condition in list(chosen):
        rest = [each for each in chosen if each is not condition]
        if rest and dispute(rest):
            chosen = rest
    disputed = dispute(chosen)
    return chosen, [
        each.model_dump_json(exclude_none=True) for each in requests if each.inference_id in disputed
    ]


def fits_a_slot(searched, requests):
    """Whether a slot can hold all values of this (type, key)."""
    type_, key = searched
    reader = SearchSlot(type=type_, key=key).reader
    try:
        for request in requests:
            reader.value(held_by(request))
    except Unfit:
        return False
    return True


def held_by(request):
    """The metadata as the column holds them."""
    held = {}
    for item in request.data.metadata.extended_metadata:
        held.setdefault(item.type, {})[item.key] = item.parsed()
    return held


@pytest.mark.soak
@pytest.mark.parametrize("with_slots", [False, True])
@pytest.mark.parametrize("seed", range(DATA_SETS, SOAKED_DATA_SETS))
def test_filters_agree_with_brute_force_for_long(seed, with_slots):
    test_filters_agree_with_brute_force(seed, with_slots)


@pytest.mark.parametrize("with_slots", [False, True])
@pytest.mark.parametrize("seed", range(DATA_SETS))
def test_filters_agree_with_brute_force(seed, with_slots):
    rng = random.Random(seed * 2 + with_slots)
    model, other = make_model(), make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(INFERENCES)]
    if with_slots:
        fit = [each for each in random_data.searched_keys(requests) if fits_a_slot(each, requests)]
        random_data.give_slots(rng, model, fit)
    store(model, *requests)
    store(other, *(random_data.random_request(rng, other, number) for number in range(5)))
    hits = judged = 0
    for turn in range(FILTERS):
        chosen = random_data.conditions(rng, requests)
        filters = random_data.as_filter(chosen)
        sort, descending = rng.choice(["created_at", "label", "score"]), rng.random() < 0.5
        try:
            expected = oracle.ordered_ids(requests, filters, sort, descending)
        except oracle.Unclear:
            continue
        judged += 1
        hits += bool(expected)
        found = listed(model, filters, sort, descending)
        if set(found) != set(expected):
            pytest.fail(f"seed {seed}, filter {turn}: disagree on {fewest(model, requests, chosen)}")
        assert found == expected, f"seed {seed}, filter {turn}: order by {sort}, {descending=}, {chosen}"
        count = pages.count_inferences(model, asked(filters, sort, descending))
        assert count == len(expected), f"seed {seed}, filter {turn}: {chosen}"
        if turn % 4 == 0:
            rows = oracle.granular_rows(requests, filters, sort, descending)
            assert granular_rows(model, filters, sort, descending) == rows, f"seed {seed}: {sort} {chosen}"
        if turn % 20 == 0:
            gone, left = deleted(model, filters)
            assert sorted(gone) == sorted(expected), f"seed {seed}, filter {turn}: {chosen}"
            assert set(left) == {each.inference_id for each in requests} - set(gone)
    assert len(SearchSlot.objects.searched(model)) == (len(NUMBER_SLOTS) + len(STRING_SLOTS)) * with_slots
    assert judged > FILTERS * 0.9
    assert FILTERS * 0.15 < hits < FILTERS * 0.95, "the filters are not apt to tell right from wrong"


def test_a_filter_with_nothing_set_restricts_nothing():
    model = make_model()
    store(model, make_request(model, "a"), make_request(model, "b", entries=[{"label": "x"}]))
    assert listed(model, random_data.nothing_asked()) == ["a", "b"]
    assert listed(
        model, BaseInferenceFilter(metadata_filter=[], location_filter={}, time_window_filter={})
    ) == [
        "a",
        "b",
    ]
