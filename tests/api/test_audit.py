"""Each write of the API is one audit record, and who administers the project may read them."""

import hashlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.contract.enums import AuditAction as Action
from inference_store.models import AuditRecord
from inference_store.services import audit, sealing
from tests.api.test_access import MATRIX, QUERIES, ROUTES, address, make_export, make_retention
from tests.cast import request_of

READS = None
WRITES = {
    ("projects", "POST"): None,  # for staff: below
    ("models", "POST"): Action.MODEL_CREATE,
    ("inferences", "POST"): Action.INFERENCE_CREATE,
    ("search", "POST"): READS,
    ("count", "POST"): READS,
    ("granular", "POST"): READS,
    ("map-cells", "POST"): READS,
    ("bulk-create", "POST"): Action.INFERENCE_CREATE,
    ("create-from-upload", "POST"): None,  # of what was never uploaded
    ("bulk-delete", "POST"): Action.INFERENCE_DELETE,
    ("protection", "PUT"): Action.INFERENCE_PROTECT,
    ("bulk-protection", "POST"): Action.INFERENCE_PROTECT,
    ("inference", "DELETE"): Action.INFERENCE_DELETE,
    ("metadata", "POST"): Action.METADATA_SET,
    ("metadata", "DELETE"): Action.METADATA_DELETE,
    ("metadata-statistics", "POST"): READS,
    ("upload-data", "POST"): Action.UPLOAD_CREATE,
    ("upload-metadata", "POST"): Action.UPLOAD_CREATE,
    ("retention-policies", "POST"): None,  # the same again
    ("one-retention-policy", "DELETE"): Action.POLICY_DELETE,
    ("retention-tasks", "POST"): Action.TASK_CREATE,
    ("retention-task-search", "POST"): READS,
    ("stop-retention-task", "POST"): None,  # it has ended
    ("export-tasks", "POST"): Action.EXPORT_CREATE,
    ("stop-export-task", "POST"): Action.EXPORT_STOP,
    ("blob", "PUT"): None,  # not signed
}
"""What each route that may write records, as the matrix of access calls it."""
ALL = {(name, method) for name, methods in MATRIX.items() for method in methods if method != "GET"}
ALL -= {("unknown", method) for method in ("POST", "PUT", "DELETE")}


def test_every_route_that_may_write_has_its_entry():
    assert set(WRITES) == ALL


def seen(cast, detector):
    cast.bob.post("models/detector/inferences", request_of("i-1"))
    cast.bob.post("models/detector/inferences/i-1/metadata", {"key": "run", "type": "int", "value": "7"})
    make_retention(detector)
    make_export(detector, cast.users["alice"])


@pytest.mark.parametrize(("name", "method"), sorted(WRITES))
def test_a_write_is_one_record_and_a_refusal_none(cast, detector, name, method):
    seen(cast, detector)
    route = next(route for route in ROUTES if route.name == name)
    path = address(route) + QUERIES.get((name, method), "")
    body = MATRIX[name][method][1]
    before = AuditRecord.objects.count()
    for caller in (cast.nobody, cast.mallory, cast.carol):
        if name != "export-tasks":  # a viewer may
            caller(method, path, body)
    assert AuditRecord.objects.count() == before
    cast.alice(method, path, body)
    added = list(AuditRecord.objects.order_by("id")[before:])
    expected = WRITES[name, method]
    assert [record.action for record in added] == ([expected.value] if expected else [])
    for record in added:
        assert (record.project_id, record.outcome) == ("birds", "done")


def test_a_staff_member_creates_a_project(cast):
    cast.users["alice"].is_staff = True
    cast.users["alice"].save()
    assert cast.alice.post("projects", {"project_id": "p"}).status_code == 201
    assert [record.action for record in AuditRecord.objects.all()] == ["project.create"]


def test_what_rolls_back_leaves_no_record(cast, detector):
    assert cast.bob.post("models/detector/inferences", request_of("i-1")).status_code == 201
    again = [request_of("i-2"), request_of("i-1", data={"embedding": [9.0, 9.0, 9.0]})]
    assert cast.bob.post("models/detector/bulk-create", again).status_code == 409
    assert cast.bob.post("models/detector/inferences", request_of("i-1")).status_code == 200
    assert AuditRecord.objects.count() == 1


def test_a_write_whose_record_fails_fails(cast, detector):
    with connection.cursor() as cursor:
        cursor.execute("alter table inference_store_auditrecord add constraint none check (false) not valid")
    cast.bob.raises = False
    assert cast.bob.post("models/detector/inferences", request_of("i-1")).status_code == 500
    assert cast.bob.post("models/detector/bulk-create", [request_of("i-1")]).status_code == 500
    assert cast.bob.get("models/detector/count").json() == {"count": 0}


