"""Histograms and counts by value agree with brute force; their keys read back as the edges they name."""

import random

import pytest
from pydantic import ValidationError

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewGetMetadataStatisticsRequest
from inference_store.query.statistics import metadata_statistics
from tests import oracle
from tests.making import make_model, make_request, store
from tests.query import random_data

pytestmark = pytest.mark.django_db


def statistics(model, type_="float", key="k", filters=None, **bins):
    fields = {f"distribution_{name}": value for name, value in bins.items()}
    request = {"key": key, "type": type_, "filters": filters, **fields}
    return metadata_statistics(model, NewGetMetadataStatisticsRequest.model_validate(request))


def with_values(*values, type_="float"):
    model = make_model()
    requests = [make_request(model, metadata=[("k", type_, str(value))]) for value in values]
    store(model, *requests, make_request(model), make_request(model, metadata=[("k", "json", "1")]))
    return model


def edges_of(distribution):
    """The edges that the keys name, refusing a gap, a wrong bracket or a bound not in its shortest form."""
    edges = []
    for position, key in enumerate(distribution):
        last = position == len(distribution) - 1
        assert key[0] == "["
        assert key[-1] == ("]" if last else ")")
        low, high = key[1:-1].split(", ")
        assert repr(float(low)) == low
        assert repr(float(high)) == high
        assert not edges or float(low) == edges[-1]
        edges = [*edges, float(low), float(high)] if not edges else [*edges, float(high)]
    return sorted(set(edges))


def agrees(found, values, low=None, high=None):
    """Count, bounds and every bin, against the values themselves."""
    assert found.count == len(values)
    assert (found.min, found.max) == (float(min(values)), float(max(values)))
    low = float(min(values)) if low is None else low
    high = float(max(values)) if high is None else high
    inside = sum(low <= float(value) <= high for value in values)
    assert sum(found.distribution.values()) == inside
    if low > high:
        assert found.distribution == {}
        return
    edges = edges_of(found.distribution)
    assert (edges[0], edges[-1]) == (low, high)
    assert list(found.distribution.values()) == oracle.bins([float(value) for value in values], edges)


