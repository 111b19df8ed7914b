"""The code that an empty page shows sends an inference, as it stands."""

import html
import re
from pathlib import Path

import pytest

from inference_store.client import connection
from inference_store.contract.enums import TaskType
from inference_store.models import Inference, Token
from tests.dashboard.conftest import picture_bytes
from tests.making import make_model, make_project, make_user

CODE = re.compile(r'id="first-code"[^>]*><code>(.*?)</code>', re.DOTALL)


@pytest.fixture
def bob(transactional_db, quick_passwords):
    yield make_user("bob")
    connection.disconnect()


@pytest.fixture
def run(live_server, client, bob, tmp_path, monkeypatch):
    """Run the code of a page of bob's, with a token of bob's."""
    monkeypatch.chdir(tmp_path)
    Path("picture.jpg").write_bytes(picture_bytes(kind="JPEG"))
    _, secret = Token.objects.issue(bob, "first steps")
    client.force_login(bob)

    def ran(address):
        (code,) = CODE.findall(client.get(address).content.decode())
        code = html.unescape(code).replace("http://testserver", live_server.url).replace("ist_…", secret)
        exec(code, {})

    return ran


@pytest.mark.parametrize("task", TaskType)
def test_of_a_model_that_has_none(task, run, bob):
    make_model("fresh", task=task, embedding_size=3, project=make_project(editor=bob))
    run("/models/fresh/")
    stored = Inference.objects.get()
    assert stored.inference_id == "first"
    assert stored.data_storage_key


def test_of_a_store_that_has_no_model(run, bob):
    make_project("my-project", editor=bob)
    run("/")
    assert Inference.objects.get().registered_model.model_id == "my-model"
