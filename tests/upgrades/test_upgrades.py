"""Data of every release (README.md says whence) are migrated by today's code, and are what they were.

The tests of one release share its database. Those that change it come last and are no transactions of the
test's; the others are marked, so that pytest-django has made its database when ours takes its place.
"""

import base64
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client

from inference_store import blobs
from inference_store.contract.filters import BaseInferenceFilter
from inference_store.contract.inferences import NewInferenceStorageRequest
from inference_store.models import (
    Catalogue,
    RegisteredModel,
    RetentionTask,
    SavedView,
    SearchSlot,
    User,
    VectorIndex,
)
from inference_store.query import neighbours
from inference_store.services import (
    backups,
    catalogues,
    leftovers,
    retention_runs,
    sealing,
    slot_assignment,
    vector_indexes,
)
from inference_store.services.audit_verification import verify
from tests import oracle
from tests.cast import Caller
from tests.workers import database, drop_database
from tools.upgrade_data import AUDIT_KEY, LARGEST

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = sorted(path.name.removesuffix(".sql.gz") for path in HERE.glob("*.sql.gz"))
MODELS = {"detector": "d-", "sorter": "s-"}
FILTERS = [
    {},
    {"data_source_filter": "camera-1"},
    {"data_hash_filter": f"{7:064x}"},
    {"inference_action_filter": "detect"},
    {"time_window_filter": {"start": "2026-01-01T12:00:00Z", "end": "2026-01-02T18:00:00Z"}},
    {"metadata_filter": [{"key": "run", "type": "int", "operator": ">=", "value": "4"}]},
    {"metadata_filter": [{"key": "quality", "type": "float", "operator": "<", "value": "3.5"}]},
    {"metadata_filter": [{"key": "site", "type": "string", "operator": "in", "value": "[site 1, site 4]"}]},
    {"metadata_filter": [{"key": "weather.wind.speed", "type": "json.int", "operator": "=", "value": "3"}]},
    {"metadata_filter": [{"key": "seen", "type": "string", "operator": "=", "value": "yes, é"}]},
    {"deconstructed_inference_filter": {"labels": ["owl"], "minimum_score": 0.5}},
    {"location_filter": {"gps_coordinates_circle": {
        "center": {"latitude": -40, "longitude": -90}, "radius": 2_000_000}}},
    {"location_filter": {"gps_coordinates_rectangle": {
        "p1": {"latitude": -90, "longitude": -170}, "p2": {"latitude": 0, "longitude": 20}}}},
]  # fmt: skip
RELEASE = re.compile(r"^## (?:\[)?v?([0-9][^\]\s]*)", re.MULTILINE)


class Upgraded:
    """What was told of the data, and how their token's holder calls."""

    def __init__(self, name):
        self.name = name
        self.told = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
        self.call = Caller(self.told["token"])

    def stored(self, model):
        held = [each for name, each in self.told["stored"].items() if name.startswith(MODELS[model])]
        return [NewInferenceStorageRequest.model_validate(each) for each in held]

    def all(self, model, path="search", **body):
        """Every row."""
        answer = self.call.post(f"models/{model}/{path}", body | {"pagination": {"limit": 1_000}})
        assert answer.status_code == 200, answer.content
        assert answer.json()["next_cursor"] is None
        return answer.json()["granular_inferences" if path == "granular" else "inferences"]

    def has(self, feature):
        return feature in self.told["has"]


