"""Inferences over REST: one, pages, counts, deletion, protection."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inference_store.models import Inference, RegisteredModel
from tests.cast import Cast, ndjson, request_of

ONE = "models/detector/inferences"


def store(cast: Cast, count: int) -> None:
    body = ndjson([request_of(f"i-{number:03}") for number in range(count)])
    answer = cast.bob.post("models/detector/bulk-create", body, content_type="application/x-ndjson")
    assert answer.status_code == 201, answer.content


def test_store_one_then_the_same_then_other_content(cast: Cast, detector: RegisteredModel) -> None:
    first = cast.bob.post(ONE, request_of())
    assert first.status_code == 201
    assert first.json()["inference_id"] == "i-1"
    assert first.json()["created_at"].endswith("Z")
    again = cast.bob.post(ONE, request_of())
    assert again.status_code == 200
    assert again.json() == first.json()
    other = cast.bob.post(ONE, request_of(standard={"data_size": 11}))
    assert other.status_code == 409
    assert other.json()["code"] == "conflict"
    assert Inference.objects.count() == 1


def test_model_id_in_path_and_body_agree(cast: Cast, detector: RegisteredModel) -> None:
    answer = cast.bob.post(ONE, request_of(model_id="other"))
    assert answer.status_code == 400
    assert "model_id" in answer.json()["fields"]


def test_ids_with_every_kind_of_character(cast: Cast, detector: RegisteredModel) -> None:
    from urllib.parse import quote

    for inference_id in ("a b", "ü/".strip("/"), "50%", "x?y", "x#y", "😀", "%2e%2e", "..."):
        assert cast.bob.post(ONE, request_of(inference_id)).status_code == 201
        answer = cast.carol.get(f"{ONE}/{quote(inference_id, safe='')}")
        assert answer.status_code == 200, inference_id
        assert answer.json()["inference_id"] == inference_id


def test_search_gives_pages_with_a_cursor(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 5)
    seen, cursor = [], None
    while True:
        pagination = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = cast.carol.post("models/detector/search", {"pagination": pagination}).json()
        seen += [each["inference_id"] for each in page["inferences"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert sorted(seen) == [f"i-{number:03}" for number in range(5)]


def test_every_read_with_one_filter_speaks_of_one_set(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 3)
    cast.bob.post(ONE, request_of("other", standard={"data_source": "drone"}))
    body = {"filters": {"data_source_filter": "drone"}}
    found = cast.carol.post("models/detector/search", body).json()["inferences"]
    assert [each["inference_id"] for each in found] == ["other"]
    assert cast.carol.post("models/detector/count", body).json() == {"count": 1}
    rows = cast.carol.post("models/detector/granular", body).json()["granular_inferences"]
    assert [(row["label"], row["score"]) for row in rows] == [("kestrel", 0.9)]
    assert rows[0]["inference"]["inference_id"] == "other"
    deleted = cast.bob.post("models/detector/bulk-delete", body).json()
    assert deleted == {"inference_ids": ["other"]}
    assert cast.carol.post("models/detector/count", {}).json() == {"count": 3}


def test_a_query_string_asks_what_a_body_asks(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 3)
    cast.bob.post(ONE, request_of("other", standard={"data_source": "drone"}))
    query = "data_source=drone&label=kestrel&minimum_score=0.5&metadata=run:int:%3E%3D:7"
    found = cast.carol.get(f"{ONE}?{query}&limit=5&direction=desc").json()["inferences"]
    assert [each["inference_id"] for each in found] == ["other"]
    assert cast.carol.get(f"models/detector/count?{query}").json() == {"count": 1}
    rows = cast.carol.get(f"models/detector/granular?{query}&sort=score").json()["granular_inferences"]
    assert [row["label"] for row in rows] == ["kestrel"]
    assert cast.carol.get(f"models/detector/count?{query}&label=owl&label=gull").json() == {"count": 1}
    for wrong in ("limit=1001", "limit=x", "minimum_score=NaN", "start=yesterday", "sort=size", "circle=1"):
        answer = cast.carol.get(f"{ONE}?{wrong}")
        assert answer.status_code == 400, wrong
        assert list(answer.json()["fields"]) == [wrong.partition("=")[0]]


def test_embedding_distance(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 1)
    body = {"embedding_filters": {"query_embedding": [1.0, 0.0, 0.5], "distance_metric": "l2"}}
    found = cast.carol.post("models/detector/search", body).json()["inferences"]
    assert found[0]["embedding_distance"] == pytest.approx(0, abs=1e-6)
    body["embedding_filters"]["query_embedding"] = [1.0]
    assert cast.carol.post("models/detector/search", body).status_code == 400


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30, "many"])
def test_a_page_is_of_1_to_1000(cast: Cast, detector: RegisteredModel, limit: Any) -> None:
    for operation in ("search", "granular"):
        answer = cast.carol.post(f"models/detector/{operation}", {"pagination": {"limit": limit}})
        assert answer.status_code == 400
        assert "pagination.limit" in answer.json()["fields"]


def test_get_with_presign(cast: Cast, detector: RegisteredModel) -> None:
    place = cast.bob.post("models/detector/uploads/data").json()
    assert cast.nobody.put(_local(place["data_presigned_url"]), b"input").status_code == 204
    cast.bob.post(ONE, request_of(data_storage_key=place["data_storage_key"]))
    assert cast.carol.get(f"{ONE}/i-1").json()["presigned_url"] is None
    url = cast.carol.get(f"{ONE}/i-1?presign=true").json()["presigned_url"]
    assert url.startswith("http://testserver/api/")
    assert b"".join(cast.nobody.get(_local(url)).streaming_content) == b"input"
    page = cast.carol.post("models/detector/search", {"presign": True}).json()
    assert page["inferences"][0]["presigned_url"].startswith("http://testserver/api/")
    assert cast.carol.get(f"{ONE}/i-1?presign=maybe").status_code == 400


def test_a_disk_that_refuses_is_a_503(
    cast: Cast, detector: RegisteredModel, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    url = _local(cast.bob.post("models/detector/uploads/data").json()["data_presigned_url"])
    settings.BLOB_ROOT = tmp_path / "file" / "blobs"
    answer = cast.nobody.put(url, b"input")
    assert (answer.status_code, answer.json()["code"]) == (503, "blob_store_unavailable")


def test_presigned_urls_start_with_the_public_url(
    cast: Cast, detector: RegisteredModel, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://store.example.org/"
    url = cast.bob.post("models/detector/uploads/data").json()["data_presigned_url"]
    assert url.startswith("https://store.example.org/api/inference-store/v1/blobs/")


def _local(url: str) -> str:
    return url.removeprefix("http://testserver")


def test_delete(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 1)
    assert cast.bob.delete(f"{ONE}/i-000").json() == {"inference_id": "i-000"}
    again = cast.bob.delete(f"{ONE}/i-000")
    assert again.status_code == 404
    assert again.json()["code"] == "not_found"


def test_protection(cast: Cast, detector: RegisteredModel) -> None:
    store(cast, 3)
    assert cast.alice.put(f"{ONE}/i-000/protection", {"is_protected": True}).json()["is_protected"] is True
    assert cast.carol.get(f"{ONE}/i-000").json()["is_protected"] is True
    body = {"filters": {}, "is_protected": True}
    assert cast.alice.post("models/detector/protection", body).json() == {"changed_count": 2}
    assert cast.alice.put(f"{ONE}/none/protection", {"is_protected": True}).status_code == 404


def test_an_editor_may_protect_at_creation(cast: Cast, detector: RegisteredModel) -> None:
    assert cast.bob.post(ONE, request_of(is_protected=True)).json()["is_protected"] is True


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "search", {"presign": True}),
        ("POST", "search", {"embedding_filters": {"query_embedding": [1.0, 0.0, 0.0]}}),
        ("POST", "granular", {}),
        ("POST", "count", {}),
        ("GET", "inferences", None),
        ("GET", "granular", None),
        ("GET", "metadata-keys", None),
        ("POST", "metadata-statistics", {"key": "run", "type": "int"}),
        ("POST", "bulk-delete", {"filters": {}}),
        ("POST", "protection", {"filters": {}, "is_protected": True}),
    ],
)
def test_twenty_rows_cost_the_queries_of_two(
    cast: Cast, detector: RegisteredModel, method: str, path: str, body: Any
) -> None:
    costs = []
    cast.alice(method, f"models/detector/{path}", body)  # what a process remembers for a moment is there now
    for count in (2, 20):
        Inference.objects.all().delete()
        store(cast, count)
        with CaptureQueriesContext(connection) as queries:
            assert cast.alice(method, f"models/detector/{path}", body).status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]
    assert costs[1] <= 13


@pytest.mark.parametrize("path", ["projects", "models"])
def test_lists_of_projects_and_models_cost_the_same(cast: Cast, detector: RegisteredModel, path: str) -> None:
    from inference_store.models import Membership, Project

    costs = []
    for first, last in ((0, 2), (2, 20)):
        for number in range(first, last):
            project = Project.objects.create(project_id=f"p{number}", name="p")
            Membership.objects.create(user=cast.users["carol"], project=project, role="viewer")
            RegisteredModel.objects.create(model_id=f"m{number}", project=project, task_type="Text Embedding")
        with CaptureQueriesContext(connection) as queries:
            answer = cast.carol.get(path)
        assert len(answer.json()[path]) == last + 1
        costs.append(len(queries))
    assert costs[0] == costs[1]
