"""NUL and lone surrogates in every text that anybody can send: 400 naming the field, never a 500.

The places are those of the OpenAPI document, of the filter set, and of the tables of pages.
"""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import transaction
from django.test import Client

from inference_store.filtersets import InferenceFilterSet
from inference_store.models import Inference, RegisteredModel
from tests.access.api_table import API
from tests.access.page_table import PAGES
from tests.access.routes import ROUTES, Route
from tests.cast import BASE, Cast, request_of
from tests.faults import documented
from tests.faults.documented import OPERATIONS, TEXT, WITH_BODY, Operation, is_named, spelt, with_value
from tests.faults.test_row_13_presigned_urls import place
from tests.making import make_user
from tests.workers import Web

ONE = "models/detector/inferences"
TOKEN = "<here>"
BAD = {"a NUL": '"a\\u0000b"', "a lone surrogate": '"a\\ud800b"'}
IN_ADDRESS = {"a NUL": "a%00b", "a lone surrogate": "a%ED%A0%80b"}


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def staff(cast: Cast) -> Cast:
    """As it is; alice may create projects too."""
    cast.users["alice"].is_staff = True
    cast.users["alice"].save()
    return cast


def sent(cast: Cast, operation: Operation, body: bytes) -> Any:
    path = operation.address(model_id="detector", inference_id="i-1", policy_id="x", task_id="x")
    return cast.alice(operation.method, path, body, content_type=operation.content_type)


@pytest.mark.parametrize("bad", BAD)
def test_in_every_text_of_every_operation(staff: Cast, detector: RegisteredModel, bad: str) -> None:
    wrong = []
    for operation in WITH_BODY:
        for each in operation.places:
            if TEXT not in each.kinds:
                continue
            body = spelt(with_value(operation.body, each.path, TOKEN), {TOKEN: BAD[bad]})
            answer = sent(staff, operation, body)
            if answer.status_code != 400 or not is_named(each, answer.json()["fields"]):
                wrong.append((operation.operation_id, each.name, answer.status_code, answer.content))
    assert not wrong
    assert not Inference.objects.exists()


def test_the_document_has_all_of_them() -> None:
    """That nothing is tried would go unnoticed."""
    assert sum(TEXT in place.kinds for operation in WITH_BODY for place in operation.places) > 180
    create = next(each for each in WITH_BODY if each.operation_id == "create_inference")
    names = {place.name for place in create.places if TEXT in place.kinds}
    assert names > {
        *("model_id", "inference_id", "data_storage_key", "created_at", "data.inference"),
        *("data.object_detection.0.label", "data.object_detection.0.added", "data.embedding"),
        *(f"data.metadata.standard_metadata.{name}" for name in ("data_source", "data_hash", "task_type")),
        *(f"data.metadata.extended_metadata.0.{name}" for name in ("key", "type", "value")),
    }


@pytest.mark.parametrize("bad", BAD)
def test_in_names_of_fields(cast: Cast, detector: RegisteredModel, bad: str) -> None:
    body = request_of(data={"object_detection": [{"label": "x", TOKEN: 1}]})
    told = cast.bob.post(ONE, spelt(body, {TOKEN: BAD[bad]}))
    assert (told.status_code, next(iter(told.json()["fields"]))[:21]) == (400, "data.object_detection")
    told = cast.bob.post(ONE, spelt(request_of() | {TOKEN: 1}, {TOKEN: BAD[bad]}))
    assert told.status_code == 400
    assert told.json()["fields"]


@pytest.mark.parametrize("value", [r"\u0000", r"\ud800", r"a\u0000b"])
def test_spelt_by_escapes(cast: Cast, detector: RegisteredModel, value: str) -> None:
    """In text that is JSON itself: metadata of that type and quoted items of a list are read once more."""
    for as_json in (f'"{value}"', f'{{"{value}": 1}}', f'[{{"a": ["{value}"]}}]'):
        extended = [{"key": "k", "type": "json", "value": as_json}]
        answer = cast.bob.post(ONE, request_of(extended=extended))
        assert answer.status_code == 400, as_json
        assert next(iter(answer.json()["fields"])).startswith("data.metadata.extended_metadata")
    listed = {"key": "k", "operator": "in", "type": "string", "value": f'["{value}"]'}
    answer = cast.carol.post("models/detector/search", {"filters": {"metadata_filter": [listed]}})
    assert answer.status_code == 400
    # Where it is not read as JSON it is a backslash and letters.
    assert cast.bob.post(ONE, request_of(standard={"data_source": value})).status_code == 201


@pytest.mark.parametrize("bad", BAD)
def test_in_what_was_uploaded(cast: Cast, detector: RegisteredModel, bad: str) -> None:
    create = next(each for each in WITH_BODY if each.operation_id == "create_inference")
    for each in create.places:
        if TEXT not in each.kinds or each.path[0] != "data":
            continue
        key, url = place(cast, "metadata")
        body = with_value(create.body, each.path, TOKEN)["data"]
        cast.nobody.put(url, spelt(body, {TOKEN: BAD[bad]}))
        told = {"inference_id": "up", "metadata_storage_key": key}
        answer = cast.bob.post("models/detector/create-from-upload", told)
        assert answer.status_code == 400, each.name
    assert not Inference.objects.exists()


