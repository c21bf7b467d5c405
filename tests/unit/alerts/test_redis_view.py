"""The view in Redis beyond its contract: keys, privacy, two at a time, and a server that fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest
from redis import Redis
from servers import RedisServer, redis_server

from alerts.redis_view import RedisOptions, RedisView, connect
from alerts.redis_view.rows import Layout, whole
from alerts.view import Order, Projection, Seen, ViewLost
from alerts.view_memory import MemoryView
from alerts.view_writer import ViewWriter, WriterOptions
from ingest.errors import Corrupt, Unavailable, UsageError
from ingest.memory_bus import MemorySource
from ingest.records import Record

pytest_plugins = ["servers.plugin"]

PARTITION = "atm.sightings-0"
NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


class MemoryJournal(MemorySource):
    partition = PARTITION

    def lag(self) -> int:
        return 0 if self.exhausted else 1


def seen(offset: int, who: str = "p1") -> Seen:
    return Seen(offset, who, 1, 1, "a1", NOON, None, f"e{offset}", f"{who} a1", None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be stopped and flushed."""
    server = redis_server(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url, timeout_s=5)
    assert isinstance(client, Redis)
    with client:
        yield client


@pytest.fixture
def options() -> RedisOptions:
    return RedisOptions(prefix=f"unit-{uuid.uuid4().hex}", lease_s=30)


@pytest.fixture
def view(client: Redis, options: RedisOptions) -> RedisView:
    return RedisView(client, "north", options)


def keys(client: Redis, options: RedisOptions) -> list[str]:
    return sorted(client.scan_iter(f"{options.prefix}:*"))


