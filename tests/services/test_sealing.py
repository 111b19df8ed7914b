"""The chain of the audit log: what is untouched passes, and whatever is touched is found."""

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from inference_store.contract.enums import AuditAction
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import AuditedInferences, AuditRecord, AuditSeal
from inference_store.services import audit, deletion, sealing
from inference_store.services.audit_verification import verify
from inference_store.services.sealing import Head, SealingError
from tests.making import make_model, make_request, store

TABLES = {"record": AuditRecord, "seal": AuditSeal, "list": AuditedInferences}


@pytest.fixture
def key(settings):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FALLBACKS, settings.AUDIT_HEAD_FILE = "k" * 40, [], ""
    return settings


@pytest.fixture
def sealed(db, key):
    """Nine records that are sealed; the ids of the records in their order."""
    model = make_model()
    store(model, *(make_request(model, f"i-{number:04}") for number in range(1_200)))
    for number in range(6):
        with transaction.atomic():
            audit.record(
                AuditAction.METADATA_SET, model=model, inference_id=f"i-{number}", details={"key": "k"}
            )
    deletion.delete_matching(model=model, filters=BaseInferenceFilter())
    assert sealing.seal_records() == 8
    assert verify().wrong == []
    return list(AuditSeal.objects.order_by("sequence").values_list("record_id", flat=True))


def tamper(statement, *values):
    """As somebody who owns the database would."""
    with connection.cursor() as cursor:
        for table in TABLES.values():
            cursor.execute(f"alter table {table._meta.db_table} disable trigger user")
        cursor.execute(statement, values)
        assert cursor.rowcount
        for table in TABLES.values():
            cursor.execute(f"alter table {table._meta.db_table} enable trigger user")


def changed(column, field):
    if column in ("recorded_at", "sealed_at"):
        return f"{column} + interval '1 microsecond'"
    if field.get_internal_type() in ("TextField", "CharField"):
        return f"coalesce({column}, '') || 'x'"
    return f"coalesce({column}, 0) + 100000"


CELLS = [
    (name, field.attname)
    for name, table in TABLES.items()
    for field in table._meta.concrete_fields
    if field.attname != "pk"
]


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_a_changed_cell_is_found(sealed, table, column):
    model = TABLES[table]
    field = model._meta.get_field(column)
    where = {
        "record": f"id = {sealed[3]}",
        "seal": "sequence = 4",
        "list": f"record_id = {sealed[0]} and number = 1",
    }[table]
    tamper(f"update {model._meta.db_table} set {column} = {changed(column, field)} where {where}")
    wrong = verify().wrong
    assert wrong, (table, column)
    named = {"record": "number 4", "seal": "4", "list": "number 1"}[table]
    assert any(named in line for line in wrong), wrong


@pytest.mark.parametrize("number", [1, 4, 7])
def test_a_removed_record_is_found(sealed, number):
    tamper("delete from inference_store_auditrecord where id = %s", sealed[number - 1])
    assert f"number {number} (record {sealed[number - 1]}): the record is gone" in verify().wrong
    tamper("delete from inference_store_auditseal where sequence = %s", number)
    assert any(line.startswith(f"number {number}: missing") for line in verify().wrong)


def test_closing_the_gap_is_found(sealed):
    tamper("delete from inference_store_auditrecord where id = %s", sealed[3])
    tamper("delete from inference_store_auditseal where sequence = 4")
    for number in range(5, 9):
        tamper("update inference_store_auditseal set sequence = %s where sequence = %s", number - 1, number)
    assert verify().wrong


def test_a_cut_end_is_found_by_a_head_from_elsewhere(sealed, key, tmp_path):
    head = verify().head
    tamper("delete from inference_store_auditrecord where id = %s", sealed[7])
    tamper("delete from inference_store_auditseal where sequence = 8")
    tamper("delete from inference_store_auditedinferences where record_id = %s", sealed[7])
    assert verify().wrong == []  # what nobody wrote down elsewhere can't be missed
    assert verify([head]).wrong == ["number 8: missing, though it was the head once: the end was cut off"]
    log = tmp_path / "log"
    log.write_text(f'{{"message": "audit head {head}"}}\n')
    with pytest.raises(CommandError, match="not as it was sealed"):
        call_command("verify_audit", head=[str(log)])
    # And also when the chain has grown on since.
    with transaction.atomic():
        audit.record(AuditAction.LOGOUT)
    sealing.seal_records()
    assert verify([head]).wrong == ["number 8: has another seal than the head that was kept elsewhere"]


def test_swapped_records_are_found(sealed):
    tamper("update inference_store_auditseal set record_id = -1 where sequence = 3")
    tamper("update inference_store_auditseal set record_id = %s where sequence = 4", sealed[2])
    tamper("update inference_store_auditseal set record_id = %s where sequence = 3", sealed[3])
    wrong = verify().wrong
    assert any("number 3" in line for line in wrong)
    assert any("number 4" in line for line in wrong)


def test_an_inserted_record_is_found(sealed):
    tamper(
        "insert into inference_store_auditrecord (id, recorded_at, action, outcome, project_id, model_id, "
        "inference_count, ids_digest, filter, details, actor, token, door, address, request_id) "
        "values (1000000, clock_timestamp() - interval '1 hour', 'login', 'done', '', '', 0, '', '', '', '', "
        "'', '', '', '')"
    )
    assert verify().wrong == ["record 1000000: not sealed for 10 minutes"]
    tamper(
        "insert into inference_store_auditseal select 9, 1000000, key_id, sealed_at, seal "
        "from inference_store_auditseal where sequence = 8"
    )
    assert any("number 9" in line for line in verify().wrong)