def test_in_every_query_parameter(cast: Cast, detector: RegisteredModel) -> None:
    tried = 0
    for operation in OPERATIONS:
        if operation.path.endswith("/blobs/{key}"):
            continue  # nothing is read there that was not signed
        for name in operation.query:
            path = operation.address(
                model_id="detector", inference_id="i-1", project_id="birds", task_id="x", record_id="1"
            )
            body = spelt(request_of()) if operation.schema else None  # of the one that takes both
            answer = cast.alice(operation.method, f"{path}?{name}={IN_ADDRESS['a NUL']}", body)
            assert answer.status_code in (400, 404), (operation.operation_id, name, answer.content)
            if answer.status_code == 400 and name != "cursor":
                assert name in answer.json()["fields"], (operation.operation_id, name, answer.json())
            replaced = cast.alice(operation.method, f"{path}?{name}={IN_ADDRESS['a lone surrogate']}", body)
            assert replaced.status_code < 500, (operation.operation_id, name)
            tried += 1
    assert tried > 60


@pytest.mark.parametrize("bad", IN_ADDRESS)
def test_in_every_part_of_an_address(cast: Cast, detector: RegisteredModel, bad: str) -> None:
    cast.bob.post(ONE, request_of())
    good = {"model_id": "detector", "inference_id": "i-1", "project_id": "birds", "record_id": "1"}
    for operation in OPERATIONS:
        for name in operation.segments:
            address = operation.address(**good | {name: IN_ADDRESS[bad]})
            body = spelt(operation.body) if operation.schema else None
            answer = cast.alice(operation.method, address, body, content_type=operation.content_type)
            expected = (403, 404) if name == "key" else (400, 404)
            assert answer.status_code in expected, (operation.operation_id, name, answer.content)
            assert cast.nobody(operation.method, address).status_code in (401, 403, 404)
    assert Inference.objects.count() == 1


# --- Pages --------------------------------------------------------------------------------------------------
PATHS = {
    "model_id": "detector",
    "inference_id": "i-1",
    "project_id": "birds",
    "position": "0",
    "kind": "csv",
    "view_id": "00000000-0000-4000-8000-000000000001",
}
OF_PAGES = [route for route in ROUTES if route.door == "page"]
FILTERS = list(InferenceFilterSet.base_filters)
OF_PAGE = ["view", "trail", "field", "size", "v", "chart", "bounds", "similar_to", "vector", "metric"]
OF_PAGE += ["zoom", "key", "type", "bins", "low", "high", "from", "next", "q", "id", "query", "at", "near"]
OF_AUDIT = ["actor", "since", "until", "request_id", "inference_id", "model_id", "action", "cursor"]
OF_PAGE += OF_AUDIT


def page_address(route: Route, **given: str) -> str:
    path = route.pattern
    for name in {*PATHS, "export_id", "task_id", "policy_id"}:
        for form in (f"<{name}>", f"<str:{name}>", f"<int:{name}>", f"<uuid:{name}>"):
            path = path.replace(form, (PATHS | given).get(name, "00000000-0000-4000-8000-000000000009"))
    return f"/{path}"


@pytest.fixture
def browser(cast: Cast, detector: RegisteredModel) -> Client:
    cast.bob.post(ONE, request_of())
    client = Client(raise_request_exception=False)
    client.force_login(cast.users["alice"])
    return client


def test_in_every_form_of_every_page(browser: Client) -> None:
    tried = 0
    for route in OF_PAGES:
        lines = PAGES[route.name].get("POST", ())
        for line in lines if isinstance(lines, tuple) else (lines,):
            for name in line.body or {"typed": ""}:
                for text in ("a\x00b", "a\ud800b"):
                    body = {**(line.body or {}), name: text.encode(errors="surrogatepass")}
                    with transaction.atomic():
                        answer = browser.post(page_address(route), body)
                        transaction.set_rollback(True)
                    assert answer.status_code < 500, (route.name, name, text, answer.content[:300])
                    tried += 1
    assert tried > 70


def test_in_every_parameter_of_every_page(browser: Client) -> None:
    for route in OF_PAGES:
        if "GET" not in PAGES[route.name]:
            continue
        named = [name for name in ("model_id", "inference_id", "project_id") if f":{name}>" in route.pattern]
        for name in named:
            answer = browser.get(page_address(route, **{name: "a%00b"}))
            assert answer.status_code in (302, 400, 404), (route.name, name)
        # One at a time where it is told apart; elsewhere all of them, each of which is read by some page.
        for names in ([*OF_PAGE, *FILTERS], OF_PAGE):
            answer = browser.get(f"{page_address(route)}?{'&'.join(f'{name}=a%00b' for name in names)}")
            assert answer.status_code < 500, (route.name, answer.content[:300])
    for name in OF_PAGE:
        path = "/projects/birds/audit/" if name in OF_AUDIT else "/models/detector/count"
        assert browser.get(f"{path}?{name}=a%00b").status_code < 500, (path, name)
    assert browser.get("/models/detector/?data_source=a%ED%A0%80b").status_code == 200


