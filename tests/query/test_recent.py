"""What was read a moment ago is read again when that is over, or forgotten."""

from cachetools import TTLCache

from inference_store.query.recent import MOST, SECONDS, Recent


class Clock:
    now, step = 0.0, 0.0

    def __call__(self):
        now, self.now = self.now, self.now + self.step
        return now


def made():
    clock, recent = Clock(), Recent()
    recent._known = TTLCache(MOST, SECONDS, timer=clock)
    read = []

    def ask(key):
        return recent.get(key, lambda: read.append(key) or f"{key}{len(read)}")

    return clock, recent, ask


def test_it_is_read_once_while_it_lasts():
    clock, _, ask = made()
    assert [ask("a"), ask("b"), ask("a")] == ["a1", "b2", "a1"]
    clock.now = SECONDS - 0.001
    assert ask("a") == "a1"
    clock.now = SECONDS
    assert ask("a") == "a3"


def test_it_is_forgotten():
    _, recent, ask = made()
    assert [ask("a"), ask("b")] == ["a1", "b2"]
    recent.forget("a")
    recent.forget("never known")
    assert [ask("a"), ask("b")] == ["a3", "b2"]
    recent.forget_all()
    assert [ask("a"), ask("b")] == ["a4", "b5"]


def test_nothing_found_is_remembered_too():
    _, recent, _ = made()
    asked = []
    for _ in range(2):
        assert recent.get("none", lambda: asked.append(1) or []) == []
    assert asked == [1]


def test_it_may_be_over_at_any_moment():
    clock, _, ask = made()
    assert ask("a") == "a1"
    clock.now, clock.step = 0.6 * SECONDS, 0.5 * SECONDS
    assert ask("a") == "a1"
