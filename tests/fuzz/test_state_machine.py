"""What the store does, against a model of it in plain Python, after every step of many random ways.

`make soak` goes 2,000 ways of 50 steps; MACHINE_RUNS, MACHINE_STEPS and MACHINE_SEED change that. A batch
that fails tells its seed: MACHINE_RUNS=100 MACHINE_SEED=that one goes the same ways again.
"""

import json
import math
import os
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, lists, none, one_of, sampled_from, tuples

from inference_store.celery import app
from tests import segmented
from tests.fuzz.machine import archives, contents, expiry
from tests.fuzz.machine.checks import check_answers, check_everything
from tests.fuzz.machine.filters import filters_at
from tests.fuzz.machine.surface import Surface, moment, unknown
from tests.fuzz.machine.world import DATA, METADATA, Refused, Upload

RUNS = int(os.environ.get("MACHINE_RUNS") or 2_000)
STEPS = int(os.environ.get("MACHINE_STEPS") or 50)
SEED = int(os.environ.get("MACHINE_SEED") or random.randrange(2**31))
FEW_RUNS, FEW_STEPS = 10, 30
AT_ONCE = 100
"""Ways in one batch: each has tables that begin empty."""

WHICH = integers(0, 2)
ID = sampled_from(contents.IDS)
NTH = integers(0, 7)
MAYBE_NTH = sampled_from((None, None, None, None, 0, 1, 5))
NAMED = one_of(NTH, ID)
"""One of those that are stored, or any id."""
FILTER = integers(0, 10)
POLICY = integers(0, len(contents.POLICIES) - 1)
ITEM = tuples(ID, integers(0, 4), integers(0, 3), sampled_from((False, False, True)), MAYBE_NTH)
"""An inference to store: id, content, age, protection, and which upload it names."""


def nth(items, number):
    """One of the newest, None where there is none."""
    return items[-1 - number % len(items)] if items else None


