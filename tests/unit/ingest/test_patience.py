"""When a picture is given up: never because its store is down, and in the end when only it fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import patience
from ingest.errors import BadRecord, ErrorAnswer, Unavailable
from ingest.patience import Patience, Trials
from ingest.reasons import Reason

PATIENCE = Patience(tries=3, least_s=60.0, most_s=600.0)
BROKEN, DOWN = ErrorAnswer("the store"), Unavailable("the store")
GONE = BadRecord(Reason.UNREADABLE, "The store answered 404.")


class Store:
    """Gives every picture but those that have an answer of their own; ``down`` goes before all.  Time is its own."""

    def __init__(self, *, down: Exception | None = None, **answers: Exception) -> None:
        self.answers = answers
        self.down = down
        self.now = 1000.0
        self.asked: list[str] = []
        self.trials = Trials(PATIENCE, lambda: self.now)

    def read(self, name: str) -> bytes:
        self.asked.append(name)
        if error := self.down or self.answers.get(name):
            raise error
        return name.encode()

    def fetch(self, name: str, store: str = "s") -> str:
        """What came of one try, half a minute after the one before."""
        self.now += 30.0
        try:
            return self.trials.read(name, store, lambda: self.read(name)).decode()
        except Unavailable:
            return "paused"
        except BadRecord as error:
            return error.reason.value

    def until_given_up(self, name: str, most: int = 100) -> int:
        """How many tries it took; the last of ``most`` must be given up."""
        for tried in range(1, most + 1):
            if self.fetch(name) == "unfetchable":
                return tried
        raise AssertionError


@pytest.mark.parametrize("error", [BROKEN, DOWN])
def test_a_picture_that_fails_alone_is_given_up_after_tries_and_time(error: Exception) -> None:
    store = Store(bad=error)
    assert store.fetch("good") == "good"
    assert [store.fetch("bad") for _ in range(3)] == ["paused", "paused", "unfetchable"]
    assert store.asked == ["good", "bad", "bad", "bad", "good"]  # the store was asked for the good one once more
    quick = Store(bad=error)
    quick.fetch("good")
    found = []
    for _ in range(9):
        quick.now -= 20.0
        found.append(quick.fetch("bad"))
    assert found == ["paused"] * 6 + ["unfetchable"] * 3  # tries alone are not enough


def test_the_sentence_says_how_often_and_why() -> None:
    store = Store(bad=BROKEN)
    store.fetch("good")
    store.fetch("bad")
    store.now += 100
    store.fetch("bad")
    with pytest.raises(BadRecord, match="failed to give it 3 times in a row, and was not down") as caught:
        store.trials.read("bad", "s", lambda: store.read("bad"))
    assert caught.value.__cause__ is BROKEN


@pytest.mark.parametrize("error", [BROKEN, DOWN])
def test_a_store_that_is_down_is_waited_for_without_end(error: Exception) -> None:
    store = Store()
    assert store.fetch("good") == "good"
    store.down = error
    for name in ("a", "b", "a", "b"):
        assert [store.fetch(name) for _ in range(200)] == ["paused"] * 200
    store.down = None
    assert [store.fetch(name) for name in ("a", "b")] == ["a", "b"]


def test_with_nothing_to_compare_with_it_takes_longer_and_an_answer() -> None:
    assert Store(bad=BROKEN).until_given_up("bad") == 21  # the 600 s after the first try
    unreachable = Store(down=DOWN)
    assert {unreachable.fetch("bad") for _ in range(200)} == {"paused"}
    other = Store(bad=BROKEN)
    other.fetch("good", store="another store")
    assert other.until_given_up("bad") == 21
    itself = Store()
    itself.fetch("bad")
    itself.answers["bad"] = BROKEN
    assert itself.until_given_up("bad") == 21


def test_a_comparison_that_is_gone_says_nothing() -> None:
    store = Store(bad=BROKEN)
    store.fetch("good")
    store.answers["good"] = GONE  # its signature has run out, say
    assert store.until_given_up("bad") == 21
    assert store.asked.count("good") == 2


def test_what_was_given_up_gets_one_try_when_it_comes_again() -> None:
    """So a batch that is tried again gives it up at once, and a replay finds it when it was mended."""
    store = Store(bad=BROKEN, worse=BROKEN)
    store.fetch("good")
    store.until_given_up("bad")
    assert [store.fetch("worse"), store.fetch("bad")] == ["paused", "unfetchable"]
    del store.answers["bad"]
    assert store.fetch("bad") == "bad"
    store.answers["bad"] = BROKEN
    assert store.fetch("bad") == "paused"


def test_an_answer_ends_the_count() -> None:
    store = Store(bad=BROKEN)
    store.fetch("good")
    store.fetch("bad")
    store.answers["bad"] = GONE
    assert store.fetch("bad") == "unreadable"
    store.answers["bad"] = BROKEN
    assert store.until_given_up("bad") == 3


def test_no_more_failures_are_remembered_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_TRIALS", 5)
    store = Store(down=BROKEN)
    for number in range(50):
        store.fetch(f"picture-{number}")
    assert list(store.trials._failing) == [f"picture-{number}" for number in range(45, 50)]


@given(st.lists(st.sampled_from(["good", "bad", "worse", "down", "up"]), max_size=60))
def test_only_what_fails_alone_is_ever_given_up(steps: list[str]) -> None:
    store = Store(bad=BROKEN, worse=DOWN)
    for step in steps:
        if step in ("down", "up"):
            store.down = DOWN if step == "down" else None
            continue
        outcome = store.fetch(step)
        if store.down:
            assert outcome == "paused"
        elif step == "good":
            assert outcome == "good"
