"""Search slots always say what the metadata say, whoever writes, and while they are handed out and filled."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter, NewGetInferencesRequest
from inference_store.contract.metadata import NewExtendedMetadataRequest, NewGetMetadataStatisticsRequest
from inference_store.models import Inference, SearchSlot
from inference_store.models.inference import NUMBER_SLOTS
from inference_store.models.job import hence
from inference_store.models.search_slot import LONGEST_SLOT_BYTES, Unfit, double_of
from inference_store.query import pages, statistics, uses
from inference_store.services import deletion, ingest, metadata, slot_assignment, slots, soft_deletion
from tests.making import LONG_AGO, make_model, make_request, store
from tests.query.random_data import metadata_text

State = SearchSlot.State
KEYS = [("string", "k"), ("int", "k"), ("float", "f"), ("json.float", "j.a"), ("json.string", "j.a")]


@pytest.fixture(autouse=True)
def nothing_noted():
    uses.take_noted()
    yield
    uses.take_noted()


def held_slots(model):
    return {(slot.type, slot.key): slot for slot in SearchSlot.objects.filter(registered_model=model)}


def drift(model):
    """Rows whose searched slots differ from what their metadata say."""
    searched = list(SearchSlot.objects.filter(registered_model=model, state=State.READY))
    differ = []
    for row in Inference.objects.filter(registered_model=model):
        with connection.cursor() as cursor:
            cursor.execute("select metadata::text from inference_store_inference where id = %s", [row.pk])
            held = json.loads(cursor.fetchone()[0], parse_float=Decimal)
        for slot in searched:
            expected = slot.reader.value(held)
            if getattr(row, slot.slot) != expected:
                differ.append((row.inference_id, str(slot), getattr(row, slot.slot), expected))
    return differ


def some_metadata(rng):
    found = []
    for key in rng.sample(["k", "f", "j", "other"], rng.randrange(4)):
        type_ = "json" if key == "j" else "float" if key == "f" else rng.choice(["string", "int"])
        value = metadata_text(rng, type_)
        if type_ == "json" and rng.random() < 0.7:
            value = json.dumps(
                {"a": rng.choice([1, 2.5, "x", True, None, "y", 10**30 if rng.random() < 0.1 else 7])}
            )
        elif rng.random() < 0.8:
            value = str(rng.randrange(5))
        found.append((key, type_, value))
    return found


def write(rng, model, name=""):
    """One random write."""
    what = rng.choice(["store", "store", "put", "delete key", "delete", "delete softly", "restore"])
    inference_id = f"{name}{rng.randrange(8)}"
    with suppress(Refusal):  # there is no such inference or key, or it is stored with other content
        if what == "store":
            names = [f"{name}{at}" for at in rng.sample(range(8), 2)]
            store(model, *(make_request(model, each, metadata=some_metadata(rng)) for each in names))
        elif what == "put":
            for key, type_, value in some_metadata(rng)[:1]:
                request = NewExtendedMetadataRequest(key=key, type=type_, value=value)
                metadata.put_metadata(model=model, inference_id=inference_id, request=request)
        elif what == "delete key":
            metadata.delete_metadata(model=model, inference_id=inference_id, key=rng.choice("kfj"))
        elif what == "delete":
            deletion.delete_inference(model=model, inference_id=inference_id)
        elif what == "delete softly":
            with transaction.atomic():
                rows = Inference.objects.filter(registered_model=model, inference_id=inference_id)
                keys = list(rows.select_for_update().values_list("pk", flat=True))
                soft_deletion.keep(keys, uuid4())
                deletion.delete_rows(keys)
        else:
            soft_deletion.restore_deleted(model=model, inference_ids=[inference_id])


def filters_on(type_, key, operator="!=", value="0"):
    return BaseInferenceFilter(
        metadata_filter=[{"key": key, "type": type_, "operator": operator, "value": value}]
    )


def use(model, type_, key, times=slot_assignment.FEWEST_USES):
    for _ in range(times):
        pages.count_inferences(model, NewGetInferencesRequest(filters=filters_on(type_, key)))
    write_down()


def write_down():
    """As after a request; the test's own transaction does not count."""
    taken = uses.take_noted()
    with connection.cursor() as cursor:
        for (model, type_, key), count in taken.items():
            cursor.execute(slot_assignment.ADD_USES, [type_, key, count, model])


# --- What a slot holds --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "number", [0, -1, 2**53, -(2**53), 2**53 + 2, 0.1, 1e22, 10**22, 5e-324, Decimal("0.1")]
)
def test_numbers_that_a_double_spells(number):
    assert double_of(number) == float(number)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 10**400, Decimal("0.1000000000000000055"), 10**30 + 1])