class Machine(RuleBasedStateMachine):
    """Each way has new projects and models."""

    surface: Surface
    downloads: Path
    happened: Counter
    most_steps: int

    def __init__(self):
        super().__init__()
        self.surface.begin()
        self.world = self.surface.world
        self.models = list(self.world.models.values())
        self.base = timezone.now().replace(microsecond=0)
        self.filters = filters_at(self.base)
        self.touched, self.steps = self.models[0], 0

    def at(self, which):
        self.touched = self.models[which]
        return self.touched

    def named(self, model, named):
        if isinstance(named, str):
            return named
        row = nth(list(model.rows.values()), named)
        return contents.IDS[0] if row is None else row.inference_id

    def note(self, what, outcome):
        self.happened[f"{what} {outcome}"] += 1

    # --- Storing ----------------------------------------------------------------------------------------
    def request_of(self, model, item):
        inference_id, content, age, protected, upload = item
        data = contents.collection(model.task, contents.CONTENTS[content], model.embedding_size)
        request = {
            "model_id": model.model_id,
            "inference_id": inference_id,
            "data": data,
            "is_protected": protected,
        }
        if (hours := contents.AGES_HOURS[age]) is not None:
            request["created_at"] = (self.base - timedelta(hours=hours)).isoformat()
        chosen = nth(self.world.all_uploads(), upload) if upload is not None else None
        if chosen is not None:
            request["data_storage_key"] = chosen.key
        return request

    def spelt(self, request):
        created_at = request.get("created_at") or request["data"].get("created_at")
        return contents.spelt(request["inference_id"], request["data"], request["is_protected"], created_at)

    def store(self, model, request):
        status, _ = self.world.create(model, [request], [self.spelt(request)])
        self.note("create", status)
        self.surface.ask(model, "POST", "inferences", request, wanted=status)

    @initialize(items=lists(tuples(WHICH, ITEM, integers(0, 3)), min_size=3, max_size=6))
    def stock(self, items):
        """Something is there when a way begins: a way leaves out some of the rules that follow."""
        for which, item, content in items:
            self.create_with_input(which, item, content)

    @rule(which=WHICH, item=ITEM)
    def create(self, which, item):
        model = self.at(which)
        self.store(model, self.request_of(model, item))

    @rule(which=WHICH, number=NTH, softly=booleans(), elsewhere=sampled_from((False, False, True)))
    def create_again(self, which, number, softly, elsewhere):
        """What is stored, or what retention has put away, as it was sent: for its own model, or another."""
        model = self.at(which)
        source = self.models[(which + 2) % len(self.models)] if elsewhere else model
        known = [each.row for each in source.soft] if softly else list(source.rows.values())
        row = nth(known, number)
        if row is not None and row.task == model.task:
            self.store(model, row.request | {"model_id": model.model_id})

    @rule(which=WHICH, item=ITEM, content=integers(0, 3))
    def create_with_input(self, which, item, content):
        model = self.at(which)
        upload = self.new_upload(model, DATA)
        self.put_bytes(upload, contents.INPUTS[content])
        self.store(model, self.request_of(model, (*item[:4], None)) | {"data_storage_key": upload.key})

    @rule(which=WHICH, items=lists(ITEM, max_size=4), again=lists(NTH, max_size=2), as_lines=booleans())
    def bulk_create(self, which, items, again, as_lines):
        model = self.at(which)
        requests = [self.request_of(model, item) for item in items]
        stored = list(model.rows.values())
        requests += [nth(stored or requests, number) for number in again]
        requests = [each if isinstance(each, dict) else each.request for each in requests if each]
        status, new = self.world.create(model, requests, [self.spelt(each) for each in requests])
        self.note("bulk create", status)
        if as_lines:
            body = b"".join(json.dumps(each).encode() + b"\n" for each in requests) or b"\n"
            address = f"/api/inference-store/v1/models/{model.model_id}/bulk-create"
            caller = self.surface.callers[model.model_id]
            answer = caller.post(address, body, content_type="application/x-ndjson")
            assert answer.status_code == status, answer.content
            told = json.loads(answer.content)
        else:
            told = self.surface.ask(model, "POST", "bulk-create", requests, wanted=status)
        if status < 400:
            ids = [each["inference_id"] for each in requests]
            assert told == {"inference_ids": ids, "created_count": new}

    # --- Uploads ----------------------------------------------------------------------------------------
    def new_upload(self, model, kind):
        name = "data" if kind == DATA else "metadata"
        told = self.surface.ask(model, "POST", f"uploads/{name}", wanted=201)
        url, key = told[f"{name}_presigned_url"], told[f"{name}_storage_key"]
        upload = model.uploads[key] = Upload(key, kind, model.model_id, url)
        self.world.record("upload.create", model)
        return upload

    def put_bytes(self, upload, content):
        status = self.world.put(upload, content, "")
        self.note("put", status)
        self.surface.put(upload.url, content, wanted=status)

    @rule(which=WHICH, kind=sampled_from((DATA, METADATA)))
    def ask_for_upload(self, which, kind):
        self.new_upload(self.at(which), kind)

    @rule(number=NTH, content=integers(0, 3))
    def put(self, number, content):
        upload = nth(self.world.all_uploads(), number)
        if upload is not None:
            self.touched = self.world.models[upload.model]
            self.put_bytes(upload, contents.INPUTS[content])

    @rule(which=WHICH, item=ITEM, input_too=booleans())
    def create_from_upload(self, which, item, input_too):
        model = self.at(which)
        request = self.request_of(model, item)
        upload, data = self.new_upload(model, METADATA), request["data"]
        if "created_at" in request:
            data = data | {"created_at": request["created_at"]}
        self.put_bytes(upload, json.dumps(data).encode())
        key = request.get("data_storage_key")
        if input_too:
            given = self.new_upload(model, DATA)
            self.put_bytes(given, contents.INPUTS[0])
            key = given.key
        self.from_upload(model, upload.key, request["inference_id"], key, request["is_protected"])

    @rule(which=WHICH, number=NTH, inference_id=ID, input_number=MAYBE_NTH, protected=booleans())
    def create_from_old_upload(self, which, number, inference_id, input_number, protected):
        """From any key: one that is claimed, of another model, of an input, without bytes."""
        upload = nth(self.world.all_uploads(), number)
        key = nth(self.world.all_uploads(), input_number) if input_number is not None else None
        if upload is not None:
            self.from_upload(self.at(which), upload.key, inference_id, key and key.key, protected)

    def from_upload(self, model, metadata_key, inference_id, data_key, protected):
        body = {
            "inference_id": inference_id,
            "metadata_storage_key": metadata_key,
            "is_protected": protected,
        }
        if data_key is not None:
            body["data_storage_key"] = data_key
        try:
            data = self.world.uploaded_collection(model, metadata_key)
            task = data["metadata"]["standard_metadata"]["task_type"]
            if task != model.task:
                raise Refused(400)
            request = {"model_id": model.model_id, "data": data} | body
            del request["metadata_storage_key"]
            status, _ = self.world.create(model, [request], [self.spelt(request)], metadata_key)
        except Refused as refused:
            status = refused.status
        self.note("create from upload", status)
        self.surface.ask(model, "POST", "create-from-upload", body, wanted=status)

    # --- Metadata and protection ------------------------------------------------------------------------
    @rule(
        which=WHICH,
        inference_id=NAMED,
        key=sampled_from(contents.KEYS),
        value=sampled_from(contents.VALUES),
    )
    def set_metadata(self, which, inference_id, key, value):
        model = self.at(which)
        inference_id = self.named(model, inference_id)
        body = {"key": key, "type": value[0], "value": value[1]}
        status = self.world.set_metadata(model, inference_id, key, *value)
        self.note("set metadata", status)
        self.surface.ask(model, "POST", f"inferences/{inference_id}/metadata", body, wanted=status)

    @rule(which=WHICH, inference_id=NAMED, key=sampled_from(contents.KEYS))
    def delete_metadata(self, which, inference_id, key):
        model = self.at(which)
        inference_id = self.named(model, inference_id)
        status = self.world.delete_metadata(model, inference_id, key)
        self.note("delete metadata", status)
        path = f"inferences/{inference_id}/metadata?key={key}"
        self.surface.ask(model, "DELETE", path, wanted=status)

    @rule(which=WHICH, inference_id=NAMED, wanted=booleans())
    def protect(self, which, inference_id, wanted):
        model = self.at(which)
        inference_id = self.named(model, inference_id)
        status = self.world.protect(model, inference_id, wanted)
        self.note("protect", status)
        path = f"inferences/{inference_id}/protection"
        self.surface.ask(model, "PUT", path, {"is_protected": wanted}, wanted=status)

    @rule(which=WHICH, number=FILTER, wanted=booleans())
    def protect_by_filter(self, which, number, wanted):
        model, (sent, predicate) = self.at(which), self.filters[number]
        changed = self.world.protect_matching(model, predicate, wanted)
        self.note("protect by filter", bool(changed))
        body = {"filters": sent, "is_protected": wanted}
        told = self.surface.ask(model, "POST", "protection", body, wanted=200)
        assert told == {"changed_count": changed}

    # --- Deletion ---------------------------------------------------------------------------------------
    @rule(which=WHICH, inference_id=NAMED)
    def delete(self, which, inference_id):
        model = self.at(which)
        inference_id = self.named(model, inference_id)
        status = self.world.delete(model, inference_id)
        self.note("delete", status)
        self.surface.ask(model, "DELETE", f"inferences/{inference_id}", wanted=status)

    @rule(which=WHICH, number=FILTER)
    def bulk_delete(self, which, number):
        model, (sent, predicate) = self.at(which), self.filters[number]
        gone = self.world.delete_matching(model, predicate)
        self.note("bulk delete", bool(gone))
        told = self.surface.ask(model, "POST", "bulk-delete", {"filters": sent}, wanted=200)
        assert sorted(told["inference_ids"]) == gone

    # --- Retention --------------------------------------------------------------------------------------
    @rule(which=WHICH, number=POLICY, replacing=booleans())
    def create_policy(self, which, number, replacing):
        model, wanted = self.at(which), contents.POLICIES[number]
        if replacing and model.policy is not None:
            self.delete_policy(which)
        status = expiry.create_policy(self.world, model, wanted)
        self.note("policy", status)
        told = self.surface.ask(model, "POST", "retention-policies", wanted, wanted=status)
        if status == 201:
            model.policy_id = told["id"]
        if status < 400:
            assert told["id"] == model.policy_id

    def delete_policy(self, which):
        model = self.at(which)
        policy_id = model.policy_id or unknown()
        status = expiry.delete_policy(self.world, model)
        self.surface.ask(model, "DELETE", f"retention-policies/{policy_id}", wanted=status)

    def with_policy(self, which, number):
        """The model, with that policy where it has none."""
        model = self.at(which)
        if number is not None and model.policy is None:
            self.create_policy(which, number, False)
        return model

    def begin_task(self, model, **body):
        """(status, what the store tells of the task) once the task has been carried out."""
        policy_id = model.policy_id or unknown()
        body = {"retention_policy_id": policy_id, "dry_run": False} | body
        status = 404 if model.policy is None else 201
        if status == 201 and not body["dry_run"] and model.policy["automated_interval"]:
            status = 409
        elif status == 201 and "preview_task_id" in body:
            listed = model.previews.get(body["preview_task_id"])
            status = 400 if listed is None else 201 if listed.policy_id == policy_id else 409
        told = self.surface.ask(model, "POST", "retention-tasks", body, wanted=status)
        if status != 201:
            return status, told
        self.world.record("retention_task.create", model)
        before = self.touched_due(model, told)
        self.surface.work("run_retention", told["id"])
        self.world.record("retention_task.finish", model)
        done = self.surface.ask(model, "GET", f"retention-tasks/{told['id']}", wanted=200)
        assert (done["state"], done["error"]) == ("complete", None)
        return status, done | {"due": before}

    def touched_due(self, model, told):
        limits = (moment(told[f"maximum_{what}_age_limit"]) for what in ("record", "blob"))
        return expiry.due(model, model.policy, *limits)

    @rule(which=WHICH, number=one_of(none(), POLICY))
    def dry_run(self, which, number):
        model = self.with_policy(which, number)
        status, told = self.begin_task(model, dry_run=True)
        self.note("dry run", status)
        if status != 201:
            return
        listed = model.previews[told["id"]] = expiry.preview(model, model.policy_id, told["due"])
        self.note("dry run lists", bool(listed.items))
        assert told["total_record_count"] == sum(item[2] == "record" for item in listed.items)
        assert told["total_blob_count"] == sum(item[3] for item in listed.items)
        assert (told["deleted_record_count"], told["deleted_blob_count"]) == (0, 0)
        page = self.surface.ask(model, "GET", f"retention-tasks/{told['id']}/preview", wanted=200)
        found = [
            (each["inference_id"], each["reason"], each["blob_count"], each["blob_bytes"])
            for each in page["items"]
        ]
        assert found == [item[1:] for item in listed.items]

    @rule(which=WHICH, number=one_of(none(), POLICY))
    def retention(self, which, number):
        model = self.with_policy(which, number)
        status, told = self.begin_task(model)
        self.note("retention", status)
        if status == 201:
            self.held_to(model, told, told["due"])

    @rule(which=WHICH, number=NTH, other=booleans())
    def approve(self, which, number, other):
        """Run what a dry run listed; perhaps one of another model or of a policy that is gone."""
        model = self.with_policy(which, 0)
        owner = self.models[(which + 1) % len(self.models)] if other else model
        if not owner.previews:
            self.dry_run(self.models.index(owner), 0)
            self.at(which)
        task_id = nth(list(owner.previews), number)
        if task_id is None:
            return
        status, told = self.begin_task(model, preview_task_id=task_id)
        self.note("approve", status)
        if status == 201:
            self.held_to(model, told, expiry.still_due(model, model.previews[task_id]))

    def held_to(self, model, told, found):
        self.note("retention takes", bool(found))
        wanted = expiry.run(self.world, model, found, told["id"], model.policy["delete_action"])
        assert {name: told[name] for name in wanted} == wanted
        assert told["total_record_count"] >= told["deleted_record_count"]
        assert told["total_blob_count"] >= told["deleted_blob_count"]

    # --- Soft deletion ----------------------------------------------------------------------------------
    @rule(
        which=WHICH,
        ids=one_of(none(), lists(ID, min_size=1, max_size=3, unique=True)),
        task=booleans(),
        taken=one_of(none(), NTH),
        twice=booleans(),
    )
    def restore(self, which, ids, task, taken, twice):
        """What retention took, perhaps where the id of one was stored anew, and perhaps taken again."""
        model = self.at(which)
        if task and not model.soft:
            self.retention(which, 0)
        if taken is not None and model.soft:
            self.store(model, nth(model.soft, taken).row.request)
            if twice:
                self.surface.eye.check(self.world)  # it learns the row's key before the row goes
                self.retention(which, 0)
        task_id = model.soft[-1].task_id if task and model.soft else None
        back, refused = expiry.restore(self.world, model, ids, task_id)
        self.note("restore", bool(back))
        self.note("restore refuses", bool(refused))
        assert self.surface.restore(model, ids, task_id) == (back, refused)

    @rule(which=WHICH, least=NTH)
    def purge(self, which, least):
        """A month passes for what was put away first."""
        model = self.at(which)
        old = model.soft[: least + 1]
        for each in old:
            each.is_old = True
        self.surface.let_soft_rows_age([self.surface.eye.serials[each.row.serial] for each in old])
        purged = expiry.purge(self.world)
        self.note("purge", bool(purged))
        assert self.surface.purge() == purged

    # --- Blobs ------------------------------------------------------------------------------------------
    @rule(numbers=lists(NTH, max_size=3))
    def sweep(self, numbers):
        """A day passes for some keys."""
        uploads = self.world.all_uploads()
        old = {upload.key: upload for number in numbers if (upload := nth(uploads, number))}
        for upload in old.values():
            upload.is_old = True
        self.surface.let_uploads_age(list(old))
        swept = expiry.sweep(self.world)
        self.note("sweep", bool(swept))
        assert self.surface.sweep() == swept

    @rule()
    def back_up(self):
        """A backup begins, or ends."""
        self.surface.release() if self.world.held else self.surface.hold()
        self.world.held = not self.world.held

    # --- Exports ----------------------------------------------------------------------------------------
    @rule(
        which=WHICH,
        format_=sampled_from(contents.FORMATS),
        number=FILTER,
        include=lists(ID, max_size=2),
        exclude=lists(ID, max_size=2),
        parts=booleans(),
    )
    def export(self, which, format_, number, include, exclude, parts):
        model, (sent, predicate) = self.at(which), self.filters[number]
        body = {"filters": sent, "format": format_, "include_inference_ids": include}
        body |= {"exclude_inference_ids": exclude, "include_custom_metadata": parts}
        body |= {"include_inferences_as_annotations": parts}
        status = 201 if archives.fits(format_, model) else 400
        self.note(f"export {format_}", status)
        told = self.surface.ask(model, "POST", "export-tasks", body, wanted=status)
        if status != 201:
            return
        self.world.record("export.create", model)
        rows = expiry.export_set(model, predicate, include, exclude)
        self.surface.work("run_export", told["id"])
        model.archives[told["id"]] = True
        task = self.surface.ask(model, "GET", f"export-tasks/{told['id']}", wanted=200)
        assert (task["state"], task["error"]) == ("complete", None)
        assert task["progress_count"] == task["expected_count"] == len(rows)
        ended = model.policy is not None and model.policy["maximum_blob_age"] == 0
        assert (task["presigned_url"] is None) == ended
        if ended:
            return
        self.world.record("export.link", model)
        path = self.downloads / "export.zip"
        path.write_bytes(self.surface.bytes_of(task["presigned_url"]))
        self.world.record("export.download", model)
        archives.check(path, format_, model, rows, parts)

    @rule()
    def expire_archives(self):
        gone = expiry.expire_archives(self.world)
        self.note("expire archives", bool(gone))
        assert self.surface.expire_archives() == gone

    @rule(which=WHICH)
    def index(self, which):
        self.surface.index(self.at(which))

    # --- After each step --------------------------------------------------------------------------------
    @invariant()
    def agrees(self):
        self.surface.eye.check(self.world)
        check_answers(self, self.touched, self.steps)
        self.steps += 1
        self.happened["steps"] += 1

    def teardown(self):
        try:
            if sys.exception() is None:
                check_everything(self)
                self.happened["whole ways"] += self.steps >= self.most_steps
        finally:
            self.surface.end()


