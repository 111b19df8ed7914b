"""Home: the models one may see."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.dashboard.conftest import store_seen
from tests.making import make_model, make_project


def test_it_says_what_each_model_holds(page, detector):
    store_seen(detector, "one")
    store_seen(detector, "two")
    make_model("embedder", project=detector.project, embedding_size=64)
    text = page("/").content.decode()
    assert "birds" in text
    assert "Object Detection" in text
    assert "<dd>2</dd>" in text
    assert "64-d" in text
    assert "never" in text


def test_a_fresh_store_shows_how_to_send(page):
    text = page("/").content.decode()
    assert "from inference_store.client import" in text
    assert "inference.create_inference(" in text


@pytest.mark.usefixtures("detector")
def test_twenty_models_cost_the_queries_of_two(page, carol):
    def queries():
        page("/")
        with CaptureQueriesContext(connection) as captured:
            assert page("/").status_code == 200
        return len(captured)

    make_model("second", project=make_project(viewer=carol))
    two = queries()
    for _ in range(18):
        make_model(project=make_project(viewer=carol))
    assert queries() == two
