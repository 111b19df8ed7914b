"""Of many inferences deleted at once, entries and embeddings go later; no read may see them meanwhile."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.models import Embedding, Entry, Inference, Leftover
from inference_store.query import facets, neighbours, pages
from inference_store.query.charts import count_entries
from inference_store.query.counts import count_matching
from inference_store.query.granular import granular_page
from inference_store.query.matching import matching
from inference_store.services import catalogues, deletion, leftovers, vector_indexes
from tests.making import make_model, make_request, store
from tests.neighbourhood import clustered, distances, nearest, plant, share_found

LABELS = "abc"


@pytest.fixture
def few_are_many(monkeypatch):
    """Whatever is deleted by a filter leaves something, in several rows and after several statements."""
    monkeypatch.setattr(deletion, "REMOVED_AT_ONCE", 0)
    monkeypatch.setattr(deletion, "DELETED_AT_ONCE", 3)
    monkeypatch.setattr(leftovers, "LEFT_AT_ONCE", 2)
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)


def keep_some(rng, model, ids):
    requests = [
        make_request(
            model,
            each,
            source=rng.choice("xyz"),
            entries=[{"label": rng.choice(LABELS), "score": rng.random()} for _ in range(rng.randrange(4))],
            embedding=[rng.random(), rng.random()],
        )
        for each in ids
    ]
    store(model, *requests)


def of_source(source):
    return BaseInferenceFilter(data_source_filter=source)


def asking(labels):
    return BaseInferenceFilter(deconstructed_inference_filter={"labels": labels, "minimum_score": 0.3})


def labels_of(model):
    """By reading every entry that has its inference."""
    found = {}
    for label in Entry.objects.filter(inference__in=model.inferences.all()).values_list("label", flat=True):
        found[label] = found.get(label, 0) + 1
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))


def disagreeing(model):
    """What reads tell that the inferences with their entries don't."""
    live = set(model.inferences.values_list("inference_id", flat=True))
    wrong = []
    for labels in ("a", "bc", LABELS):
        told, true = count_matching(model, asking([*labels])), matching(model, asking([*labels])).count()
        wrong += [(labels, told, true)] if told != true else []
    if facets.labels(model) != labels_of(model):
        wrong.append((facets.labels(model), labels_of(model)))
    if count_entries(model, BaseInferenceFilter()) != sum(count for _, count in labels_of(model)):
        wrong.append("entries")
    request = NewGetInferencesRequest.model_validate({"pagination": {"limit": 1_000}})
    rows = granular_page(model, request).granular_inferences
    if len(rows) != sum(count for _, count in labels_of(model)):
        wrong.append("granular rows")
    for sort in ("label", "score"):
        page = pages.inference_page(
            model, NewGetInferencesRequest.model_validate({"pagination": {"sort": sort}})
        )
        wrong += [] if sorted(each.inference_id for each in page.inferences) == sorted(live) else [sort]
        pagination = {"limit": 1_000, "sort": sort}
        rows = granular_page(model, NewGetInferencesRequest.model_validate({"pagination": pagination}))
        if len(rows.granular_inferences) != sum(count for _, count in labels_of(model)):
            wrong.append(f"granular rows by {sort}")
    near = {"embedding_filters": {"query_embedding": [1.0, 0.5], "distance_metric": "l2"}}
    page = pages.inference_page(model, NewGetInferencesRequest.model_validate(near))
    if {each.inference_id for each in page.inferences} != live:
        wrong.append("neighbours")
    return wrong


