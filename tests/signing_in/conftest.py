"""A real OpenID provider in a process of its own, a store that sends people there, and people."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from inference_store.openid import provider as known_provider
from tests.dashboard.conftest import quick_passwords  # noqa: F401
from tests.workers import Web

SECRET = "the-stores-secret-at-the-provider"
PEOPLE = {
    "ada": {"email": "ada@example.org", "email_verified": True, "groups": ["ml-team"]},
    "eve": {"email": "ada@example.org", "email_verified": False, "groups": []},
}


class ProviderProcess(Web):
    command = [
        *("gunicorn", "tests.signing_in.provider:application", "--bind", "127.0.0.1:0"),
        *("--threads", "4", "--no-control-socket"),
    ]


@dataclass
class Provider:
    """What tests tell it."""

    url: str
    subjects: dict[str, str] = field(default_factory=dict)
    """By name: how it calls each."""

    @property
    def issuer(self) -> str:
        return f"{self.url}/o"

    def control(self, **told: Any) -> None:
        answer = httpx.post(f"{self.url}/control/", content=json.dumps(told), timeout=60)
        answer.raise_for_status()
        self.subjects = answer.json()

    def tampers(self, how: str) -> None:
        self.control(state={"tampering": how})


@pytest.fixture(scope="session")
def provider_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    home = tmp_path_factory.mktemp("provider")
    running = ProviderProcess(home / "provider.log", PROVIDER_HOME=str(home))
    running.start()
    running.ready()
    yield Provider(running.url)
    running.kill()


@pytest.fixture
def provider(provider_process: Provider, live_server: Any, settings: Any) -> Iterator[Provider]:
    """The provider, and a store that is registered with it."""
    known_provider.forget()
    state = {"tampering": "", "away": False}
    provider_process.control(store=live_server.url, people=PEOPLE, state=state)
    settings.OIDC_ISSUER = provider_process.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = "store", SECRET
    settings.OIDC_NAME = "Example ID"
    settings.AUTHENTICATION_BACKENDS = [
        *settings.AUTHENTICATION_BACKENDS,
        "inference_store.openid.backend.Backend",
    ]
    yield provider_process
    known_provider.forget()


class Person:
    """Somebody with a browser, as far as HTTP goes."""

    def __init__(self, store: str, name: str) -> None:
        self.store, self.name = store, name
        self.browser = httpx.Client(timeout=60)

    def get(self, address: str, **how: Any) -> httpx.Response:
        return self.browser.get(address if "://" in address else f"{self.store}{address}", **how)

    def begin(self, to: str = "/") -> str:
        """Where the store sends them."""
        answer = self.get("/login/oidc/", params={"next": to})
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def at_provider(self, address: str) -> str:
        """Log in there; where it sends them back to, not gone to yet."""
        answer = self.get(address)
        if "/login/" in answer.headers["Location"].partition("?")[0]:
            where = httpx.URL(address).join(answer.headers["Location"])
            if where.path == "/login/":
                self.get(str(where))
                form = {"username": self.name, "password": f"{self.name} at the provider"}
                form |= {"csrfmiddlewaretoken": self.browser.cookies["provider_csrf"]}
                answer = self.browser.post(str(where), data=form)
                answer = self.get(str(where.join(answer.headers["Location"])))
        back: str = answer.headers["Location"]
        assert back.startswith(self.store), back
        return back

    def signs_in(self, to: str = "/") -> httpx.Response:
        """The whole way; what the store answers in the end."""
        return self.get(self.at_provider(self.begin(to)))

    @property
    def is_in(self) -> bool:
        return self.get("/").status_code == 200


@pytest.fixture
def person(live_server: Any) -> Iterator[Callable[[str], Person]]:
    people: list[Person] = []

    def made(name: str = "ada") -> Person:
        people.append(Person(live_server.url, name))
        return people[-1]

    yield made
    for each in people:
        each.browser.close()
