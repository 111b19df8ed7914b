"""Projects and registered models over REST."""

from inference_store.models import RegisteredModel
from tests.cast import Cast

MODEL = {"model_id": "m", "project_id": "birds", "task_type": "Text Embedding", "embedding_size": 8}


def test_staff_create_projects(cast: Cast) -> None:
    body = {"project_id": "fish", "name": "Fish"}
    assert cast.alice.post("projects", body).status_code == 403
    cast.users["alice"].is_staff = True
    cast.users["alice"].save()
    answer = cast.alice.post("projects", body)
    assert answer.status_code == 201
    assert answer.json() == {"project_id": "fish", "name": "Fish", "role": "admin"}
    assert cast.alice.post("projects", body).status_code == 409


def test_projects_come_with_the_role(cast: Cast) -> None:
    assert cast.carol.get("projects").json() == {
        "projects": [{"project_id": "birds", "name": "Birds", "role": "viewer"}]
    }
    cast.users["mallory"].is_superuser = True
    cast.users["mallory"].save()
    roles = {each["project_id"]: each["role"] for each in cast.mallory.get("projects").json()["projects"]}
    assert roles == {"birds": "admin", "elsewhere": "admin"}


def test_register(cast: Cast) -> None:
    first = cast.bob.post("models", MODEL)
    assert first.status_code == 201
    assert first.json()["embedding_size"] == 8
    again = cast.bob.post("models", MODEL)
    assert (again.status_code, again.json()) == (200, first.json())
    assert cast.bob.post("models", MODEL | {"embedding_size": 9}).status_code == 409
    assert cast.carol.get("models/m").json() == first.json()
    assert cast.carol.get("models").json() == {"models": [first.json()]}


def test_register_where_one_may_not(cast: Cast) -> None:
    assert cast.carol.post("models", MODEL).status_code == 403
    assert cast.mallory.post("models", MODEL).status_code == 404
    assert cast.bob.post("models", MODEL | {"project_id": "elsewhere"}).status_code == 404


def test_a_taken_id_names_no_other_project(cast: Cast, detector: RegisteredModel) -> None:
    answer = cast.mallory.post("models", MODEL | {"model_id": "detector", "project_id": "elsewhere"})
    assert answer.status_code == 409
    assert "birds" not in answer.content.decode().lower()
