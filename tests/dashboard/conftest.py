"""Who looks at the pages, and at what."""

import io

import pytest
from PIL import Image

from inference_store.contract.enums import TaskType
from inference_store.models import Membership
from tests.making import make_model, make_project, make_request, make_upload, make_user, store


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """Half a second to hash a password is for those who guess."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def carol(db, quick_passwords):
    """A viewer of the project `birds`."""
    return make_user("carol")


@pytest.fixture
def detector(carol):
    return make_model("detector", task=TaskType.OBJECT_DETECTION, project=make_project("birds", viewer=carol))


@pytest.fixture
def page(client, carol):
    """Get a page as the viewer."""
    client.force_login(carol)
    return client.get


def picture_bytes(width=64, height=48, kind="PNG", colour=(200, 80, 30)):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


def box(label="kestrel", score=0.9):
    return {"label": label, "score": score, "xmin": 4, "ymin": 5, "xmax": 20, "ymax": 30}


def store_seen(model, inference_id, *, content=None, entries=None, **fields):
    """An inference whose input is the bytes, a small picture by default."""
    key = make_upload(model, picture_bytes() if content is None else content)
    entries = [box()] if entries is None else entries
    store(model, make_request(model, inference_id, key=key, entries=entries, **fields))
    return key


def make_member(model, name, role):
    """Another member of the model's project."""
    user = make_user(name)
    Membership.objects.create(user=user, project=model.project, role=role)
    return user