@pytest.fixture(scope="module", params=NAMES)
def upgraded(request, django_db_setup, django_db_blocker, tmp_path_factory):
    """The release's data in a database of their own, migrated, which all of this process asks meanwhile."""
    with django_db_blocker.unblock():
        at, wrapper = database(), connections["default"]
        own, name = (
            wrapper.settings_dict["NAME"],
            f"upgrade_{request.param.replace('-', '_').replace('.', '_')}",
        )

        def turn_to(name):
            wrapper.close()
            wrapper.close_pool()
            wrapper.settings_dict["NAME"] = name
            neighbours.look_up_again()  # its models have the numbers of others'

        with psycopg.connect(**at, autocommit=True) as asking:
            asking.execute(f'drop database if exists "{name}"')
            asking.execute(f'create database "{name}"')
            turn_to(name)
            try:
                dump = tmp_path_factory.mktemp("upgrade") / "data.sql"
                dump.write_bytes(gzip.decompress((HERE / f"{request.param}.sql.gz").read_bytes()))
                backups._run("psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={dump}")
                call_command("migrate", verbosity=0)
                yield Upgraded(request.param)
            finally:
                turn_to(own)
                drop_database(asking, name)


@pytest.fixture(autouse=True)
def _blobs(settings, tmp_path):
    settings.BLOB_ROOT = tmp_path / "blobs"
    settings.AUDIT_KEY, settings.AUDIT_KEY_FALLBACKS, settings.AUDIT_HEAD_FILE = AUDIT_KEY, [], ""


# --- Every release has data ---------------------------------------------------------------------------------
def test_every_release_has_data():
    released = set(RELEASE.findall((ROOT / "CHANGELOG.md").read_text()))
    assert released <= set(NAMES), "make them: docs/releases.md"
    assert RELEASE.findall("## Unreleased\n\n## 0.1.0 (2026-12-01)\n## [v2.3]\n") == ["0.1.0", "2.3"]


@pytest.mark.parametrize("name", NAMES)
def test_data_are_small_and_name_their_origin(name):
    for path in HERE.glob(f"{name}.*"):
        assert path.stat().st_size <= LARGEST
    assert re.search(
        rf"^\| `{re.escape(name)}` \| `[0-9a-f]{{7,40}}` \|", (HERE / "README.md").read_text(), re.M
    )


# --- All is there -------------------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS)
def test_every_inference_is_what_was_stored(upgraded, model):
    wanted = {each.inference_id: each for each in upgraded.stored(model)}
    found = {each["inference_id"]: each for each in upgraded.all(model)}
    assert set(found) == set(wanted)
    for name, told in found.items():
        request, standard = wanted[name], wanted[name].data.metadata.standard_metadata
        assert told == upgraded.call.get(f"models/{model}/inferences/{name}").json()
        assert told["created_at"] == request.created_at.isoformat().replace("+00:00", "Z")
        assert (told["is_protected"], told["data_source"]) == (
            bool(request.is_protected),
            standard.data_source,
        )
        assert (told["data_hash"], told["inference_action"]) == (
            standard.data_hash,
            oracle._plain(standard.inference_action),
        )
        place = told["data_coordinates"]
        assert (place and (place["latitude"], place["longitude"])) == (
            None if standard.latitude is None else (standard.latitude, standard.longitude)
        )
        assert told["embedding"] == (list(request.data.embedding) if request.data.embedding else None)
        metadata = {each["key"]: (each["type"], each["value"]) for each in told["metadata"]}
        assert set(metadata) == {each.key for each in request.data.metadata.extended_metadata}
        for each in request.data.metadata.extended_metadata:
            type_, value = metadata[each.key]
            assert type_ == oracle._plain(each.type)
            same = float if type_ in ("int", "float") else json.loads if type_ == "json" else str
            assert same(value) == same(each.value)
    rows = upgraded.all(model, "granular")
    told = [(row["inference"]["inference_id"], row["label"], row["score"]) for row in rows]
    brute = oracle.granular_rows(upgraded.stored(model), BaseInferenceFilter())
    assert sorted(told) == sorted((name, label, score) for name, _, label, score in brute)