def assert_nothing_is_left():
    live = set(Inference.objects.values_list("pk", flat=True))
    assert not Leftover.objects.exists()
    for table in (Entry, Embedding):
        assert set(table.objects.values_list("inference_id", flat=True)) <= live


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(4))
def test_every_read_agrees_from_the_answer_on(seed, few_are_many):
    rng, model = random.Random(seed), make_model(embedding_size=2)
    left = 0
    for turn in range(12):
        # Ids that were deleted are stored again at once, with other entries.
        live = set(model.inferences.values_list("inference_id", flat=True))
        keep_some(rng, model, [each for each in map(str, range(16)) if each not in live])
        doomed = of_source(rng.choice("xyz"))
        expected = set(matching(model, doomed).values_list("inference_id", flat=True))
        assert set(deletion.delete_matching(model=model, filters=doomed)) == expected
        left = max(left, Leftover.objects.count())
        assert disagreeing(model) == []
        if turn == 5:
            catalogues.begin(model, "label")
        if rng.random() < 0.3:
            leftovers.remove_leftovers(seconds=0)
        assert disagreeing(model) == []
    assert left > 1
    leftovers.remove_leftovers()
    assert_nothing_is_left()
    assert disagreeing(model) == []


@pytest.mark.django_db
def test_few_go_whole():
    model = make_model(embedding_size=2)
    keep_some(random.Random(1), model, "123")
    assert len(deletion.delete_matching(model=model, filters=BaseInferenceFilter())) == 3
    assert_nothing_is_left()
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_a_crash_leaves_them_to_the_next_run(monkeypatch, few_are_many):
    model = make_model(embedding_size=2)
    keep_some(random.Random(2), model, map(str, range(9)))
    deletion.delete_matching(model=model, filters=BaseInferenceFilter())
    real, dead = leftovers.remove, []

    def remove(keys):
        real(keys)
        if len(dead) == 0:
            dead.append(keys)
            raise MemoryError

    monkeypatch.setattr(leftovers, "remove", remove)
    with pytest.raises(MemoryError), transaction.atomic():
        leftovers.remove_leftovers()
    assert disagreeing(model) == []
    assert leftovers.remove_leftovers() == 9
    assert_nothing_is_left()


@pytest.mark.django_db(transaction=True)
def test_neighbours_by_index_are_live(settings, monkeypatch):
    settings.VECTOR_INDEX_ROWS = 1_000
    monkeypatch.setattr(deletion, "REMOVED_AT_ONCE", 10)
    model = make_model(embedding_size=8)
    vectors, cluster = clustered(3_000, 8)
    plant(model, vectors, cluster)
    assert vector_indexes.build_due(model) == 1
    neighbours.look_up_again()
    queries = vectors[cluster == cluster[0]][:10]
    wanted = {"key": "cluster", "operator": "=", "type": "int", "value": str(int(cluster[0]))}
    gone = deletion.delete_matching(model=model, filters=BaseInferenceFilter(metadata_filter=[wanted]))
    assert len(gone) > 100
    for _ in range(2):
        for query in queries:
            rows = nearest(model, query, "cosine")
            assert not {inference_id for inference_id, _ in rows} & set(gone)
            # All that was near is gone: what is left lies far away, in lists that none of the measured meets.
            expected = distances("cosine", query, vectors[cluster != cluster[0]])
            assert share_found(rows, expected, 50) == 1
        leftovers.remove_leftovers()
    assert_nothing_is_left()
    model.inferences.all().delete()
    Embedding.objects.all().delete()
    vector_indexes.drop_unneeded()
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_what_another_changed_meanwhile_stays():
    model = make_model(embedding_size=2)
    keep_some(random.Random(3), model, map(str, range(7)))
    model.inferences.update(data_source="x")

    def delete():
        try:
            return deletion.delete_matching(model=model, filters=of_source("x"))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            model.inferences.filter(inference_id="3").update(data_source="y")
            deleting = pool.submit(delete)
            while not waiting() and not deleting.done():
                pass
        assert sorted(deleting.result(60)) == list("012456")
    assert model.inferences.get().inference_id == "3"
    assert set(Entry.objects.values_list("inference__inference_id", flat=True)) <= {"3"}


def waiting():
    """Whether some statement waits for another's row."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_stat_clear_snapshot()")
        cursor.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
        return cursor.fetchone()[0] > 0