def content(client: Redis, options: RedisOptions) -> str:
    """Everything that lies under the prefix, as text."""
    found = []
    for key in keys(client, options):
        read = {
            "string": client.get,
            "hash": client.hgetall,
            "set": client.smembers,
            "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        }[client.type(key)]
        found.append(f"{key}: {read(key)}")
    return "\n".join(found)


def test_all_keys_of_a_scope_share_one_hash_tag(client: Redis, view: RedisView, options: RedisOptions) -> None:
    view.apply(PARTITION, 1, [seen(1)], after=None)
    view.draft().apply(PARTITION, 1, [seen(1)], after=None)
    found = keys(client, options)
    assert len(found) == 3 + 2 * 8  # no alerts, so eight of the nine parts
    assert all(key.startswith(f"{options.prefix}:{{north}}:v1:") for key in found)
    assert [key for key in found if client.ttl(key) != -1] == [f"{options.prefix}:{{north}}:v1:lease"]


@pytest.mark.parametrize("scope", ["}", "a}b{c", "{}", "ü:*", "a b"])
def test_no_scope_breaks_out_of_its_tag(scope: str) -> None:
    home = Layout.of("p", scope).home
    assert home.count("{") == home.count("}") == 1
    assert home.index("}") > home.index("{") + 1


def test_scopes_do_not_meet(client: Redis, view: RedisView, options: RedisOptions) -> None:
    view.apply(PARTITION, 1, [seen(1)], after=None)
    south = RedisView(client, "south", options)
    assert not south.published()
    south.apply(PARTITION, 1, [seen(1, "p2")], after=None)
    south.clear()
    assert view.totals().identities == 1


def test_neither_card_nor_vector_nor_place_reaches_redis(make, client: Redis, options: RedisOptions) -> None:
    projection = Projection("default", b"k" * 32)
    view = RedisView(client, "default", options)
    sighting = make.sighting(0, "p1", card="tok-secret-1", amount="98765.4321")
    vector = b"\x01\x02\x03\x04" * 4
    change = projection.change(sighting.model_copy(update={"vector": vector}), 0)
    assert change
    view.apply(PARTITION, 0, [change], after=None)
    text = content(client, options)
    assert "p1" in text
    assert view.usage("p1").cards == 1
    for secret in ("tok-secret-1", sighting.event.source, "AQIDBA", "98765.4321"):
        assert secret not in text


def test_clearing_and_publishing_leave_no_key_behind(client: Redis, view: RedisView, options: RedisOptions) -> None:
    view.apply(PARTITION, 1, [seen(1)], after=None)
    first = keys(client, options)
    draft = view.draft()
    draft.apply(PARTITION, 1, [seen(1)], after=None)
    draft.publish()
    draft.publish()  # the answer to the first may have been lost
    second = keys(client, options)
    assert len(second) == len(first)
    assert set(first) & set(second) == {f"{options.prefix}:{{north}}:v1:live"}
    view.draft()
    view.clear()
    assert keys(client, options) == []


def test_a_stretch_of_thousands_is_one_transaction(view: RedisView) -> None:
    count = 3000
    view.apply(PARTITION, count, [seen(i, f"p{i:05}") for i in range(count)], after=None)
    assert view.totals().identities == count
    assert len(view.usages(Order.VISITS, 5000)) == 1000
    assert [usage.identity_id for usage in view.usages(Order.LAST_SEEN, 2, 1500)] == ["p01499", "p01498"]


def test_a_draft_is_one_processes_until_its_lease_ends(client: Redis, view: RedisView, options: RedisOptions) -> None:
    draft = view.draft()
    draft.apply(PARTITION, 1, [seen(1)], after=None)
    with pytest.raises(Unavailable) as caught:
        RedisView(client, "north", options).draft()
    assert caught.value.retry_after == pytest.approx(7.5)
    client.delete(f"{options.prefix}:{{north}}:v1:lease")  # as it ends by itself
    other = RedisView(client, "north", options).draft()
    with pytest.raises(ViewLost):
        draft.apply(PARTITION, 2, [seen(2)], after=1)
    with pytest.raises(ViewLost):
        draft.publish()
    other.publish()
    assert view.totals().pictures == 0
    view.clear()
    assert keys(client, options) == []


@pytest.mark.parametrize("fresh", [True, False])
def test_a_writer_that_comes_between_reading_and_writing_is_noticed(
    client: Redis, view: RedisView, options: RedisOptions, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    if not fresh:
        view.apply(PARTITION, 0, [], after=None)
    other = RedisView(client, "north", options)
    ask = view._link.ask
    between = [lambda: other.apply(PARTITION, 3, [seen(1), seen(2), seen(3)], after=None)]

    def asked(commands: Sequence[tuple[str, ...]]) -> list[object]:
        answers = ask(commands)
        while between:
            between.pop()()
        return answers

    monkeypatch.setattr(view._link, "ask", asked)
    view.apply(PARTITION, 2, [seen(1), seen(2)], after=None)
    assert (view.position(PARTITION), view.totals().pictures) == (3, 3)


def test_two_writers_at_a_time_count_once(redis_url: str, options: RedisOptions, view: RedisView) -> None:
    count = 60

    def write() -> None:
        own = RedisView(connect(redis_url, timeout_s=5), "north", options)
        done: int | None = None
        while done is None or done < count - 1:
            offset = 0 if done is None else done + 1
            own.apply(PARTITION, offset, [seen(offset)], after=done)
            done = own.position(PARTITION)

    threads = [Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert view.position(PARTITION) == count - 1
    assert view.totals().pictures == count


def test_readers_see_the_old_view_or_the_new_one(redis_url: str, options: RedisOptions, view: RedisView) -> None:
    view.apply(PARTITION, 0, [seen(0)], after=None)
    reader = RedisView(connect(redis_url, timeout_s=5), "north", options)
    done = Event()

    def rebuild() -> None:
        for _ in range(20):
            draft = view.draft()
            draft.apply(PARTITION, 0, [seen(0)], after=None)
            draft.publish()
        done.set()

    thread = Thread(target=rebuild)
    thread.start()
    while not done.is_set():
        assert reader.totals().pictures == 1
        assert len(reader.usages(Order.VISITS, 5)) == 1
    thread.join(10)


def test_a_read_that_never_meets_a_standing_view_gives_up(view: RedisView, monkeypatch: pytest.MonkeyPatch) -> None:
    view.apply(PARTITION, 0, [seen(0)], after=None)
    names = iter(range(1000))
    monkeypatch.setattr(view._link, "ask", lambda commands: [f"g{next(names)}", *(None for _ in commands[1:])])
    with pytest.raises(Unavailable):
        view.totals()


def test_rows_that_this_version_cannot_have_written_are_corrupt(client: Redis, view: RedisView) -> None:
    view.apply(PARTITION, 1, [seen(1)], after=None)
    home = Layout.of(view._options.prefix, "north")
    generation = client.get(home.live)
    client.hset(home.key(generation, "usages"), "p1", '{"schema_version": 2}')
    client.hset(home.key(generation, "visits"), "p1", "[{]")
    for read in (view.usage, view.visits):
        with pytest.raises(Corrupt):
            read("p1")
    with pytest.raises(Corrupt):
        view.apply(PARTITION, 2, [seen(2)], after=1)
    with pytest.raises(Corrupt):
        whole("many")


def written(store: RedisView | MemoryView, records: Sequence[Record]) -> ViewWriter:
    options = WriterOptions(batch=7, idle_s=0.001, longest_pause_s=0.05)
    return ViewWriter(store, [MemoryJournal(records, PARTITION)], Projection("default", b"k" * 32), options)


def test_a_flush_and_a_restart_lose_nothing(make, server: RedisServer) -> None:
    records = [make.sighting(i, f"p{1 + i % 3}", f"a{i % 2}", card=f"c{i}") for i in range(40)]
    client = connect(server.url)
    view, oracle = RedisView(client, "default"), MemoryView()
    for store in (view, oracle):
        written(store, records).run(Event(), until_caught_up=True)

    writer = written(view, records)
    for disturb in (server.flush, lambda: (server.kill(), server.start()), view.clear):
        disturb()
        assert not view.published()
        writer.run(Event(), until_caught_up=True)
        assert view.totals() == oracle.totals()
        assert view.usages(Order.VISITS, 9) == oracle.usages(Order.VISITS, 9)
        assert view.recent_visits(50) == oracle.recent_visits(50)


def test_a_server_that_is_away_or_full_is_unavailable_and_nothing_is_half_done(server: RedisServer) -> None:
    client = connect(server.url, timeout_s=0.5)
    view = RedisView(client, "default")
    view.apply(PARTITION, 1, [seen(1)], after=None)
    assert isinstance(client, Redis)
    client.config_set("maxmemory", "1")
    with pytest.raises(Unavailable):
        view.apply(PARTITION, 2, [seen(2)], after=1)
    client.config_set("maxmemory", "0")
    client.config_set("min-replicas-to-write", "1")
    with pytest.raises(Unavailable):
        view.apply(PARTITION, 2, [seen(2)], after=1)
    client.config_set("min-replicas-to-write", "0")
    assert view.position(PARTITION) == 1
    server.stop()
    begun = monotonic()
    for call in (view.published, view.totals, view.clear, view.draft, lambda: view.apply(PARTITION, 2, [], after=1)):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.retry_after > 0
    assert monotonic() - begun < 8


def test_wrong_credentials_are_an_error_of_use_at_once(server: RedisServer) -> None:
    host = server.url.rpartition("@")[2]
    begun = monotonic()
    for url in (f"redis://:wrong@{host}", f"redis://nobody:wrong@{host}", f"redis://{host}"):
        with pytest.raises(UsageError, match="user or password") as caught:
            RedisView(connect(url), "default").published()
        assert "wrong" not in str(caught.value)
    assert monotonic() - begun < 2


def test_a_user_without_the_permission_is_an_error_of_use(server: RedisServer) -> None:
    client = connect(server.url)
    assert isinstance(client, Redis)
    client.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@read", "+multi", "+exec"])
    reader = connect(server.url.replace("redis://:", "redis://reader:").replace(_password(server.url), "pw"))
    RedisView(reader, "default").totals()
    with pytest.raises(UsageError, match="permission"):
        RedisView(reader, "default").apply(PARTITION, 1, [seen(1)], after=None)


def _password(url: str) -> str:
    return url.removeprefix("redis://:").partition("@")[0]


@pytest.mark.parametrize("url", ["localhost:6379", "http://h/0", "redis://:pw@h:port/0"])
def test_a_url_that_can_be_none_is_an_error_of_use(url: str) -> None:
    with pytest.raises(UsageError, match="redis://") as caught:
        connect(url)
    assert "pw@" not in str(caught.value)


def test_an_answer_of_another_kind_is_a_defect(client: Redis, view: RedisView, options: RedisOptions) -> None:
    client.lpush(f"{options.prefix}:{{north}}:v1:live", "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        view.published()
