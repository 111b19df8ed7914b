"""Codes are made in the background, and searches miss nothing that comes, goes or comes back meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import numpy as np
import pytest
from django.db import connection, transaction

from inference_store.models import Embedding, Inference, Leftover, UnitEmbedding, VectorCodes, VectorIndex
from inference_store.query import code_search, column_cache, neighbours, pages
from inference_store.services import deletion, soft_deletion, vector_codes, vector_indexes
from tests.making import make_model
from tests.neighbourhood import clustered, distances, make_units, nearest, plant, request_of
from tests.query.coded import ALL, SIZE, Planted, below

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def of_a_hundred_on(settings, monkeypatch):
    settings.VECTOR_INDEX_ROWS = 1_000
    monkeypatch.setattr(neighbours, "CODED_FROM", 100)
    yield
    VectorIndex.objects.all().delete()
    vector_indexes.drop_unneeded()


def first_of_one_sign(vectors):
    return np.concatenate([np.abs(vectors[:1_500]), vectors[1_500:]])


def of_one_sign(vectors):
    return np.maximum(vectors, 0)


def some_zeros(vectors):
    vectors[500:1_500] = 0
    return vectors


def in_its_own_connection(function, *arguments):
    try:
        return function(*arguments)
    finally:
        connection.close()


def tiny_numbers(vectors):
    vectors[:, 5:] = 1e-9
    return vectors


def test_a_zero_query_which_is_as_far_from_everything():
    """Though it differs in more signs from some."""
    planted = Planted(change=first_of_one_sign)
    assert code_search.with_codes(planted.chain(), SIZE)
    zero = np.zeros(SIZE, np.float32)
    assert [key for key, _ in nearest(planted.model, zero, filters=ALL, limit=3)] == ["0", "1", "2"]


def test_what_was_deleted_and_what_was_restored(read):
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    order = np.argsort(distances("cosine", query, planted.vectors))
    nearest_of_all = [str(number) for number in order[:60]]
    assert [key for key, _ in nearest(planted.model, query, filters=ALL, limit=60)] == nearest_of_all
    with transaction.atomic():
        deletion.delete_rows([planted.keys[number] for number in order[:20]])
    rows = nearest(planted.model, query, filters=ALL, limit=40)
    assert [key for key, _ in rows] == nearest_of_all[20:]
    # An id that was not there when codes were made has none.
    VectorCodes.objects.all().delete()
    VectorIndex.objects.update(spreads=None)
    column_cache.forget()
    vector_indexes.build_due(planted.model)
    again = Inference.objects.get(pk=planted.keys[order[30]])
    again.pk, again.inference_id = planted.keys[order[0]], "again"
    again.save(force_insert=True)
    Embedding.objects.create(
        inference_id=again.pk, registered_model=planted.model, vector=planted.vectors[order[0]]
    )
    make_units([again.pk])
    read.clear()
    rows = nearest(planted.model, query, filters=ALL, limit=40)
    assert [key for key, _ in rows] == ["again", *nearest_of_all[20:59]]
    assert read[-1] < 2_000


def test_indexes_of_before_get_codes_and_lose_them_with_the_index():
    planted = Planted()
    made = VectorCodes.objects.count()
    assert made >= 2
    VectorCodes.objects.all().delete()
    VectorIndex.objects.update(spreads=None)
    query = clustered(1, SIZE, 3)[0][0]
    neighbours.look_up_again()
    assert not code_search.with_codes(planted.chain(), SIZE)
    assert planted.find(query, planted.at < 2, ALL) == 1
    assert vector_codes.make_due(planted.model) == 2
    assert vector_codes.make_due(planted.model) == 0
    assert VectorCodes.objects.count() == made
    assert code_search.with_codes(planted.chain(), SIZE)
    first, last = planted.chain()
    first.delete()
    assert set(VectorCodes.objects.values_list("vector_index", flat=True)) == {last.pk}


def test_who_died_while_making_them(monkeypatch):
    monkeypatch.setattr(vector_codes, "READ_AT_ONCE", 100)
    planted = Planted()
    VectorIndex.objects.update(spreads=None)
    first, _ = planted.chain()
    VectorCodes.objects.filter(vector_index=first).update(keys=b"", codes=b"")
    column_cache.forget()
    assert vector_codes.make_due(planted.model) == 2
    assert vector_codes.make_due(planted.model) == 0
    query = clustered(1, SIZE, 3)[0][0]
    assert code_search.Coded(planted.chain(), query).first.tolist() == [0, 2_999, 4_499]


def test_an_index_that_goes_away_while_they_are_made(monkeypatch):
    planted = Planted()
    VectorIndex.objects.update(spreads=None)
    real = vector_codes._spreads

    def spreads(index, model):
        found = real(index, model)
        VectorIndex.objects.filter(pk=index.pk).delete()
        return found

    monkeypatch.setattr(vector_codes, "_spreads", spreads)
    assert vector_codes.make_due(planted.model) == 0
    assert not VectorCodes.objects.exists()


def test_an_index_of_zero_vectors_alone():
    model = make_model(embedding_size=SIZE)
    plant(model, np.zeros((1_200, SIZE), np.float32), np.zeros(1_200, int))
    vector_indexes.build_due(model)
    assert VectorIndex.objects.get().spreads == [SIZE, SIZE, pytest.approx(np.pi)]
    assert not VectorCodes.objects.exists()


@pytest.mark.parametrize("change", [of_one_sign, tiny_numbers])
def test_embeddings_of_other_kinds(change):
    planted = Planted(change=change)
    queries = change(clustered(12, SIZE, 7)[0])
    shares = [planted.find(query, planted.at < 2, ALL, 10) for query in queries]
    shares += [planted.find(planted.vectors[number], planted.at < 2, ALL, 10) for number in (1, 2_000, 4_000)]
    assert np.mean(shares) >= 0.995


def test_matches_without_an_embedding(read):
    planted = Planted()
    without = planted.keys[:4_000:2]
    Embedding.objects.filter(pk__in=without).delete()
    UnitEmbedding.objects.filter(pk__in=without).delete()
    VectorIndex.objects.update(spreads=None)
    column_cache.forget()
    vector_codes.make_due(planted.model)
    left = np.ones(4_700, bool)
    left[:4_000:2] = False
    assert planted.find(clustered(1, SIZE, 3)[0][0], left, ALL) == 1
    assert len(read) == 1
    assert read[0] < 2_000 + 2_500 / 4


def test_codes_that_tell_too_little_are_not_kept(read):
    planted = Planted(size=16)
    assert all(index.spreads[1] > 16 * code_search.MOST_SPREAD for index in planted.chain())
    assert not VectorCodes.objects.exists()
    assert vector_codes.make_due(planted.model) == 0
    assert planted.find(clustered(1, 16, 3)[0][0], planted.at < 0.5, below(0.5)) == 1
    assert read == [sum(planted.at[:4_500] < 0.5)]


def test_an_index_that_goes_away_meanwhile(monkeypatch):
    """Its chain is still remembered: all is read."""
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    real = code_search._read

    def read(index, size):
        VectorCodes.objects.all().delete()
        return real(index, size)

    monkeypatch.setattr(code_search, "_read", read)
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1


def test_parts_that_are_made_anew_while_they_are_read(monkeypatch):
    monkeypatch.setattr(vector_codes, "READ_AT_ONCE", 50)
    planted = Planted()
    [first, _] = planted.chain()
    assert VectorCodes.objects.filter(vector_index=first).count() > 2
    real, seen = code_search.statements.rows, []

    def rows(statement, values, **options):
        if "select keys, codes" in statement:
            seen.append(values)
            VectorCodes.objects.filter(vector_index=first, part=1).update(keys=b"", codes=b"")
        return real(statement, values, **options)

    monkeypatch.setattr(code_search.statements, "rows", rows)
    assert not len(code_search._read(first, SIZE).keys)
    assert seen


def test_what_was_not_there_is_looked_for_again(read):
    """As on a replica that is told of an index before it is sent the codes."""
    planted = Planted()
    query, parts = clustered(1, SIZE, 3)[0][0], list(VectorCodes.objects.all())
    VectorCodes.objects.all().delete()
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1
    VectorCodes.objects.bulk_create(parts)
    assert planted.find(query, planted.at < 0.5, below(0.5)) == 1
    assert read[0] == sum(planted.at[:4_500] < 0.5)
    assert read[1] < read[0] / 4


def test_a_zero_vector_among_all(by_codes):
    planted = Planted(change=np.abs)
    query = -planted.vectors[0]
    assert nearest(planted.model, query, filters={}, limit=1) == [("7", pytest.approx(1, abs=1e-6))]
    assert by_codes == [None]


def test_what_was_deleted_is_not_found_and_what_is_newer_is(by_codes):
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    order = np.argsort(distances("cosine", query, planted.vectors))
    names = [str(number) for number in order]
    assert any(number >= 4_500 for number in order[:60])
    assert [key for key, _ in nearest(planted.model, query, limit=60)] == names[:60]
    with transaction.atomic():
        deletion.delete_rows([planted.keys[number] for number in order[:300]])
    assert [key for key, _ in nearest(planted.model, query, limit=60)] == names[300:360]
    Inference.objects.filter(inference_id=names[300]).delete()  # as a large deletion leaves it
    Leftover.objects.create(registered_model=planted.model, keys=[planted.keys[order[300]]])
    assert [key for key, _ in nearest(planted.model, query, limit=60)] == names[301:361]
    assert by_codes[0]
    assert all(by_codes)


def put_away(keys):
    with transaction.atomic():
        soft_deletion.keep(keys, uuid4())
        deletion.delete_rows(keys)


@pytest.mark.parametrize("made_anew", [True, False])
def test_what_was_restored_is_found_at_once(by_codes, made_anew):
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    order = np.argsort(distances("cosine", query, planted.vectors[:3_000]))
    gone = [planted.keys[number] for number in order[:2]]
    put_away(gone)
    if made_anew:  # without those that are away
        VectorIndex.objects.update(spreads=None)
        column_cache.forget()
        vector_codes.make_due(planted.model)
    before = nearest(planted.model, query, limit=40)
    assert by_codes[-1]
    assert not {str(number) for number in order[:2]} & {key for key, _ in before}
    restored = soft_deletion.restore_deleted(model=planted.model)
    assert len(restored.restored) == 2
    after = nearest(planted.model, query, limit=40)
    assert {str(number) for number in order[:2]} < {key for key, _ in after}
    assert by_codes[-1] is None
    first, last = planted.chain()
    assert (first.spreads is None, last.spreads is None) == (True, False)
    assert vector_codes.make_due(planted.model) == 1
    assert nearest(planted.model, query, limit=40) == after
    assert by_codes[-1]


def test_what_is_restored_while_codes_are_made(by_codes, monkeypatch):
    planted = Planted()
    put_away(planted.keys[:1])
    VectorIndex.objects.update(spreads=None)
    column_cache.forget()
    real = vector_codes._parts

    def parts(index):
        yield from real(index)
        soft_deletion.restore_deleted(model=planted.model)

    monkeypatch.setattr(vector_codes, "_parts", parts)
    assert vector_codes.make_due(planted.model) == 1
    assert [index.spreads is None for index in planted.chain()] == [True, False]
    assert nearest(planted.model, planted.vectors[0], limit=1)[0][0] == "0"
    monkeypatch.setattr(vector_codes, "_parts", real)
    assert vector_codes.make_due(planted.model) == 1
    assert nearest(planted.model, planted.vectors[0], limit=1)[0][0] == "0"
    assert by_codes[-1]


def come():
    """What is read in the background has come."""
    with column_cache._lock:
        coming = list(column_cache._coming.values())
    for thread in coming:
        thread.join()


def test_many_are_read_in_the_background(by_codes, monkeypatch):
    monkeypatch.setattr(code_search, "MOST_AWAITED", 2_000)
    planted = Planted()
    query = clustered(1, SIZE, 3)[0][0]
    with column_cache._bringing:  # nothing comes meanwhile
        assert planted.find(query, planted.at < 2, {}) == 1
        assert planted.find(query, planted.at < 0.5, below(0.5)) == 1
    come()
    assert planted.find(query, planted.at < 2, {}) == 1
    assert [bool(each) for each in by_codes] == [False, True]


def rename(old, new):
    with connection.cursor() as cursor:
        cursor.execute(f"alter table {old} rename to {new}")


def test_what_could_not_be_read_is_read_again(by_codes, monkeypatch, caplog):
    monkeypatch.setattr(code_search, "MOST_AWAITED", 0)
    planted = Planted()
    query, table = clustered(1, SIZE, 3)[0][0], VectorCodes._meta.db_table
    rename(table, "away")
    try:
        assert planted.find(query, planted.at < 2, {}) == 1
        come()
    finally:
        rename("away", table)
    assert "read when it is asked for again" in caplog.text
    assert planted.find(query, planted.at < 2, {}) == 1
    come()
    assert planted.find(query, planted.at < 2, {}) == 1
    assert [bool(each) for each in by_codes] == [False, False, True]


def test_codes_of_another_claim_are_not_read():
    """As on a replica, which has not heard of what the primary has told this process."""
    planted = Planted()
    [first, _] = planted.chain()
    assert len(code_search._read(first, SIZE).keys) == 2_999
    first.claim = uuid4()
    assert not len(code_search._read(first, SIZE).keys)
    VectorIndex.objects.filter(pk=first.pk).update(claim=first.claim, spreads=None)
    assert not len(code_search._read(first, SIZE).keys)


def test_parts_without_a_code_and_of_an_earlier_making(monkeypatch):
    monkeypatch.setattr(vector_codes, "READ_AT_ONCE", 50)
    planted = Planted(change=some_zeros)
    [first, _] = planted.chain()
    numbers = VectorCodes.objects.filter(vector_index=first).order_by("part").values_list("part", flat=True)
    assert list(numbers) == [0, 3, 4, 5]
    expected = [*planted.keys[:7], *planted.keys[8:500], *planted.keys[1_500:3_000]]
    assert code_search._read(first, SIZE).keys.tolist() == expected
    with transaction.atomic():
        deletion.delete_rows(planted.keys[2_000:3_000])
    VectorIndex.objects.filter(pk=first.pk).update(claim=uuid4(), spreads=None)
    assert vector_codes.make_due(planted.model) == 1
    assert code_search._read(planted.chain()[0], SIZE).keys.tolist() == expected[:999]


def test_one_makes_them_at_a_time():
    planted = Planted()
    VectorIndex.objects.update(spreads=None)
    parts = set(VectorCodes.objects.values_list("pk", flat=True))
    with ThreadPoolExecutor(1) as other, transaction.atomic():
        assert vector_codes._lock(planted.model)
        assert other.submit(in_its_own_connection, vector_codes.make_due, planted.model).result() == 0
    assert set(VectorCodes.objects.values_list("pk", flat=True)) == parts
    assert vector_codes.make_due(planted.model) == 2


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_few_that_are_unlike_the_many_that_are_all_the_same(by_codes, share):
    others = np.random.default_rng(3).random(4_700) < share

    def mostly_equal(vectors):
        return np.where(others[:, None], vectors, np.ones_like(vectors))

    planted = Planted(change=mostly_equal)
    shares = []
    for number in np.flatnonzero(others)[:12]:
        query = 0.8 * planted.vectors[number] + 0.2 * clustered(1, SIZE, int(number))[0][0]
        shares.append(planted.find(query, planted.at < 2, {}, 11))
        shares.append(planted.find(query, planted.at < 2, ALL, 11))
    assert np.mean(shares) >= 0.995
    assert any(by_codes)


@pytest.mark.parametrize("limit", [50, 100])
def test_the_same_vector_on_the_other_side(limit):
    planted = Planted(change=np.ones_like)
    assert (
        len(nearest(planted.model, np.full(SIZE, -1, np.float32), filters=below(0.08), limit=limit)) == limit
    )


def test_a_query_too_small_for_float32():
    planted = Planted()
    request = request_of(np.ones(SIZE), filters=below(0.045), limit=50)
    request.embedding_filters.query_embedding = [1e-50] * SIZE
    assert len(pages.inference_page(planted.model, request).inferences) == 50
