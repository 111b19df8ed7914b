"""The matrix of every route, everybody and every method is tests/access; here, that nothing can escape it.

A route, a method or a caller that is left out of its tables fails the suite.
"""

from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import path
from django.views.generic import View

from inference_store.urls import urlpatterns
from tests.access import routes, test_matrix
from tests.access.expecting import STRANGER
from tests.access.routes import METHODS, ROUTES
from tests.access.world import PEOPLE, TOKENS

LISTED_ROUTES, MOST_METHODS = 80, 7


class Forgotten(View):
    """What somebody might add one day."""

    def get(self, request: Any) -> HttpResponse:
        return HttpResponse()


def test_a_route_without_a_line_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    test_matrix.test_every_route_has_its_line_and_every_line_its_route()
    for where in ("forgotten/", "api/forgotten"):
        more = [*urlpatterns, path(where, Forgotten.as_view(), name=where)]
        monkeypatch.setattr(test_matrix, "ROUTES", list(routes._walk(more)))
        with pytest.raises(AssertionError):
            test_matrix.test_every_route_has_its_line_and_every_line_its_route()


def test_a_line_without_a_route_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_matrix, "ROUTES", [each for each in ROUTES if each.name != "api:search"])
    with pytest.raises(AssertionError):
        test_matrix.test_every_route_has_its_line_and_every_line_its_route()


def test_each_is_called_by_everybody_with_every_method() -> None:
    """Nobody, strangers, who administers another project, and each role; the API with bad tokens too."""
    assert set(METHODS) == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    ranks = {who.rank for who in PEOPLE}
    assert ranks == {None, STRANGER, 0, 1, 2}
    assert {who.name for who in TOKENS} >= {"expired", "revoked"}
    assert len(ROUTES) > LISTED_ROUTES
    (mark,) = [each for each in test_matrix.test_matrix.pytestmark if each.name == "parametrize"]
    assert mark.args[1] is ROUTES


def test_no_line_lets_more_through_than_it_says() -> None:
    """Of the API: nobody is let in, a stranger finds nothing, a viewer writes nothing."""
    open_to_all = {"api:openapi", "api:docs"}
    for route in ROUTES:
        if route.door != "api" or route.name in open_to_all:
            continue
        for method, line in test_matrix.API[route.name].items():
            nobody, stranger = PEOPLE[0], next(who for who in PEOPLE if who.rank == STRANGER)
            assert line.expected(nobody) in ((401,), (403,), (404,)), (route.name, method)
            of_a_model = "<str:model_id>" in route.pattern or "<str:project_id>" in route.pattern
            if of_a_model:
                assert line.expected(stranger) == (404,), (route.name, method)
            viewer = next(who for who in PEOPLE if who.rank == 0)
            if of_a_model and method in ("PUT", "DELETE"):
                assert line.expected(viewer) == (403,), (route.name, method)