def go(runs, steps, number, downloads):
    """So many ways of so many steps; what happened how often. A failure tells the way."""
    Machine.surface, Machine.downloads, Machine.happened = Surface(), downloads, Counter()
    Machine.most_steps = steps
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    print(f"MACHINE_RUNS={runs} MACHINE_STEPS={steps} MACHINE_SEED={number}", flush=True)
    try:
        run_state_machine_as_test(seed(number)(Machine), settings=chosen)
    finally:
        Machine.surface.close()
    print(f"No difference in {Machine.happened['whole ways']} ways, {Machine.happened['steps']} steps:")
    print(", ".join(f"{what}: {n}" for what, n in sorted(Machine.happened.items())), flush=True)
    return Machine.happened


@pytest.fixture
def downloads(transactional_db, settings, tmp_path, monkeypatch):
    settings.BLOB_ROOT = tmp_path / "blobs"
    segmented.always(monkeypatch)
    yield tmp_path
    app.control.purge()


def test_few_ways_lead_to_no_difference(downloads):
    happened = go(FEW_RUNS, FEW_STEPS, SEED, downloads)
    assert happened["whole ways"] >= FEW_RUNS / 2


@pytest.mark.soak
@pytest.mark.parametrize("batch", range(math.ceil(RUNS / AT_ONCE)))
def test_no_way_leads_to_a_difference(batch, downloads):
    runs, whole, tries = min(AT_ONCE, RUNS - batch * AT_ONCE), 0, 0
    while whole < runs:  # some end early, as too much was drawn
        number = (SEED + batch + tries * 1_000_003) % 2**31
        whole += go(runs - whole, STEPS, number, downloads)["whole ways"]
        tries += 1