@pytest.mark.parametrize("with_slots", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_histograms_agree_with_brute_force(seed, with_slots):
    rng = random.Random(seed)
    model = make_model()
    requests = [random_data.random_request(rng, model, number) for number in range(60)]
    for number in range(60, 160):  # many values of one key
        type_ = rng.choice(["int", "float"])
        value = rng.choice([rng.randrange(10), rng.randrange(-(2**63), 2**63), rng.choice([0, 10, 20])])
        text = str(value) if type_ == "int" else repr(rng.choice([value / 10, rng.uniform(-1e6, 1e6), 1e308]))
        requests.append(
            make_request(
                model,
                str(number),
                metadata=[("k", type_, text)],
                source=rng.choice("ab"),
                created_at=random_data.START,
            )
        )
    if with_slots:
        random_data.give_slots(rng, model, random_data.searched_keys(requests))
    store(model, *requests)
    for _ in range(40):
        key, type_ = rng.choice(["k", "k", *random_data.KEYS]), rng.choice(["int", "float", "string"])
        chosen = random_data.conditions(rng, requests) if rng.random() < 0.3 else []
        filters = random_data.as_filter(chosen)
        try:
            values = oracle.observations(requests, filters, key, type_)
        except oracle.Unclear:
            continue
        if type_ == "string":
            found = statistics(model, type_, key, filters)
            assert found.count == len(values)
            assert found.distribution == {value: values.count(value) for value in values}
            by_rank = [(-count, value) for value, count in found.distribution.items()]
            assert by_rank == sorted(by_rank)
            assert (found.min, found.max, found.truncated) == (None, None, False)
            continue
        bins = {"bin_count": rng.choice([1, 2, 3, 7, 10, 100])} if rng.random() < 0.6 else {}
        low, high = sorted(rng.uniform(-20, 20) for _ in range(2))
        if rng.random() < 0.4:
            bins["minimum_value"] = float(round(low))
        if rng.random() < 0.4:
            bins["maximum_value"] = float(round(high))
        found = statistics(model, type_, key, filters, **bins)
        if not values:
            assert (found.count, found.distribution, found.min, found.max) == (0, {}, None, None)
        else:
            agrees(found, values, bins.get("minimum_value"), bins.get("maximum_value"))


def test_ten_bins_unless_asked():
    found = statistics(with_values(*range(11)))
    assert list(found.distribution) == [*(f"[{n}.0, {n + 1}.0)" for n in range(9)), "[9.0, 10.0]"]
    assert list(found.distribution.values()) == [1] * 9 + [2]
    assert (found.count, found.min, found.max) == (11, 0, 10)


def test_empty_bins_are_included():
    assert list(statistics(with_values(0, 10)).distribution.values()) == [1, *[0] * 8, 1]


def test_bins_by_count():
    found = statistics(with_values(1, 2, 3, 4, type_="int"), "int", bin_count=3)
    assert found.distribution == {"[1.0, 2.0)": 1, "[2.0, 3.0)": 1, "[3.0, 4.0]": 2}


def test_bins_by_width_end_at_the_maximum():
    found = statistics(with_values(0, 1, 2.5), bin_width=1)
    assert found.distribution == {"[0.0, 1.0)": 1, "[1.0, 2.0)": 1, "[2.0, 2.5]": 1}


@pytest.mark.parametrize("width", [0.1, 0.3, 1 / 3, 0.7])
def test_widths_that_binary_cannot_spell_leave_nothing_out(width):
    values = [step * 0.1 for step in range(12)]
    agrees(statistics(with_values(*values), bin_width=width), values)


def test_what_lies_outside_the_bounds_is_in_no_bin():
    found = statistics(with_values(-5, 0, 1, 2, 99), minimum_value=0, maximum_value=2, bin_count=2)
    assert found.distribution == {"[0.0, 1.0)": 1, "[1.0, 2.0]": 2}
    assert (found.count, found.min, found.max) == (5, -5, 99)


def test_bounds_wider_than_the_values():
    found = statistics(with_values(1), minimum_value=0, maximum_value=2, bin_width=1)
    assert found.distribution == {"[0.0, 1.0)": 0, "[1.0, 2.0]": 1}


def test_one_distinct_value_is_one_bin():
    found = statistics(with_values(7, 7, 7))
    assert found.distribution == {"[7.0, 7.0]": 3}
    assert (found.count, found.min, found.max) == (3, 7, 7)


def test_no_observation():
    for type_ in ("int", "float", "string"):
        found = statistics(with_values(), type_)
        assert (found.count, found.distribution, found.min, found.max) == (0, {}, None, None)


def test_neighbouring_floats():
    agrees(statistics(with_values(1.0, 1.0000000000000002)), [1.0, 1.0000000000000002])


def test_the_whole_range_of_floats():
    values = [-1.7976931348623157e308, 0.0, 5e-324, 1.7976931348623157e308]
    agrees(statistics(with_values(*values)), values)


def test_filters_apply():
    model = make_model()
    store(
        model,
        make_request(model, source="a", metadata=[("k", "int", "1")]),
        make_request(model, source="b", metadata=[("k", "int", "2")]),
    )
    found = statistics(model, "int", filters=BaseInferenceFilter(data_source_filter="b"))
    assert found.distribution == {"[2.0, 2.0]": 1}


def test_a_thousand_string_values_are_listed():
    model = with_values(*(f"v{number:04}" for number in range(1_000)), type_="string")
    found = statistics(model, "string")
    assert (found.count, len(found.distribution), found.truncated) == (1_000, 1_000, False)
    store(model, *(make_request(model, metadata=[("k", "string", value)]) for value in ("v0999", "v1000")))
    found = statistics(model, "string")
    assert (found.count, len(found.distribution), found.truncated) == (1_002, 1_000, True)
    assert next(iter(found.distribution.items())) == ("v0999", 2)
    assert "v1000" not in found.distribution


@pytest.mark.parametrize(
    "bins",
    [
        {"bin_count": 2, "bin_width": 1},
        {"bin_count": 0},
        {"bin_count": 10_001},
        {"bin_width": 0},
        {"bin_width": -1},
        {"bin_width": float("nan")},
        {"minimum_value": 2, "maximum_value": 1},
        {"maximum_value": float("inf")},
    ],
)
def test_bins_that_make_no_sense(bins):
    with pytest.raises(ValidationError):
        statistics(None, **bins)


def test_a_width_that_makes_too_many_bins():
    with pytest.raises(Refusal) as refused:
        statistics(with_values(0, 10_001), bin_width=1)
    assert refused.value.status == 400
    assert len(statistics(with_values(0, 10_000), bin_width=1).distribution) == 10_000