@pytest.mark.parametrize("type_", ["int", "float", "string"])
def test_in_the_key_of_a_chart(browser: Client, type_: str) -> None:
    path = "/models/detector/charts/one"
    assert browser.get(f"{path}?chart={type_}:a%00").status_code == 404
    assert browser.get(f"/models/detector/charts/?charts={type_}:a%00").status_code == 200


def test_in_the_policy_of_a_run(browser: Client) -> None:
    asked = {"kind": "run", "policy": "\x00"}
    assert browser.post("/models/detector/retention/tasks", asked).status_code == 404


def test_the_filter_of_a_page_names_the_field(browser: Client) -> None:
    for name in FILTERS:
        answer = browser.get(f"/models/detector/?{name}=a%00b")
        assert answer.status_code == 400, name


def test_in_names_of_files(browser: Client) -> None:
    """No page takes any: one that is sent along is not looked at."""
    head = b'--x\r\nContent-Disposition: form-data; name="key"; filename="a\x00\xed\xa0\x80"\r\n\r\n'
    content = head + b"b\r\n--x--\r\n"
    for path in ("/models/detector/inferences/i-1/metadata", "/models/detector/selection", "/login/"):
        answer = browser.generic("POST", path, content, content_type="multipart/form-data; boundary=x")
        assert answer.status_code < 500, path


# --- Headers and cookies ------------------------------------------------------------------------------------
HEADERS = ["Authorization", "X-Request-ID", "If-None-Match", "Range", "Accept", "Content-Type", "Cookie"]
HEADERS += ["X-Forwarded-For", "Referer", "Origin", "User-Agent", "HX-Request", "HX-Current-URL", "Host"]


def test_in_every_header(browser: Client, cast: Cast) -> None:
    for name in HEADERS:
        for text in ("a\x00b", "Bearer ist_a\x00b", 'sessionid="aaaaaaaa\\000b"', "a\xff\x00b"):
            extra = {f"HTTP_{name.upper().replace('-', '_')}": text}
            for path in (f"{BASE}/models", f"{BASE}/{ONE}/i-1", "/models/detector/", "/login/", "/healthz"):
                answer = Client(raise_request_exception=False).get(path, **extra)
                assert answer.status_code < 500, (name, text, path)


@pytest.mark.parametrize("cookie", ["sessionid", "csrftoken", "messages"])
def test_in_cookies(browser: Client, cookie: str) -> None:
    """Whose quoted form spells any byte."""
    for text in ('"aaaaaaaaaaaa\\000b"', '"\\355\\240\\200aaaaaaaaaaaa"'):
        fresh = Client(raise_request_exception=False, headers={"Cookie": f"{cookie}={text}"})
        for path in ("/", "/models/detector/", "/login/"):
            assert fresh.get(path).status_code < 500, (text, path)
        assert fresh.post("/login/", {"username": "x", "password": "y"}).status_code < 500


def test_of_those_who_log_in(db: None) -> None:
    client = Client(raise_request_exception=False)
    make_user("carol")
    for name, password in (("a\x00b", "x"), ("carol", "a\x00b"), (b"\xed\xa0\x80", "x")):
        answer = client.post("/login/", {"username": name, "password": password})
        assert answer.status_code in (200, 400, 429), (name, answer.content[:300])
        admin = client.post("/admin/login/", {"username": name, "password": password})
        assert admin.status_code < 500


def test_over_the_wire(cast: Cast, transactional_db: None, tmp_path: Any) -> None:
    """As a server process reads it, not only as the framework is handed it."""
    web = Web(tmp_path / "web.log")
    web.start()
    try:
        web.ready()
        headers = {"Authorization": f"Bearer {cast.alice.token}", "Content-Type": "application/json"}
        RegisteredModel.objects.create(
            model_id="detector", project_id="birds", task_type="Object Detection", embedding_size=3
        )
        with httpx.Client(base_url=web.url, headers=headers, timeout=60) as client:
            body = spelt(request_of() | {"data_storage_key": TOKEN}, {TOKEN: BAD["a NUL"]})
            answer = client.post(f"{BASE}/{ONE}", content=body)
            assert (answer.status_code, list(answer.json()["fields"])) == (400, ["data_storage_key"])
            assert client.get(f"{BASE}/models/a%00b").status_code == 404
            assert client.get(f"{BASE}/{ONE}?data_source=%00").status_code == 400
            assert client.get("/", headers={"Cookie": 'sessionid="aaaaaaaaaaa\\000"'}).status_code == 302
        where = urlsplit(web.url)
        with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\x00b\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400")
    finally:
        web.kill()


def test_every_route_of_the_api_is_documented() -> None:
    """Or a field of an operation that is not would never be tried."""
    undocumented = {"api:openapi", "api:docs", "api:unknown"}
    listed = {operation.path for operation in OPERATIONS}
    assert len(listed) == len(API) - len(undocumented)
    assert json.loads(json.dumps(documented.DOCUMENT))["openapi"].startswith("3.")