def test_a_removed_part_of_a_list_is_found(sealed):
    tamper("delete from inference_store_auditedinferences where record_id = %s and number = 2", sealed[0])
    assert verify().wrong == [f"number 1 (record {sealed[0]}): its list of inferences was changed"]


def test_another_key_seals_nothing_and_proves_nothing(sealed, key):
    old, key.AUDIT_KEY = key.AUDIT_KEY, "n" * 40
    with pytest.raises(SealingError, match="AUDIT_KEY_FALLBACKS"):
        sealing.seal_records()
    assert "which is not here" in verify().wrong[0]
    key.AUDIT_KEY_FALLBACKS = [old]
    with transaction.atomic():
        audit.record(AuditAction.LOGOUT)
    assert sealing.seal_records() == 1
    assert verify().wrong == []
    assert AuditSeal.objects.values("key_id").distinct().count() == 2


def test_nothing_is_sealed_after_a_touched_end(sealed):
    tamper("update inference_store_auditrecord set actor = 'somebody' where id = %s", sealed[7])
    with pytest.raises(SealingError, match="does not fit its record"):
        sealing.seal_records()


def test_the_head_is_kept_outside_and_compared(sealed, key, tmp_path, caplog):
    key.AUDIT_HEAD_FILE = str(tmp_path / "head")
    with transaction.atomic():
        audit.record(AuditAction.LOGOUT)
    with caplog.at_level("INFO", "inference_store.audit"):
        sealing.seal_records()
    head = verify().head
    assert Path(key.AUDIT_HEAD_FILE).read_text().startswith(f"{head} ")
    assert f"audit head {head}" in caplog.text
    tamper("delete from inference_store_auditseal where sequence > 5")
    with pytest.raises(SealingError, match="AUDIT_HEAD_FILE"):
        sealing.seal_records()
    with pytest.raises(CommandError):
        call_command("verify_audit")


@pytest.mark.parametrize("what", ["update {} set {}", "delete from {}", "truncate {}"])
@pytest.mark.parametrize("table", TABLES)
def test_the_log_is_only_added_to(sealed, what, table):
    name = TABLES[table]._meta.db_table
    column = "seal = seal" if table == "seal" else "model_id = model_id"
    with connection.cursor() as cursor:
        cursor.execute(f"alter table {name} enable trigger audit_no_truncation")
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        connection.cursor().execute(what.format(name, column))


def test_time_that_runs_backwards_does_not_turn_the_chain(sealed):
    tamper(
        "insert into inference_store_auditrecord (id, recorded_at, action, outcome, project_id, model_id, "
        "inference_count, ids_digest, filter, details, actor, token, door, address, request_id) "
        "select max(id) + 1, clock_timestamp() - interval '1 day', 'login', 'done', '', '', 0, '', '', '', "
        "'', '', '', '', '' from inference_store_auditrecord"
    )
    assert sealing.seal_records() == 1
    assert verify().wrong == []
    assert AuditSeal.objects.latest("sequence").sequence == 9


@pytest.mark.django_db(transaction=True)
def test_what_is_committed_late_is_sealed_late(key):
    written, go = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            audit.record(AuditAction.LOGIN, details={"late": True})
            written.set()
            go.wait(10)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    assert written.wait(10)
    for _ in range(3):
        with transaction.atomic():
            audit.record(AuditAction.LOGOUT)
        assert sealing.seal_records() == 1
    go.set()
    thread.join()
    assert sealing.seal_records() == 1
    last = AuditSeal.objects.latest("sequence")
    assert last.sequence == 4
    assert json.loads(AuditRecord.objects.get(pk=last.record_id).details) == {"late": True}
    assert verify().wrong == []


@pytest.mark.django_db(transaction=True)
def test_two_sealers_at_once_make_one_chain(key):
    for _ in range(60):
        with transaction.atomic():
            audit.record(AuditAction.LOGOUT)
    counts = []

    def seal():
        counts.append(sealing.seal_records())
        connection.close()

    threads = [threading.Thread(target=seal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.append(sealing.seal_records())
    assert sum(counts) == 60
    assert verify().wrong == []


BLOCKED = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.mark.django_db(transaction=True)
def test_a_sealer_that_dies_in_a_batch_leaves_nothing_half_done(key):
    for _ in range(20):
        with transaction.atomic():
            audit.record(AuditAction.LOGOUT)
    ended = []

    def seal():
        try:
            sealing.seal_records()
        except DatabaseError as error:
            ended.append(error)
        connection.close()

    thread = threading.Thread(target=seal)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("lock table inference_store_auditseal in share mode")  # it can read, and not write
        thread.start()
        cursor.execute("set local statement_timeout = '20s'")
        pid = None
        while pid is None:
            cursor.execute("select pg_stat_clear_snapshot()")
            cursor.execute(BLOCKED)
            pid = next((found for (found,) in cursor.fetchall()), None)
        cursor.execute("select pg_terminate_backend(%s)", [pid])
        thread.join()
    assert len(ended) == 1
    assert AuditSeal.objects.count() == 0
    assert sealing.seal_records() == 20
    assert verify().wrong == []


def test_unsealed_records_are_told_after_a_while(db, key):
    with transaction.atomic():
        audit.record(AuditAction.LOGIN)
    assert (verify().waiting, verify().wrong) == (1, [])
    tamper("update inference_store_auditrecord set recorded_at = recorded_at - %s", timedelta(minutes=11))
    assert len(verify().wrong) == 1


def test_heads_are_read_out_of_any_text():
    seal = "ab" * 32
    text = f'x 12:{seal}\n{{"m": "audit head 7:{seal}"}} 9:{seal}0 8:abc'
    assert list(sealing.heads_in(text)) == [Head(12, seal), Head(7, seal)]
