"""Protection, deletion and reads race a run (fault 17): what was answered holds, and none wait in a circle.

Each inference has one actor, which remembers what it was told; a race is one such inference.
"""

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from inference_store import blobs
from inference_store.contract.errors import Refusal
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.metadata import NewExtendedMetadataRequest
from inference_store.models import Blob, Inference, RegisteredModel
from inference_store.query.whole import whole_inferences
from inference_store.services import deletion, metadata, protection, retention_runs
from tests.jobs.stock import stored_files
from tests.making import LONG_AGO, make_model, make_request, store
from tests.services import retaining
from tests.services.retaining import dry_run, make_policy, make_task, put, soft_keys

pytestmark = pytest.mark.django_db(transaction=True)
ACTORS, EACH, MOVES = 3, 4, 5


@dataclass
class Actor:
    """Does what it likes with its own inferences, and checks each time that it was told the truth."""

    model: RegisteredModel
    name: str
    seed: int
    keys: dict[str, int] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    with_blob: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)

    def act(self):
        rng = random.Random(self.seed)
        moves = [self.protect, self.protect, self.unprotect, self.delete, self.read, self.annotate]
        for _ in range(MOVES):
            if rng.random() < 0.2:
                rng.choice([self.protect_all, self.protect_all, self.delete_all])()
                continue
            inference_id, move = rng.choice([*self.keys]), rng.choice(moves)
            was_gone, was_protected = inference_id in self.gone, inference_id in self.protected
            try:
                move(inference_id)
            except Refusal as refusal:
                if refusal.status != 404:
                    raise
                assert not was_protected, f"{inference_id} was lost"
                self.gone.add(inference_id)
                if move == self.delete:
                    self.forgotten.add(inference_id)
            else:
                assert not was_gone or move == self.read, f"{inference_id} is back"

    def protect(self, inference_id):
        protection.set_protection(model=self.model, inference_id=inference_id, is_protected=True)
        self._is_protected(inference_id)

    def _is_protected(self, inference_id):
        self.protected.add(inference_id)
        if Inference.objects.get(pk=self.keys[inference_id]).data_storage_key is not None:
            self.with_blob.add(inference_id)

    def unprotect(self, inference_id):
        self.protected.discard(inference_id)  # from now on it may go
        self.with_blob.discard(inference_id)
        protection.set_protection(model=self.model, inference_id=inference_id, is_protected=False)

    def delete(self, inference_id):
        deletion.delete_inference(model=self.model, inference_id=inference_id)
        self._is_deleted(inference_id)

    def _is_deleted(self, inference_id):
        self.protected.discard(inference_id)
        self.with_blob.discard(inference_id)
        self.deleted.add(inference_id)
        self.gone.add(inference_id)

    def annotate(self, inference_id):
        request = NewExtendedMetadataRequest(key="note", type="string", value="x")
        metadata.put_metadata(model=self.model, inference_id=inference_id, request=request)

    def read(self, inference_id):
        """As an export does."""
        found = whole_inferences(self.model, [self.keys[inference_id]])
        assert bool(found) or inference_id not in self.protected
        assert not found or inference_id not in self.gone
        if inference_id in self.with_blob:
            blobs.open_blob(found[0].input.key).close()

    def _own(self):
        return BaseInferenceFilter(data_source_filter=self.name)

    def protect_all(self):
        protection.set_protection_by_filter(model=self.model, filters=self._own(), is_protected=True)
        rows = Inference.objects.filter(pk__in=self.keys.values(), is_protected=True)
        there = set(rows.values_list("inference_id", flat=True))
        assert self.protected <= there
        self.gone |= set(self.keys) - there
        for inference_id in there:
            self._is_protected(inference_id)

    def delete_all(self):
        gone = deletion.delete_matching(model=self.model, filters=self._own())
        assert self.protected <= set(gone)
        assert not self.gone & set(gone)
        for inference_id in gone:
            self._is_deleted(inference_id)
        self.gone = set(self.keys)


def rounds(count, caplog, monkeypatch):
    monkeypatch.setattr(retention_runs, "TAKEN_AT_ONCE", 2)
    caplog.set_level(logging.INFO, retention_runs.__name__)
    for seed in range(count):
        one_round(seed)
    assert "deadlock" not in caplog.text


def one_round(seed):
    rng = random.Random(seed)
    model = make_model()
    actors = [Actor(model, f"actor {number}", seed * ACTORS + number) for number in range(ACTORS)]
    owners = [actor for actor in actors for _ in range(EACH)]
    rng.shuffle(owners)
    times = {}
    for number, actor in enumerate(owners):
        created_at = LONG_AGO + timedelta(hours=rng.randrange(EACH * ACTORS))
        request = make_request(
            model, f"i{number}", source=actor.name, key=put(model, 3), created_at=created_at
        )
        store(model, request)
        times[request.inference_id] = created_at
        actor.keys[request.inference_id] = Inference.objects.get(
            registered_model=model, inference_id=request.inference_id
        ).pk
    records = rng.random() < 0.7
    policy = make_policy(model, 2 if records else -1, 2, action=rng.choice(["soft", "hard"]))
    preview = dry_run(policy) if rng.random() < 0.4 else None
    task = make_task(policy, preview=preview)
    barrier = Barrier(ACTORS + 1)

    def thread(work):
        try:
            barrier.wait()
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(ACTORS + 1) as pool:
        works = [lambda: retention_runs.run(task.pk), *(actor.act for actor in actors)]
        for done in [pool.submit(thread, work) for work in works]:
            done.result(60)
    judge(model, actors, task, times if records else None, f"seed {seed}")


def judge(model, actors, task, times, seed):
    task.refresh_from_db()
    assert (task.state, task.error) == ("complete", ""), seed
    rows = {row.inference_id: row for row in Inference.objects.filter(registered_model=model)}
    everything = {inference_id: key for actor in actors for inference_id, key in actor.keys.items()}
    deleted = set().union(*(actor.deleted for actor in actors))
    forgotten = set().union(*(actor.forgotten for actor in actors))
    for actor in actors:
        assert not actor.gone & set(rows), seed
        for inference_id in actor.protected:
            assert rows[inference_id].is_protected, seed
        for inference_id in actor.with_blob:
            blobs.open_blob(rows[inference_id].data_storage_key).close()
    taken = set(everything) - set(rows) - deleted
    if times is not None:
        assert task.deleted_record_count == task.deleted_blob_count == len(taken), seed
        in_order = sorted(taken, key=lambda each: (times[each], everything[each]))
        assert task.deleted_digest == retaining.digest([(each, "record") for each in in_order]), seed
    else:
        assert task.deleted_record_count == len(taken) == 0, seed
        bare = sum(row.data_storage_key is None for row in rows.values())
        assert bare <= task.deleted_blob_count <= bare + len(deleted), seed
    soft = {everything[each] for each in taken - forgotten} if task.delete_action == "soft" else set()
    assert soft_keys(model) == soft, seed
    owned = {row.data_storage_key for row in rows.values()} - {None}
    assert set(Blob.objects.filter(registered_model=model).values_list("key", flat=True)) == owned, seed
    assert {key for key in stored_files() if key.startswith(f"{model.pk}/")} == owned, seed


def test_races(caplog, monkeypatch):
    """200 and more."""
    rounds(17, caplog, monkeypatch)


@pytest.mark.soak
def test_many_races(caplog, monkeypatch):
    """1,000 and more of each kind."""
    rounds(500, caplog, monkeypatch)
