"""The audit log is pruned from its oldest end: what is gone by a checkpoint is told from what was cut."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from inference_store.contract.enums import AuditAction
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.models import AuditCheckpoint, AuditedInferences, AuditRecord, AuditSeal
from inference_store.services import audit, audit_pruning, deletion, sealing
from inference_store.services.audit_verification import verify
from inference_store.services.sealing import Head, SealingError
from tests.making import make_model, make_request, store
from tests.services.test_sealing import tamper as tamper_with_rows

OLD = timedelta(days=40)


@pytest.fixture
def key(settings):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FALLBACKS, settings.AUDIT_HEAD_FILE = "k" * 40, [], ""
    settings.AUDIT_DAYS = 30
    return settings


def write(count):
    for _ in range(count):
        with transaction.atomic():
            audit.record(AuditAction.LOGOUT)


def seal(monkeypatch, ago):
    """Seal what waits, as if it were so long ago."""

    def chained(head, records):
        with connection.cursor() as cursor:
            cursor.execute("select clock_timestamp() - %s", [ago])
            now = cursor.fetchone()[0]
            name, own = next(iter(sealing.keys().items()))
            for number, record in enumerate(records, head.sequence + 1):
                head = Head(number, sealing.seal_of(own, head.seal, (number, name, now), record))
                AuditSeal.objects.create(
                    sequence=number, record_id=record[0], key_id=name, sealed_at=now, seal=head.seal
                )
        return head

    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_chain", chained)
        return sealing.seal_records()


@pytest.fixture
def chain(db, key, monkeypatch):
    """Ten old records, the first and the last of which have lists, and six of today; the heads there were."""
    model = make_model()
    store(model, *(make_request(model, f"i-{number:04}") for number in range(1_200)))
    write(8)
    deletion.delete_matching(model=model, filters=BaseInferenceFilter())
    assert seal(monkeypatch, OLD) == 10
    write(5)
    store(model, make_request(model, "i"), make_request(model, "j"))
    assert sealing.seal_records() == 6
    assert verify().wrong == []
    return [Head(each.sequence, each.seal) for each in AuditSeal.objects.order_by("sequence")]


@pytest.fixture
def pruned(chain):
    assert audit_pruning.prune() == 10
    return chain


def tamper(statement, *values):
    """As somebody who owns the database would."""
    with connection.cursor() as cursor:
        cursor.execute("alter table inference_store_auditcheckpoint disable trigger user")
    tamper_with_rows(statement, *values)
    with connection.cursor() as cursor:
        cursor.execute("alter table inference_store_auditcheckpoint enable trigger user")


def numbers():
    return list(AuditSeal.objects.order_by("sequence").values_list("sequence", flat=True))


def test_what_is_older_goes_with_all_that_belongs_to_it(pruned):
    assert numbers() == list(range(11, 17))
    assert AuditRecord.objects.count() == 7  # the record of the pruning waits for its seal
    assert set(AuditedInferences.objects.values_list("record_id", flat=True)) == {
        AuditSeal.objects.get(sequence=16).record_id
    }
    found = verify()
    assert (found.wrong, found.sealed, found.pruned) == ([], 6, pruned[9])
    assert sealing.seal_records() == 1
    told = AuditRecord.objects.latest("id")
    assert told.action == AuditAction.AUDIT_PRUNE
    assert f'"from":1,"seal":"{pruned[9].seal}"' in told.details
    assert verify().wrong == []
    assert audit_pruning.prune() == 0
    assert AuditCheckpoint.objects.count() == 1


def test_it_goes_on_in_parts_and_from_where_it_ended(chain, monkeypatch):
    assert audit_pruning.prune(at_once=4) == 10
    assert list(AuditCheckpoint.objects.values_list("sequence", flat=True)) == [10, 8, 4]
    assert verify().wrong == []
    write(3)
    sealing.seal_records()
    assert numbers() == list(range(11, 23))


def test_the_end_of_the_chain_is_never_pruned(db, key, monkeypatch):
    write(3)
    seal(monkeypatch, OLD)
    assert audit_pruning.prune() == 2
    assert numbers() == [3]
    assert verify().wrong == []
    assert sealing.seal_records() == 1  # the next follows it
    assert audit_pruning.prune(days=40) == 0
    assert audit_pruning.prune() == 1
    assert numbers() == [4]
    assert sealing.seal_records() == 1
    assert verify().wrong == []


@pytest.mark.parametrize("days", [0, 60])
def test_what_is_young_enough_is_kept(chain, key, days):
    key.AUDIT_DAYS = days
    assert audit_pruning.prune() == 0
    assert len(numbers()) == 16
    assert AuditCheckpoint.objects.count() == 0


def test_what_follows_something_that_is_kept_is_kept(db, key, monkeypatch):
    """Where the clock ran backwards, nothing goes from the middle."""
    for ago in (OLD, timedelta(days=1), OLD, timedelta(0)):
        write(2)
        assert seal(monkeypatch, ago) == 2
    assert audit_pruning.prune() == 2
    assert numbers() == [3, 4, 5, 6, 7, 8]
    assert verify().wrong == []


# --- Whoever cuts more --------------------------------------------------------------------------------------
def cut(below):
    for table, column in (("auditedinferences", "record_id"), ("auditrecord", "id")):
        with connection.cursor() as cursor:
            cursor.execute(f"alter table inference_store_{table} disable trigger user")
            cursor.execute(
                f"delete from inference_store_{table} where {column} in "
                "(select record_id from inference_store_auditseal where sequence <= %s)",
                [below],
            )
            cursor.execute(f"alter table inference_store_{table} enable trigger user")
    tamper("delete from inference_store_auditseal where sequence <= %s", below)


def test_a_cut_head_is_no_pruned_one(chain):
    cut(3)
    assert [line.partition(",")[0] for line in verify().wrong[:1]] == ["1 to 3: missing"]
    with pytest.raises(SealingError, match="Nothing is pruned"):  # what is left stays to be looked at
        audit_pruning.prune()
    assert numbers() == list(range(4, 17))


def test_more_than_the_checkpoint_says_is_missed(pruned):
    cut(12)
    assert verify().wrong[0].startswith("11 to 12: missing, before record")
    with pytest.raises(CommandError, match="not as it was sealed"):
        call_command("verify_audit")


def test_all_that_is_left_is_missed(pruned):
    cut(16)
    assert verify().wrong[0] == "number 11: missing; the end of the chain is never pruned"
    with pytest.raises(SealingError, match="Nothing is left after number 10"):
        sealing.seal_records()


def test_a_cut_end_is_found_as_ever(pruned):
    last = AuditSeal.objects.get(sequence=16).record_id
    tamper("delete from inference_store_auditseal where sequence = 16")
    tamper("delete from inference_store_auditrecord where id = %s", last)
    assert "number 16: missing, though it was the head once: the end was cut off" in verify(pruned).wrong


@pytest.mark.parametrize(
    "change",
    [
        "sequence = sequence + 2, seal = (select seal from inference_store_auditseal where sequence = 12)",
        "seal = 'ff' || seal",
        "sealed_before = sealed_before + interval '1 second'",
        "made_at = made_at + interval '1 second'",
        "key_id = 'x'",
        "mac = 'x'",
    ],
)
def test_a_checkpoint_that_is_not_ours_is_told(pruned, change):
    tamper(f"update inference_store_auditcheckpoint set {change}")
    cut(12)
    wrong = verify().wrong
    assert wrong[0].startswith("the checkpoint at number 1")
    assert "1 to 12: missing" in wrong[1]
    with pytest.raises(SealingError, match="The checkpoint"):
        sealing.seal_records()
    with pytest.raises(SealingError, match="The checkpoint"):
        audit_pruning.prune()


def test_without_its_checkpoint_a_pruned_chain_is_a_cut_one(pruned):
    tamper("delete from inference_store_auditcheckpoint")
    assert verify().wrong[0].startswith("1 to 10: missing")


def test_what_was_tampered_with_is_not_pruned(chain):
    record = AuditSeal.objects.get(sequence=5).record_id
    tamper("update inference_store_auditrecord set actor = 'nobody' where id = %s", record)
    with pytest.raises(SealingError, match="number 5"):
        audit_pruning.prune()
    with pytest.raises(CommandError, match="Nothing is pruned"):
        call_command("prune_audit")
    assert len(numbers()) == 16


def test_a_record_that_is_put_back_before_the_chain_is_told(pruned):
    write(1)
    added = AuditRecord.objects.latest("id").pk
    tamper(
        "insert into inference_store_auditseal select 4, %s, key_id, sealed_at, seal "
        "from inference_store_auditseal where sequence = 11",
        added,
    )
    assert f"number 4 (record {added}): there, though it was pruned" in verify().wrong


def test_heads_from_elsewhere_are_compared_as_far_as_they_can_be(pruned, key, tmp_path, capsys):
    found = verify(pruned)
    assert (found.wrong, found.not_compared) == ([], 9)
    other = Head(10, "ab" * 32)
    assert verify([other]).wrong == ["number 10: pruned with another seal than the head kept elsewhere"]
    call_command("verify_audit", head=[str(pruned[2])])
    told = capsys.readouterr().out
    assert "Up to number 10 it was pruned. 1 heads from before that can't be compared any more." in told
    assert "No head from elsewhere was compared" in told
    # An old head file does not stop the sealer, one that says otherwise does.
    key.AUDIT_HEAD_FILE = str(tmp_path / "head")
    for head, is_right in ((pruned[2], True), (pruned[9], True), (other, False)):
        (tmp_path / "head").write_text(str(head))
        write(1)
        if is_right:
            assert sealing.seal_records()
        else:
            with pytest.raises(SealingError, match="AUDIT_HEAD_FILE"):
                sealing.seal_records()


def test_after_a_change_of_keys_the_old_one_is_needed_no_longer_than_what_it_sealed(pruned, key, monkeypatch):
    old, key.AUDIT_KEY = key.AUDIT_KEY, "n" * 40
    assert "which is not here" in verify().wrong[0]
    key.AUDIT_KEY_FALLBACKS = [old]
    assert sealing.seal_records() == 1
    assert audit_pruning.prune(days=1) == 0
    with monkeypatch.context() as patched:
        patched.setattr(audit_pruning, "DAY", "clock_timestamp() + interval '2 days'")
        assert audit_pruning.prune(days=1) == 6
    key.AUDIT_KEY_FALLBACKS = []
    assert verify().wrong == []


def test_nothing_is_removed_that_no_checkpoint_covers(pruned):
    for table in ("auditseal", "auditrecord", "auditedinferences", "auditcheckpoint"):
        with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
            connection.cursor().execute(f"delete from inference_store_{table}")


@pytest.mark.django_db(transaction=True)
def test_a_pruning_that_dies_leaves_all_as_it_was(key, monkeypatch):
    write(6)
    seal(monkeypatch, OLD)
    with monkeypatch.context() as patched:
        removals = [*audit_pruning.REMOVALS[:2], "select 1 / 0 where %s > 0"]
        patched.setattr(audit_pruning, "REMOVALS", removals)
        with pytest.raises(DatabaseError):
            audit_pruning.prune()
    assert numbers() == [1, 2, 3, 4, 5, 6]
    assert (AuditRecord.objects.count(), AuditCheckpoint.objects.count()) == (6, 0)
    assert verify().wrong == []
    assert audit_pruning.prune() == 5