def test_numbers_that_no_double_spells(number):
    with pytest.raises(Unfit):
        double_of(number)


def test_there_is_no_negative_zero():
    assert str(double_of(-0.0)) == "0.0"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("type_", "key", "fit", "unfit"),
    [
        ("int", "k", "9007199254740992", "9007199254740993"),
        ("string", "k", "é" * (LONGEST_SLOT_BYTES // 2), "é" * (LONGEST_SLOT_BYTES // 2) + "x"),
        ("json.float", "k.a", '{"a": 1e300}', '{"a": 1%s}' % ("0" * 400)),
    ],
)
@pytest.mark.parametrize("how", ["stored", "put", "filled"])
def test_one_value_that_does_not_fit_ends_a_slot_at_once(type_, key, fit, unfit, how):
    model, plain = make_model(), type_.split(".")[0]
    store(model, make_request(model, "1", metadata=[("k", plain, fit)]))
    if how != "filled":
        assert slot_assignment.assign(model=model, type_=type_, key=key).state == State.READY
    if how == "put":
        store(model, make_request(model, "2"))
        request = NewExtendedMetadataRequest(key="k", type=plain, value=unfit)
        metadata.put_metadata(model=model, inference_id="2", request=request)
    else:
        store(model, make_request(model, "2", metadata=[("k", plain, unfit)]))
    if how == "filled":
        assert slot_assignment.assign(model=model, type_=type_, key=key).state == State.UNFIT
    assert SearchSlot.objects.searched(model) == {}
    request = NewGetInferencesRequest(filters=filters_on(type_, key, "!=", "0"))
    assert pages.count_inferences(model, request) == 2


@pytest.mark.django_db
def test_an_index_row_holds_the_longest_string():
    model = make_model()
    slot_assignment.assign(model=model, type_="string", key="k")
    # Such that nothing can be compressed.
    text = "".join(chr(random.Random(1).randrange(0x10000, 0x20000)) for _ in range(LONGEST_SLOT_BYTES // 4))
    store(model, make_request(model, "1", metadata=[("k", "string", text)]))
    assert SearchSlot.objects.searched(model)
    assert (
        pages.count_inferences(model, NewGetInferencesRequest(filters=filters_on("string", "k", "=", text)))
        == 1
    )


# --- Whoever writes -----------------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(6))
def test_no_drift_after_any_write(seed, monkeypatch):
    monkeypatch.setattr(slot_assignment, "FILLED_AT_ONCE", 3)
    monkeypatch.setattr(slot_assignment, "GRACE_SECONDS", -60)
    monkeypatch.setattr(slot_assignment, "SAMPLE", 2)
    rng = random.Random(seed)
    model = make_model()
    for _ in range(80):
        what = rng.random()
        if what < 0.15:
            with suppress(Refusal):
                type_, key = rng.choice(KEYS)
                slot_assignment.assign(model=model, type_=type_, key=key)
        elif what < 0.25:
            use(model, *rng.choice(KEYS))
            slot_assignment.assign_slots()
        elif what < 0.3:
            SearchSlot.objects.filter(registered_model=model, state=State.READY).update(state=State.LEAVING)
            slot_assignment.assign_slots()
        else:
            write(rng, model)
        assert drift(model) == []


@pytest.mark.django_db(transaction=True)
def test_no_drift_when_all_write_while_slots_are_filled(monkeypatch):
    monkeypatch.setattr(slot_assignment, "FILLED_AT_ONCE", 5)
    model = make_model()
    done = threading.Event()

    def writer(number):
        rng = random.Random(number)
        try:
            while not done.is_set():
                write(rng, model, f"{number // 2}-")  # two by two they share their inferences
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(writer, number) for number in range(4)]
        try:
            for _ in range(6):
                for type_, key in KEYS[1:]:
                    slot_assignment.assign(model=model, type_=type_, key=key)
                    SearchSlot.objects.filter(registered_model=model, state=State.UNFIT).delete()
                assert SearchSlot.objects.searched(model)
                assert drift_at_one_moment(model) == []
                SearchSlot.objects.filter(registered_model=model).update(state=State.WANTED, slot=None)
        finally:
            done.set()
        for each in writers:
            each.result()


def drift_at_one_moment(model):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read")
        return drift(model)


@pytest.mark.django_db(transaction=True)
def test_filling_waits_for_who_began_before(monkeypatch):
    """A writer that has read the slots as they were, and stores something older than all the rest."""
    model = make_model()
    store(model, make_request(model, "new", metadata=[("k", "int", "1")]))
    stopped, go_on = threading.Event(), threading.Event()
    copy_entries = ingest.copy_entries

    def held_up(*args):
        copy_entries(*args)
        stopped.set()
        assert go_on.wait(30)

    def writer():
        try:
            older = LONG_AGO - timedelta(days=1)
            store(model, make_request(model, "old", metadata=[("k", "int", "2")], created_at=older))
        finally:
            connection.close()

    def assigner():
        try:
            slot_assignment.assign(model=model, type_="int", key="k")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(ingest, "copy_entries", held_up)
            writing = pool.submit(writer)
            assert stopped.wait(30)
        polled = threading.Event()
        sleep = time.sleep

        def slept(seconds):
            polled.set()
            sleep(seconds)

        monkeypatch.setattr(slots.time, "sleep", slept)
        assigning = pool.submit(assigner)
        assert polled.wait(30)
        # Nobody waits for the assignment meanwhile.
        store(model, make_request(model, "newer", metadata=[("k", "int", "3")]))
        assert SearchSlot.objects.get().state == State.FILLING
        go_on.set()
        writing.result()
        assigning.result()
    assert SearchSlot.objects.get().state == State.READY
    assert drift(model) == []
    request = NewGetInferencesRequest(filters=filters_on("int", "k", ">=", "1"))
    assert [each.inference_id for each in pages.inference_page(model, request).inferences] == [
        "old",
        "new",
        "newer",
    ]


@pytest.mark.django_db
def test_filling_goes_on_where_it_stopped(monkeypatch):
    monkeypatch.setattr(slot_assignment, "FILLED_AT_ONCE", 4)
    model = make_model()
    store(model, *(make_request(model, metadata=[("k", "int", str(number))]) for number in range(10)))
    use(model, "int", "k")
    steps, fill_some = [], slot_assignment._fill_some

    def dying(*args):
        steps.append(fill_some(*args))
        if len(steps) == 2:
            raise KeyboardInterrupt
        return steps[-1]

    monkeypatch.setattr(slot_assignment, "_fill_some", dying)
    with pytest.raises(KeyboardInterrupt):
        slot_assignment.assign_slots()
    monkeypatch.undo()
    slot = SearchSlot.objects.get()
    assert (slot.state, slot.after_key) == (
        State.FILLING,
        sorted(Inference.objects.values_list("pk", flat=True))[7],
    )
    assert slot_assignment.assign_slots() == 1
    assert drift(model) == []


# --- Who gets one -------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_filters_and_statistics_earn_a_slot():
    model = make_model()
    store(
        model,
        make_request(model, metadata=[("a", "int", "1"), ("b", "string", "x"), ("c", "json", '{"d": 1.5}')]),
    )
    use(model, "json.int", "c.d")
    for _ in range(slot_assignment.FEWEST_USES):
        statistics.metadata_statistics(model, NewGetMetadataStatisticsRequest(key="b", type="string"))
    write_down()
    use(model, "int", "a", times=slot_assignment.FEWEST_USES - 1)
    assert slot_assignment.assign_slots() == 2
    assert SearchSlot.objects.searched(model) == {("json.float", "c.d"): "n1", ("string", "b"): "s1"}


@pytest.mark.django_db
def test_keys_that_hold_nothing_or_do_not_fit_get_none():
    model = make_model()
    store(model, make_request(model, metadata=[("a", "int", "1"), ("big", "int", str(2**60 + 1))]))
    for type_, key in [("int", "nothing"), ("json.float", "x.y.z"), ("float", "a"), ("int", "big")]:
        use(model, type_, key, times=10)
    assert slot_assignment.assign_slots() == 0
    assert {slot.key for slot in held_slots(model).values() if slot.slot} == set()
    assert held_slots(model)["int", "big"].state == State.UNFIT


@pytest.mark.django_db
def test_there_are_so_many_slots_and_the_most_used_keys_have_them():
    model = make_model()
    keys = [f"k{number}" for number in range(len(NUMBER_SLOTS) + 2)]
    store(model, make_request(model, metadata=[(key, "int", "1") for key in keys]))
    for number, key in enumerate(keys):
        use(model, "int", key, times=slot_assignment.FEWEST_USES + number)
    assert slot_assignment.assign_slots() == len(NUMBER_SLOTS)
    assert {key for _, key in SearchSlot.objects.searched(model)} == set(keys[2:])


@pytest.mark.django_db
def test_a_string_has_a_slot_though_more_used_numbers_wait():
    model = make_model()
    keys = [f"k{number}" for number in range(len(NUMBER_SLOTS) + 2)]
    store(
        model,
        make_request(model, metadata=[*((key, "int", "1") for key in keys), ("name", "string", "x")]),
    )
    for key in keys:
        use(model, "int", key, times=slot_assignment.FEWEST_USES + 1)
    use(model, "string", "name")
    assert slot_assignment.assign_slots() == len(NUMBER_SLOTS) + 1
    assert ("string", "name") in SearchSlot.objects.searched(model)


@pytest.mark.django_db
def test_an_unused_slot_goes_to_another_key_but_not_at_once():
    model = make_model()
    keys = [f"k{number}" for number in range(len(NUMBER_SLOTS))]
    store(model, make_request(model, metadata=[(key, "int", "1") for key in [*keys, "new"]]))
    for key in keys:
        slot_assignment.assign(model=model, type_="int", key=key)
    use(model, "int", "new")
    assert slot_assignment.assign_slots() == 0
    assert len(SearchSlot.objects.searched(model)) == len(NUMBER_SLOTS)
    SearchSlot.objects.filter(key="k3").update(last_used_at=hence(-8 * 86_400))
    slot_assignment.assign_slots()
    assert held_slots(model)["int", "k3"].state == State.LEAVING
    assert ("int", "k3") not in SearchSlot.objects.searched(model)
    slot_assignment.assign_slots()
    assert held_slots(model)["int", "new"].slot is None, "a read may still be looking at the column"
    SearchSlot.objects.filter(key="k3").update(changed_at=hence(-700))
    assert slot_assignment.assign_slots() == 1
    assert SearchSlot.objects.searched(model)["int", "new"] == "n4"
    assert drift(model) == []


@pytest.mark.django_db
def test_few_keys_are_remembered_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(slot_assignment, "MOST_WANTED", 3)
    model = make_model()
    for number in range(6):
        use(model, "int", f"k{number}", times=number + 1)
    slot_assignment.assign_slots()
    assert {key for _, key in held_slots(model)} == {"k3", "k4", "k5"}
    SearchSlot.objects.filter(key="k4").update(last_used_at=hence(-8 * 86_400))
    slot_assignment.assign_slots()
    assert {key for _, key in held_slots(model)} == {"k3", "k5"}


@pytest.mark.django_db
def test_memory_of_uses_is_bounded():
    model = make_model()
    for number in range(uses.MOST_NOTED + 50):
        uses.note_use(model, "int", f"k{number}")
    assert len(uses.take_noted()) == uses.MOST_NOTED


@pytest.mark.django_db(transaction=True)
def test_uses_are_written_down_after_a_request():
    model = make_model()
    pages.count_inferences(model, NewGetInferencesRequest(filters=filters_on("int", "k")))
    with transaction.atomic():
        slot_assignment.write_down_uses(at_once=True)
        assert not SearchSlot.objects.exists(), "not within somebody's transaction"
    slot_assignment.write_down_uses(at_once=True)
    assert SearchSlot.objects.get().uses == 1
    pages.count_inferences(model, NewGetInferencesRequest(filters=filters_on("int", "k")))
    slot_assignment.write_down_uses()
    assert SearchSlot.objects.get().uses == 1, "not at every request"
    assert uses.take_noted()


@pytest.mark.django_db(transaction=True)
def test_uses_that_could_not_be_written_down_are_the_next_time(caplog):
    model = make_model()
    uses.note_use(model, "int", "k")
    slot_assignment.write_down_uses(at_once=True)
    filling = connection.copy()  # somebody who holds the key's row for longer than a request may wait
    filling.set_autocommit(False)
    with filling.cursor() as cursor:
        cursor.execute("select from inference_store_searchslot for update")
    for _ in range(2):
        uses.note_use(model, "int", "k")
    slot_assignment.write_down_uses(at_once=True)
    filling.close()
    assert SearchSlot.objects.get().uses == 1
    slot_assignment.write_down_uses(at_once=True)
    assert SearchSlot.objects.get().uses == 3
    (said,) = [record for record in caplog.records if "written down later" in record.getMessage()]
    assert said.exc_info is None


# --- The command --------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_command(capsys):
    model = make_model()
    store(model, make_request(model, metadata=[("k", "int", "1"), ("big", "int", str(2**60 + 1))]))
    call_command("assign_slots", model=model.model_id, key="k", type="int")
    assert SearchSlot.objects.searched(model) == {("int", "k"): "n1"}
    use(model, "int", "k")
    call_command("assign_slots")
    for wrong in ({"model": "nobody's"}, {"type": None}, {"key": "big"}):
        with pytest.raises(CommandError):
            call_command("assign_slots", **{"model": model.model_id, "key": "k", "type": "int"} | wrong)