def test_a_deletion_has_a_receipt_that_can_be_followed(cast, detector, settings):
    settings.AUDIT_KEY = "k" * 40
    ids = [f"i-{number:04}" for number in range(1_500)]
    cast.bob.post("models/detector/bulk-create", [request_of(each) for each in ids])
    sealing.seal_records()
    answer = cast.bob.post("models/detector/bulk-delete", {"filters": {"data_source_filter": "camera"}})
    assert len(answer.json()["inference_ids"]) == 1_500
    assert answer["Audit-Head"].startswith("1:")
    path = f"projects/birds/audit/{answer['Audit-Record']}"
    told = cast.alice.get(path).json()
    assert (told["action"], told["inference_count"]) == ("inference.delete", 1_500)
    assert told["filter"] == {"data_source_filter": "camera"}
    assert told["sequence"] is told["seal"] is None
    listed = b"".join(cast.alice.get(f"{path}/inferences").streaming_content)
    assert listed.decode().split() == ids
    assert hashlib.sha256(listed).hexdigest() == told["ids_digest"]
    sealing.seal_records()
    assert cast.alice.get(path).json()["sequence"] == 2
    assert cast.bob.get(path).status_code == 403
    assert cast.mallory.get(path).status_code == 404


def page(cast, query=""):
    answer = cast.alice.get(f"projects/birds/audit{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_log_is_narrowed_and_paged(cast, detector):
    ids = [f"i-{number}" for number in range(1_001)]
    cast.bob.post("models/detector/bulk-create", [request_of(each) for each in ids])
    cast.bob.delete("models/detector/inferences/i-7")
    cast.bob.post("models/detector/inferences/i-8/metadata", {"key": "run", "type": "int", "value": "7"})
    everything = [record["id"] for record in page(cast)["audit_records"]]
    assert len(everything) == 3
    first = page(cast, "?limit=2")
    rest = page(cast, f"?limit=2&cursor={first['next_cursor']}")
    assert [record["id"] for record in first["audit_records"] + rest["audit_records"]] == everything
    assert rest["next_cursor"] is None

    def actions(query):
        return [record["action"] for record in page(cast, query)["audit_records"]]

    assert actions("?action=inference.delete") == ["inference.delete"]
    assert actions("?model_id=detector&inference_id=i-7") == ["inference.delete", "inference.create"]
    assert actions("?model_id=detector&inference_id=i") == []
    assert actions("?since=2999-01-01T00:00:00Z") == []
    assert len(actions("?until=2999-01-01T00:00:00Z")) == 3
    assert actions("?actor=nobody-of-that-name") == []
    for wrong in ("?inference_id=i", "?action=x", "?since=x", "?cursor=x", "?acton=inference.delete"):
        assert cast.alice.get(f"projects/birds/audit{wrong}").status_code == 400, wrong


def test_a_long_page_costs_what_a_short_one_does(cast, detector):
    for number in range(20):
        cast.bob.post("models/detector/inferences", request_of(f"i-{number}"))
    counts = []
    for limit in (2, 20):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page(cast, f"?limit={limit}")
        counts.append(len(queries))
    assert counts[0] == counts[1] == 4


def test_logins_are_recorded_without_what_was_typed(client, cast):
    user = cast.users["carol"]
    user.set_password("a secret")
    user.save()
    client.post("/login/", {"username": "carol", "password": "guess"})
    client.post("/login/", {"username": "my password", "password": "guess"})
    client.post("/login/", {"username": "carol", "password": "a secret"})
    client.post("/logout/")
    found = AuditRecord.objects.order_by("id").values_list("action", "outcome", "actor")
    assert list(found) == [
        ("login.fail", "refused", "carol"),
        ("login.fail", "refused", ""),
        ("login", "done", "carol"),
        ("logout", "done", "carol"),
    ]


def test_who_calls_is_in_the_record(cast, detector):
    by = audit.Calling(
        request_id="r-1", door="api", user_id=7, username="bob", token="ist_abcd", address="::1"
    )
    with audit.calling.serving(by):
        from inference_store.services import ingest
        from tests.making import make_request

        ingest.store_inference(model=detector, request=make_request(detector, "one", entries=[]))
        ingest.store_inferences(model=detector, requests=[make_request(detector, "two", entries=[])])
    for record in AuditRecord.objects.all():
        told = (record.request_id, record.door, record.actor_id, record.actor, record.token, record.address)
        assert told == ("r-1", "api", 7, "bob", "ist_abcd", "::1")
        assert record.inference_count == 1