def agrees(upgraded, model, *, rows=False):
    """Lists, counts and statistics are what brute force says; with `rows`, granular ones too."""
    stored = upgraded.stored(model)
    for filters in FILTERS:
        asked = BaseInferenceFilter.model_validate(filters)
        wanted = sorted(oracle.ordered_ids(stored, asked))
        assert sorted(each["inference_id"] for each in upgraded.all(model, filters=filters)) == wanted, (
            filters
        )
        counted = upgraded.call.post(f"models/{model}/count", {"filters": filters}).json()
        assert counted == {"count": len(wanted)}, filters
        if rows:
            told = [(row["label"], row["score"]) for row in upgraded.all(model, "granular", filters=filters)]
            brute = oracle.granular_rows(stored, asked)
            assert sorted(told) == sorted((label, score) for _, _, label, score in brute), filters
    keys = upgraded.call.get(f"models/{model}/metadata-keys").json()["counts"]
    assert keys == oracle.key_type_counts(stored)
    for key, type_ in (("site", "string"), ("run", "int"), ("quality", "float")):
        values = oracle.observations(stored, BaseInferenceFilter(), key, type_)
        body = {"key": key, "type": type_}
        told = upgraded.call.post(f"models/{model}/metadata-statistics", body).json()
        assert told["count"] == len(values)
        if type_ == "string":
            assert told["distribution"] == Counter(values)
        else:
            assert (told["min"], told["max"]) == (min(values), max(values))


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS)
def test_filters_counts_and_statistics_agree_with_brute_force(upgraded, model):
    agrees(upgraded, model, rows=True)


@pytest.mark.django_db
def test_neighbours_are_the_nearest(upgraded):
    near_as_by_brute_force(upgraded)


def near_as_by_brute_force(upgraded):
    query = [0.5, -0.25, 1.0]
    for metric in ("cosine", "l2", "negative_dot_product"):
        asked = {"query_embedding": query, "distance_metric": metric}
        part = {"limit": 12, "sort": "embedding_distance", "direction": "asc"}
        page = {"embedding_filters": asked, "pagination": part}
        found = upgraded.call.post("models/detector/search", page)
        assert found.status_code == 200, found.content
        told = [each["embedding_distance"] for each in found.json()["inferences"]]
        held = [each.data.embedding for each in upgraded.stored("detector")]
        assert told == pytest.approx(
            sorted(oracle.distance(metric, query, each) for each in held)[:12], abs=1e-6
        )


@pytest.mark.django_db
def test_jobs_policies_and_views_are_there(upgraded):
    told, call = upgraded.told, upgraded.call
    if upgraded.has("exports"):
        task = call.get(f"models/detector/export-tasks/{told['export']['id']}").json()
        assert (task["state"], task["progress_count"]) == ("complete", told["export"]["count"])
    if upgraded.has("retention"):
        policy = call.get("models/sorter/retention-policy").json()
        assert (policy["id"], policy["delete_action"]) == (told["policy"], "soft")
        assert RetentionTask.objects.get().state == "complete"
    if upgraded.has("views"):
        assert [(each.name, each.query) for each in SavedView.objects.all()] == [("owls", "label=owl")]
    pages = Client()
    pages.force_login(User.objects.get(), "django.contrib.auth.backends.ModelBackend")
    for page in ("/", "/models/detector/", "/models/sorter/inferences/s-029/", "/models/sorter/retention/"):
        assert pages.get(page).status_code == 200, page


@pytest.mark.django_db
def test_the_audit_log_is_as_it_was_sealed(upgraded):
    head = [*sealing.heads_in(upgraded.told["head"])] if upgraded.has("audit") else []
    found = verify(head)
    assert found.wrong == []
    assert found.sealed == upgraded.told.get("sealed", 0)


# --- It goes on ---------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_an_input_is_read(upgraded):
    (key, content), *_ = upgraded.told["blobs"].items()
    with blobs.receive([base64.b64decode(content)], 2**20) as received:
        received.keep(key)
    told = upgraded.call.get("models/sorter/inferences/s-029?presign=true").json()
    assert told["data_storage_key"] == key
    answer = Client().get(told["presigned_url"].removeprefix("http://testserver"))
    assert b"".join(answer.streaming_content) == base64.b64decode(content)


