"""What requests tell after each step, held against the model."""

from collections import Counter

from tests.fuzz.machine import archives
from tests.fuzz.machine.looking import read, told


def check_answers(machine, model, number):
    """The whole list and the keys of the model that the step was about, and one more question in turn."""
    _page(machine, model)
    _keys(machine, model)
    QUESTIONS[number % len(QUESTIONS)](machine, model, number)


def check_everything(machine):
    """All questions about all models, and an export of the one that the last step was about."""
    for model in machine.models:
        _page(machine, model)
        _keys(machine, model)
        for question in QUESTIONS:
            question(machine, model, machine.steps)
    for number in range(len(machine.filters)):
        _count(machine, machine.touched, number)
    _export(machine, machine.touched)
    machine.surface.eye.check(machine.world)


def _page(machine, model):
    body = {"pagination": {"limit": 1000}}
    page = machine.surface.ask(model, "POST", "search", body, wanted=200)
    assert [read(each) for each in page["inferences"]] == [told(row, model) for row in model.in_order()]


def _keys(machine, model):
    found = machine.surface.ask(model, "GET", "metadata-keys", wanted=200)["counts"]
    held = Counter((key, kept[0]) for row in model.rows.values() for key, kept in row.metadata.items())
    assert {(key, type_): n for key, types in found.items() for type_, n in types.items()} == held


def _count(machine, model, number):
    sent, predicate = machine.filters[number % len(machine.filters)]
    found = machine.surface.ask(model, "POST", "count", {"filters": sent}, wanted=200)
    assert found == {"count": len(model.matching(predicate))}, f"count of {sent}"


def _filtered(machine, model, number):
    sent, predicate = machine.filters[number % len(machine.filters)]
    page = machine.surface.ask(model, "POST", "search", {"filters": sent}, wanted=200)
    found = [each["inference_id"] for each in page["inferences"]]
    assert found == [row.inference_id for row in model.matching(predicate)], f"search for {sent}"


def _numbers(machine, model, number):
    body = {"key": "run", "type": "int"}
    found = machine.surface.ask(model, "POST", "metadata-statistics", body, wanted=200)
    held = [
        int(row.metadata["run"][1])
        for row in model.rows.values()
        if row.metadata.get("run", ("",))[0] == "int"
    ]
    assert found["count"] == len(held) == sum(found["distribution"].values())
    assert (found["min"], found["max"]) == ((min(held), max(held)) if held else (None, None))


def _strings(machine, model, number):
    body = {"key": "site", "type": "string"}
    found = machine.surface.ask(model, "POST", "metadata-statistics", body, wanted=200)
    held = Counter(
        row.metadata["site"][1]
        for row in model.rows.values()
        if row.metadata.get("site", ("",))[0] == "string"
    )
    assert (found["count"], found["distribution"]) == (held.total(), held)


def _granular(machine, model, number):
    page = machine.surface.ask(model, "POST", "granular", {}, wanted=200)["granular_inferences"]
    found = [(each["inference"]["inference_id"], each["label"], each["score"]) for each in page]
    assert found == [
        (row.inference_id, label, score) for row in model.in_order() for label, score in row.entries
    ]


def _nearest(machine, model, number):
    """Every inference with an embedding, and no other, answers a search by one."""
    wanted = {row.inference_id for row in model.rows.values() if row.embedding is not None}
    body = {"embedding_filters": {"query_embedding": [1.0, 0.0, 0.0]}}
    if not model.embedding_size:
        machine.surface.ask(model, "POST", "search", body, wanted=400)
        return
    page = machine.surface.ask(model, "POST", "search", body, wanted=200)["inferences"]
    assert {each["inference_id"] for each in page} == wanted


def _one(machine, model, number):
    """One inference with its input; and that of another model is not to be had."""
    rows = list(model.rows.values())
    if not rows:
        return
    row = rows[number % len(rows)]
    path = f"inferences/{row.inference_id}?presign=true"
    found = machine.surface.ask(model, "GET", path, wanted=200)
    assert read(found) == told(row, model)
    content = archives.input_of(model, row)
    assert (found["presigned_url"] is None) == (content is None)
    if content is not None:
        assert machine.surface.bytes_of(found["presigned_url"]) == content, "an input's bytes"


QUESTIONS = (_count, _filtered, _numbers, _strings, _granular, _nearest, _one)


def _export(machine, model):
    body = {"format": "jsonl"}
    export = machine.surface.ask(model, "POST", "export-tasks", body, wanted=201)
    machine.world.record("export.create", model)
    machine.surface.work("run_export", export["id"])
    model.archives[export["id"]] = True
    task = machine.surface.ask(model, "GET", f"export-tasks/{export['id']}", wanted=200)
    if task["presigned_url"] is not None:
        machine.world.record("export.link", model)
        path = machine.downloads / "export.zip"
        path.write_bytes(machine.surface.bytes_of(task["presigned_url"]))
        machine.world.record("export.download", model)
        rows = sorted(model.rows.values(), key=lambda row: row.serial)
        archives.check(path, "jsonl", model, rows, False)
