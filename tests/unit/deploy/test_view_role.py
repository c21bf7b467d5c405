from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from alerts.redis_view import Client
from alerts.view import ViewLost
from deploy.metrics import Dependency
from deploy.settings import load_settings
from deploy.view import ScopeView, culprit, keep_views, redis_client
from deploy.view_key import KeyedView, view_key
from deploy.watch import Watch
from ingest.errors import Corrupt, Unavailable, UsageError
from ingest.kafka_bus.feed import JournalDamaged
from ingest.kafka_bus.member import Place


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path / "state")
    key = view_key(settings)
    assert len(key) >= 32
    assert view_key(settings) == key
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert view_key(load_settings(state_dir=tmp_path / "other")) != key


def test_the_first_of_two_that_make_a_secret_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(state_dir=tmp_path)
    (tmp_path / "view.key").write_text("w" * 32)
    plain = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path, **_: path.name != "view.key" and plain(path))
    assert view_key(settings) == b"w" * 32
    assert [path.name for path in tmp_path.iterdir()] == ["view.key"]


@pytest.mark.parametrize("content", ["short", "x" * 65, "", "x" * 1000])
def test_a_named_secret_must_be_one(tmp_path: Path, content: str) -> None:
    settings = load_settings(view_secret_file=tmp_path / "secret", state_dir=tmp_path)
    with pytest.raises(UsageError, match="can't be read"):
        view_key(settings)
    (tmp_path / "secret").write_text(content)
    with pytest.raises(UsageError, match="16 to 64 bytes"):
        view_key(settings)
    (tmp_path / "secret").write_text(f"{'k' * 20}\n")
    assert view_key(settings) == b"k" * 20


def test_a_state_folder_that_takes_no_secret_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="ATMWATCH_VIEW_SECRET_FILE"):
        view_key(load_settings(state_dir=tmp_path / "file"))


def test_no_redis_is_told() -> None:
    with pytest.raises(UsageError, match="ATMWATCH_REDIS__URL"), redis_client(load_settings()):
        pass


def test_a_redis_url_with_a_password_is_not_shown() -> None:
    settings = load_settings(redis={"url": "redis://:hush-hush@host:6379/0"})
    assert "hush-hush" not in f"{settings!r} {settings.model_dump_json()}"


class Writer:
    """Does what it is told to, one after the other."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.rebuilds = 0

    def step(self, _stop: Event) -> int:
        todo = self.steps.pop(0)
        if isinstance(todo, Exception):
            raise todo
        if todo == "rebuild":
            self.rebuilds += 1
            return 0
        return cast(int, todo)


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def watch(self) -> Watch:
        return Watch(
            ready=lambda: self.lines.append("ready"),
            not_ready=self.lines.append,
            depends=lambda dependency, up: self.lines.append(f"{dependency} {'up' if up else 'down'}"),
            spent=lambda step, _: self.lines.append(step),
            restored=lambda _: self.lines.append("restored"),
            view_lags=lambda lags: self.lines.append(f"lag {sum(lags.values())}"),
        )


def scope_view(told: Told, *steps: object, feeds: tuple[Any, ...] = ()) -> ScopeView:
    return ScopeView("north", cast(KeyedView, None), cast(Any, Writer(*steps)), feeds, told.watch())


def turned(view: ScopeView) -> int:
    view.due = 0.0
    return view.turn(Event())


def test_a_turn_tells_what_it_did() -> None:
    told = Told()
    view = scope_view(told, "rebuild", 3, 0)
    assert [turned(view) for _ in range(3)] == [0, 3, 0]
    assert view.settled
    assert told.lines == ["redis up", "restored", "redis up", "view", "redis up"]


def test_what_is_away_is_waited_for_ever_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.view.monotonic", lambda: 100.0)
    told = Told()
    view = scope_view(
        told, *(Unavailable("Redis", 1.0) for _ in range(6)), Unavailable("Kafka (Gone)"), ViewLost("lost")
    )
    waits = []
    for _ in range(6):
        turned(view)
        waits.append(view.due - 100.0)
        assert not view.settled
    assert waits[:4] == sorted(waits[:4])
    assert 0.75 <= waits[0] <= 1.25
    assert waits[-1] <= 15 * 1.25
    assert view.turn(Event()) == 0, "not before it is due"
    turned(view)
    turned(view)
    assert told.lines[:2] == ["redis down", "the view of north: Redis"]
    assert told.lines[-3:] == ["kafka down", "the view of north: Kafka (Gone)", "the view of north: lost"]


def test_a_view_that_cannot_be_read_is_built_once_and_a_journal_never() -> None:
    told = Told()
    view = scope_view(told, Corrupt("a row"), 0, Corrupt("a row"), Corrupt("a row"), JournalDamaged("a record"))
    turned(view)
    turned(view)
    assert view.settled
    turned(view)
    with pytest.raises(Corrupt, match="a row"):
        turned(view)
    with pytest.raises(JournalDamaged):
        turned(view)


@pytest.mark.parametrize(
    ("what", "who"),
    [
        ("Redis", Dependency.REDIS),
        ("Kafka (KafkaTimeoutError)", Dependency.KAFKA),
        ("the journal atm.sightings/0", Dependency.KAFKA),
        ("The view's draft, at which another process is at work,", None),
    ],
)
def test_who_is_away(what: str, who: Dependency | None) -> None:
    assert culprit(Unavailable(what)) is who


def test_the_role_is_ready_while_every_view_is_written() -> None:
    told, stop = Told(), Event()

    class Feed:
        place = Place("atm.sightings", 0)

        def lag(self) -> int:
            return 7

    class Away(Feed):
        def lag(self) -> int:
            what = "Kafka"
            raise Unavailable(what)

    def steps(view: ScopeView, then: Callable[[], None]) -> None:
        plain = view.writer.step

        def step(stop: Event) -> int:
            if len(cast(Any, view.writer).steps) == 1:
                then()
            return plain(stop)

        view.writer.step = step  # type: ignore[method-assign]

    view = scope_view(told, 0, 0, feeds=(Feed(),))
    steps(view, stop.set)
    keep_views([view], told.watch(), stop)
    assert told.lines == ["redis up", "ready", "lag 7", "redis up"]
    stop.clear()
    told.lines.clear()
    view = scope_view(told, Unavailable("Redis"), feeds=(Away(),))
    steps(view, stop.set)
    keep_views([view], told.watch(), stop)
    assert told.lines == ["redis down", "the view of north: Redis"]


def test_views_of_two_secrets_bear_different_marks() -> None:
    class Nothing:
        def register_script(self, _: str) -> None:
            pass

    views = [KeyedView(cast(Client, Nothing()), "north", key) for key in (b"a" * 16, b"b" * 16, b"a" * 16)]
    marks = [view._mark for view in views]
    assert marks[0] == marks[2] != marks[1]
    assert "aaaa" not in marks[0]
