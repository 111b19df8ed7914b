"""Indexes are built, absorbed, dropped and recovered while others write, and search is right throughout."""

import threading
from io import StringIO
from itertools import pairwise, product

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.db.models.functions import Now

from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import Embedding, Inference, UnitEmbedding, VectorIndex
from inference_store.models.job import hence
from inference_store.query import neighbours
from inference_store.services import deletion, vector_indexes
from tests.making import make_model, make_request, store
from tests.neighbourhood import clustered, distances, make_units, nearest, plant, request_of, share_found

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = 16
BUILDERS = """
    select pid from pg_stat_clear_snapshot(), pg_stat_progress_create_index
     where relid = 'inference_store_unitembedding'::regclass
"""


@pytest.fixture(autouse=True)
def from_a_thousand_on(settings):
    settings.VECTOR_INDEX_ROWS = 1_000
    yield
    VectorIndex.objects.all().delete()
    vector_indexes.drop_unneeded()


def stored_indexes():
    """Name and whether it is valid, of each there is."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select relname, indisvalid from pg_index join pg_class on oid = indexrelid "
            "where relname like 'embedding\\_ivf%'"
        )
        return dict(cursor.fetchall())


def chain_of(model, metric=neighbours.COSINE):
    return VectorIndex.objects.chain(model, metric)


def planted(count, seed=1, **more):
    vectors, cluster = clustered(count, SIZE, seed)
    model = make_model(embedding_size=SIZE, **more)
    return model, vectors, plant(model, vectors, cluster)


def add(model, count, first, seed):
    vectors, cluster = clustered(count, SIZE, seed)
    return vectors, plant(model, vectors, cluster, first)


def check(model, vectors, metric="cosine", seed=50):
    """Search finds what brute force finds; `vectors` by id."""
    ids, stacked = list(vectors), np.stack(list(vectors.values()))
    shares = []
    for query in clustered(10, SIZE, seed)[0]:
        expected = distances(metric, query, stacked)
        rows = nearest(model, query, metric)
        assert len({key for key, _ in rows}) == min(50, len(ids))
        assert {key for key, _ in rows} <= set(ids)
        shares.append(share_found(rows, expected, 50))
    assert np.mean(shares) >= 0.99


def by_id(vectors, first=0):
    return {str(first + number): vector for number, vector in enumerate(vectors)}


def test_none_for_few():
    model, vectors, _ = planted(999)
    assert vector_indexes.build_due() == 0
    assert vector_indexes.build_due(at_once=True) == 0
    check(model, by_id(vectors))


def test_each_is_at_most_as_large_as_all_before_it():
    model, vectors, _ = planted(1_000)
    held, sizes = by_id(vectors), []
    for number in range(6):
        assert vector_indexes.build_due() == 1
        assert vector_indexes.build_due() == 0
        chain = chain_of(model)
        assert chain[0].after == 0
        assert all(one.watermark == other.after for one, other in pairwise(chain))
        assert sum(index.row_count for index in chain) == len(held)
        sizes.append([index.row_count // 1_000 for index in chain])
        check(model, held, seed=number)
        more, _ = add(model, 1_000, len(held), 10 + number)
        held |= by_id(more, len(held))
    assert sizes == [[1], [2], [2, 1], [4], [4, 1], [4, 2]]
    assert len(stored_indexes()) == 6  # nobody who has just chosen one is to find it gone
    VectorIndex.objects.filter(state="leaving").update(changed_at=hence(-vector_indexes.GRACE_SECONDS - 1))
    assert vector_indexes.drop_unneeded() == 4
    assert stored_indexes() == {index.name: True for index in chain_of(model)}
    check(model, held)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_of_each_index_as_many_lists_are_read_as_are_meant_for_it(metric):
    """The number is set within the statement, by what a scan orders by."""
    model, vectors, _ = planted(2_000)
    neighbours._here.wanted = {(model.pk, metric)}
    vector_indexes.write_down_wanted()
    vector_indexes.build_due()
    more, _ = add(model, 1_000, 2_000, 12)
    vector_indexes.build_due()
    chain = chain_of(model, metric)
    assert [index.row_count for index in chain] == [2_000, 1_000]
    request = request_of(vectors[0] - more[0], metric)
    search = neighbours._Search(model, request, request.embedding_filters, chain)
    few, whole = ([search._by_lists([(index, n)], 100)[0] for index in chain] for n in (1, 1_000))
    assert [len(each) for each in whole] == [100, 100]
    assert few[0] != whole[0]
    assert few[1] != whole[1]
    for _ in range(8):  # the last ones by a plan that was made once for all values
        for counts in product((1, 1_000), repeat=2):
            found = search._by_lists([*zip(chain, counts, strict=True)], 100)
            assert found == [(few if n == 1 else whole)[at] for at, n in enumerate(counts)]
    exact = distances(metric, vectors[0] - more[0], vectors)
    assert np.allclose([distance for distance, _ in whole[0]], np.sort(exact)[:100], atol=1e-4)


def test_deleted_and_restored_and_new_embeddings():
    model, vectors, keys = planted(3_000)
    vector_indexes.build_due()
    held = by_id(vectors)
    gone = [number for number in range(3_000) if number % 3 == 0]
    with transaction.atomic():
        deletion.delete_rows([keys[number] for number in gone])
    held = {key: vector for key, vector in held.items() if int(key) not in set(gone)}
    assert UnitEmbedding.objects.count() == len(held)
    check(model, held)
    new = [0.5] * SIZE
    store(model, make_request(model, "new", embedding=new))
    assert nearest(model, np.array(new, np.float32))[0] == ("new", pytest.approx(0, abs=1e-6))
    # What comes back has an old key: its row goes into the index.
    Embedding.objects.create(inference_id=keys[0], registered_model=model, vector=[3e38] * SIZE)
    make_units(keys[:1])
    again = Inference.objects.get(pk=keys[1])
    again.pk, again.inference_id = keys[0], "again"
    again.save(force_insert=True)
    assert {each for each, _ in nearest(model, np.array(new, np.float32), limit=2)} == {"new", "again"}
    deletion.delete_matching(model=model, filters=BaseInferenceFilter())
    assert nearest(model, vectors[0]) == []


def test_an_index_whose_rows_are_gone_is_built_again():
    model, vectors, keys = planted(3_000)
    vector_indexes.build_due()
    with transaction.atomic():
        deletion.delete_rows(keys[:2_900])
    with connection.cursor() as cursor:
        cursor.execute("vacuum inference_store_unitembedding")
    check(model, dict(list(by_id(vectors).items())[2_900:]))
    assert vector_indexes.build_due() == 1
    assert [index.row_count for index in chain_of(model)] == [100]
    check(model, dict(list(by_id(vectors).items())[2_900:]))
    assert vector_indexes.build_due() == 0


@pytest.mark.parametrize("metric", ["l2", "negative_dot_product"])
def test_other_metrics_once_they_are_asked_for(metric):
    model, vectors, _ = planted(2_000)
    vector_indexes.build_due()
    assert {index.metric for index in VectorIndex.objects.all()} == {"cosine"}
    check(model, by_id(vectors), metric)
    gone = make_model(embedding_size=SIZE)
    nearest(gone, vectors[0], metric)
    gone.delete()
    vector_indexes.write_down_wanted()
    assert not neighbours.take_wanted()
    assert vector_indexes.build_due() == 1
    assert [index.state for index in VectorIndex.objects.filter(metric=metric)] == ["ready"]
    check(model, by_id(vectors), metric)


def test_what_cannot_be_indexed_stays_exact():
    model, vectors, _ = planted(2_000)
    huge = {str(number): np.full(SIZE, 3e38 * (-1) ** number, np.float32) for number in range(2_000, 2_100)}
    plant(model, np.stack(list(huge.values())), np.zeros(100, int), 2_000)
    VectorIndex.objects.create(registered_model=model, metric="l2", state="wanted")
    assert vector_indexes.build_due() >= 1
    assert [index.row_count for index in chain_of(model)] == [2_100]
    for metric in ("cosine", "l2"):
        check(model, by_id(vectors) | huge, metric)
    failed = VectorIndex.objects.filter(state="failed")
    for index in failed:
        assert index.error
    before = failed.count()
    assert vector_indexes.build_due() == 0
    assert failed.count() == before


def test_vectors_that_halves_cannot_tell_apart():
    angles = np.linspace(0, 0.1, 2_000)
    vectors = np.zeros((2_000, SIZE), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    model = make_model(embedding_size=SIZE)
    plant(model, vectors, np.zeros(2_000, int))
    assert vector_indexes.build_due() == 0
    (index,) = VectorIndex.objects.all()
    assert index.state == "failed"
    assert index.error.startswith("recall 0.")
    assert vector_indexes.build_due() == 0
    assert [int(key) for key, _ in nearest(model, vectors[0], "l2")] == list(range(50))
    assert vector_indexes.drop_unneeded() == 0
    assert stored_indexes() == {}
    plant(model, clustered(2_100, SIZE)[0], np.zeros(2_100, int), 2_000)
    vector_indexes.build_due()
    assert not VectorIndex.objects.filter(pk=index.pk).exists()  # twice as many: it was tried again


def test_too_many_numbers_for_an_index():
    model = make_model(embedding_size=4_001)
    assert not vector_indexes.indexable(model, neighbours.COSINE)
    assert vector_indexes.build_due(at_once=True) == 0


def test_one_builds_at_a_time():
    model, _, _ = planted(1_000)
    other = VectorIndex.objects.create(
        registered_model=model, metric="l2", state="building", claimed_until=hence(60)
    )
    assert vector_indexes.build_due() == 0
    other.delete()
    assert vector_indexes.build_due() == 1


def test_a_killed_build_is_dropped_and_begun_again():
    model, vectors, _ = planted(1_500)
    errors = []

    def build():
        try:
            vector_indexes.build_due()
        except OperationalError as error:
            errors.append(error)
        finally:
            connections.close_all()

    # A transaction that may have written keeps the build waiting, half done.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("delete from inference_store_unitembedding where false")
        builder = threading.Thread(target=build)
        builder.start()
        while (row := cursor.execute(BUILDERS).fetchone()) is None:
            assert builder.is_alive()
        dropped_meanwhile = vector_indexes.drop_unneeded()
        cursor.execute("select pg_terminate_backend(%s)", row)
        builder.join(60)
    assert dropped_meanwhile == 0
    assert len(errors) == 1
    assert list(stored_indexes().values()) == [False]
    check(model, by_id(vectors))
    assert vector_indexes.build_due() == 0  # somebody may still be at it
    VectorIndex.objects.filter(state="building").update(claimed_until=Now() - (hence(1) - Now()))
    assert vector_indexes.build_due() == 1
    assert list(stored_indexes().values()) == [True]
    check(model, by_id(vectors))


def test_an_id_that_was_taken_early_and_stored_late():
    model, vectors, keys = planted(1_500)

    def build():
        add(model, 100, 1_500, 2)
        vector_indexes.build_due()
        connections.close_all()

    builder = threading.Thread(target=build)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select nextval('inference_store_inference_id_seq')")
        (early,) = cursor.fetchone()
        builder.start()
        while not VectorIndex.objects.filter(state="building").exists():
            assert builder.is_alive()
        late = Inference.objects.get(pk=keys[0])
        late.pk, late.inference_id = early, "late"
        late.save(force_insert=True)
        Embedding.objects.create(inference_id=early, registered_model=model, vector=-vectors[0])
    builder.join(60)
    (index,) = chain_of(model)
    assert index.after < early < index.watermark
    assert UnitEmbedding.objects.filter(pk=early).exists()
    assert nearest(model, -vectors[0], limit=1)[0][0] == "late"


def test_search_is_whole_while_others_write_and_indexes_are_built():
    model, vectors, _ = planted(1_500)
    held, lock, done = by_id(vectors), threading.Lock(), threading.Event()
    failures = []

    def write():
        try:
            for turn in range(12):
                vectors, cluster = clustered(250, SIZE, 200 + turn)
                with lock:
                    first = len(held)
                plant(model, vectors, cluster, first, analyzed=False)
                with lock:
                    held.update(by_id(vectors, first))
                rows = nearest(model, vectors[3])
                assert str(first + 3) in {key for key, _ in rows}
                assert len(rows) == 50
        except BaseException as failure:
            failures.append(failure)
            raise
        finally:
            done.set()
            connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        vector_indexes.build_due(at_once=True)
        with lock:
            known = set(held)
        rows = nearest(model, clustered(1, SIZE, 300)[0][0])
        assert len({key for key, _ in rows}) == 50
        assert known
    writer.join()
    assert not failures
    vector_indexes.build_due(at_once=True)
    assert sum(index.row_count for index in chain_of(model)) > 3_000
    check(model, held)


def test_the_command():
    model, _, _ = planted(1_200)
    with pytest.raises(CommandError):
        call_command("build_vector_indexes", model="nobody")
    said = StringIO()
    call_command("build_vector_indexes", model=model.model_id, stdout=said)
    assert said.getvalue().startswith("1 vector indexes built.\n")
    assert f"{model.model_id} cosine: 1,200 embeddings, ready" in said.getvalue()


def test_what_an_index_held_back_goes_before_what_is_farther(monkeypatch):
    """A filter that rejects all that is nearest, in a model whose newest match but are far."""
    monkeypatch.setattr(neighbours, "FEW_PER_ROOT", dict.fromkeys(neighbours.FEW_PER_ROOT, 0))
    random = np.random.default_rng(8)
    angles = np.concatenate([np.linspace(0.2, 0.5, 2_500), np.linspace(0.5, 0.8, 2_500), np.full(200, 1.5)])
    aside = random.normal(size=(len(angles), SIZE)).astype(np.float32)
    aside[:, 0] = 0
    aside *= (np.sin(angles) / np.linalg.norm(aside, axis=1))[:, None]
    vectors = aside + np.cos(angles)[:, None].astype(np.float32) * np.eye(SIZE, dtype=np.float32)[0]
    kind = (np.arange(len(angles)) >= 2_500).astype(int)
    model = make_model(embedding_size=SIZE)
    plant(model, vectors[:5_000], kind)
    assert vector_indexes.build_due() == 1
    plant(model, vectors[5_000:], kind[5_000:], 5_000)
    of_kind = {"metadata_filter": [{"key": "cluster", "operator": "=", "type": "int", "value": "1"}]}
    query = np.eye(SIZE, dtype=np.float32)[0]
    for limit in (1, 50, 400):
        rows = nearest(model, query, "cosine", of_kind, limit=limit)
        assert share_found(rows, distances("cosine", query, vectors[2_500:]), limit) == 1