def test_the_background_catches_up_and_nothing_changes(upgraded, settings, monkeypatch):
    settings.VECTOR_INDEX_ROWS = 20
    monkeypatch.setattr(catalogues, "FEWEST_ROWS", 1)
    detector = RegisteredModel.objects.get(model_id="detector")
    exact = Catalogue.objects.filter(registered_model=detector, state=Catalogue.State.EXACT)
    assert exact.exists() == upgraded.has("catalogues")
    leftovers.remove_leftovers()
    if upgraded.has("slots"):
        assert SearchSlot.objects.filter(state="ready").count() == 3
    for type_, key in (("int", "run"), ("string", "site")):
        slot_assignment.assign(model=detector, type_=type_, key=key)
    slot_assignment.assign_slots()
    catalogues.keep_catalogues()
    assert exact.count() >= 5
    vector_indexes.build_due(at_once=True)
    assert VectorIndex.objects.filter(registered_model=detector, state="ready").exists()
    agrees(upgraded, "detector")
    near_as_by_brute_force(upgraded)


def test_it_takes_in_changes_and_deletes(upgraded):
    call, told = upgraded.call, upgraded.told["stored"]
    again = call.post("models/detector/inferences", told["d-000"])
    assert again.status_code == 200  # stored already
    clash = told["d-005"] | {"created_at": "2026-02-01T00:00:00Z"}
    clash["data"] = clash["data"] | {"embedding": [9.0, 9.0, 9.0]}
    assert call.post("models/detector/inferences", clash).status_code == 409
    for name, answers in (("d-new", (201,)), ("d-newer", (201,))):
        told[name] = told["d-005"] | {"inference_id": name, "created_at": "2026-03-01T00:00:00+00:00"}
        assert call.post("models/detector/inferences", told[name]).status_code in answers
    bulk = [told["d-006"] | {"inference_id": f"d-bulk-{number}"} for number in range(20)]
    assert call.post("models/detector/bulk-create", bulk).status_code == 201
    told |= {each["inference_id"]: each for each in bulk}
    assert call.delete("models/detector/inferences/d-newer").status_code == 200
    wanted = {"filters": {"data_source_filter": "camera-2"}}
    gone = call.post("models/detector/bulk-delete", wanted).json()["inference_ids"]
    assert set(gone) == {
        name
        for name, each in told.items()
        if name.startswith("d-")
        and each["data"]["metadata"]["standard_metadata"]["data_source"] == "camera-2"
    } - {"d-newer"}
    for name in {*gone, "d-newer"}:
        del told[name]
    leftovers.remove_leftovers()
    agrees(upgraded, "detector")


def test_retention_goes_on(upgraded):
    call, told = upgraded.call, upgraded.told
    if upgraded.has("retention"):
        call_command("restore_deleted", model="sorter")
        told["stored"] |= told["softly_deleted"]
        restored = {each["inference_id"] for each in upgraded.all("sorter")}
        assert restored >= set(told["softly_deleted"])
        assert call.delete(f"models/sorter/retention-policies/{told['policy']}").status_code == 200
    policy = {
        "automated_interval": 0,
        "maximum_record_age": 26_280,
        "maximum_blob_age": 26_280,
    }  # three years
    policy = call.post("models/sorter/retention-policies", policy | {"delete_action": "hard"}).json()
    begin = {"dry_run": False, "retention_policy_id": policy["id"]}
    task = call.post("models/sorter/retention-tasks", begin).json()
    retention_runs.run(task["id"])
    for name in [f"s-{number:03}" for number in range(1, 10)]:  # s-000 is protected
        del told["stored"][name]
    agrees(upgraded, "sorter")
    sealing.seal_records()
    assert verify().wrong == []
