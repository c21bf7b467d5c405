"""Roles with a backlog before them: how fast they work it off, how their memory goes, how soon they are back."""

from __future__ import annotations

from itertools import islice

from pydantic import BaseModel, ConfigDict

from alerts.redis_view import ping
from deploy.bench_crowd import Crowd
from deploy.bench_pictures import smaller
from deploy.bench_roles import START_LIMIT_S, TENTHS, RoleProcess
from deploy.bench_stream import Say, Stream, visits_of
from deploy.roles import ALERTER, CLUSTERER, EMBEDDER
from deploy.routes import clusterer_routes, embedder_routes, publisher_route
from deploy.settings import Settings
from deploy.view import opened_views, redis_client
from deploy.view_key import view_key
from deploy.watch import Watch
from ingest.errors import Unavailable, UsageError
from ingest.kafka_bus.config import EVENTS, FACES, SIGHTINGS
from ingest.records import AtmEvent

SLOWEST, SLOWEST_PICTURES = 100.0, 2.0
"""A role that commits fewer inputs a second is given up; so is an embedder of fewer pictures."""
NEWCOMERS = 64
"""Faces by which a restored clusterer shows that it works again."""
PICTURES = 3000
"""Pictures that the embedder works off at most: a long backlog of them takes hours."""
PICTURE_BYTES = 15_000
"""A picture of the backlog has so many bytes at most, for the sake of the broker's disk."""
VIEW = "view"


class BacklogMemory(BaseModel):
    """A role's memory with ``waiting`` records before it, of which it worked off ``taken``.

    ``rss_mb`` is its resident memory after each tenth of those; the view's, after each tenth of the time it took.  What
    waits must not show in it.  What a role has to remember does: the clusterer's and the alerter's grow with the visits
    that they have seen, and keep within the horizon and the rules' windows.
    """

    model_config = ConfigDict(frozen=True)

    waiting: int
    taken: int
    rss_mb: list[float]


def work_off(stream: Stream, crowd: Crowd, faces: int, say: Say) -> list[RoleProcess]:
    """The clusterer and the alerter, after each has worked off ``faces`` inputs; the clusterer knows the crowd."""
    say(f"Writing {crowd.templates:,} sightings and {faces:,} faces")
    stream.publish(crowd.journal(), clusterer_routes(stream.config), SIGHTINGS)
    stream.publish(crowd.faces(faces), embedder_routes(stream.config), FACES)
    done = []
    for role, restored in ((CLUSTERER, crowd.templates), (ALERTER, 0)):
        say(f"The {role} at work")
        with stream.run(role) as process:
            process.wait_for(1, START_LIMIT_S + restored / SLOWEST)
            process.wait_for(faces, START_LIMIT_S + faces / SLOWEST)
        done.append(process)
    return done


def restore_seconds(stream: Stream, crowd: Crowd, say: Say) -> dict[str, float]:
    """Seconds from a clusterer's start to its first input: with the journal alone, then with its snapshot."""
    say(f"Writing {crowd.templates:,} sightings to restore from")
    stream.publish(crowd.journal(), clusterer_routes(stream.config), SIGHTINGS)
    faces, seconds = crowd.faces(2 * NEWCOMERS), {}
    for source in ("journal", "snapshot"):
        stream.publish(islice(faces, NEWCOMERS), embedder_routes(stream.config), FACES)
        say(f"Restoring from the {source}")
        with stream.run(CLUSTERER) as clusterer:  # which takes a snapshot when it is told to stop
            found = clusterer.wait_for(1, START_LIMIT_S + crowd.templates / SLOWEST)
            seconds[source] = round(found.at - clusterer.started, 2)
            clusterer.wait_for(NEWCOMERS, START_LIMIT_S)
    return seconds


def embedder_memory(stream: Stream, pictures: list[AtmEvent], waiting: int, say: Say) -> BacklogMemory:
    """The embedder's memory with ``waiting`` events before it, each with a small picture."""
    taken = min(waiting, PICTURES)
    small = [event.model_copy(update={"image": smaller(event.image or b"", PICTURE_BYTES)}) for event in pictures]
    say(f"Writing {waiting:,} events with pictures")
    stream.publish(visits_of(small, waiting), publisher_route, EVENTS)
    say(f"The {EMBEDDER} at work on {taken:,} of them")
    with stream.run(EMBEDDER) as embedder:
        embedder.wait_for(1, START_LIMIT_S)
        embedder.wait_for(taken, START_LIMIT_S + taken / SLOWEST_PICTURES)
    return BacklogMemory(waiting=waiting, taken=taken, rss_mb=embedder.tenths_mb)


def scope_memory(stream: Stream, crowd: Crowd, waiting: int, say: Say) -> dict[str, BacklogMemory]:
    """The clusterer's memory and the alerter's, with ``waiting`` faces, and then the sightings of them, before each."""
    return {
        role.role: BacklogMemory(waiting=waiting, taken=waiting, rss_mb=role.tenths_mb)
        for role in work_off(stream, crowd, waiting, say)
    }


def check_redis(settings: Settings) -> None:
    """Raise ``UsageError`` unless the Redis of the settings answers: the view's part comes after a long time."""
    try:
        with redis_client(settings) as client:
            ping(client)
    except Unavailable as error:
        message = "the Redis of ATMWATCH_REDIS__URL does not answer: start it, or unset that to go without the view"
        raise UsageError(message) from error


def view_memory(stream: Stream, settings: Settings, sightings: int, say: Say) -> BacklogMemory:
    """The memory of a view role that builds a view of its own, removed at the end, from ``sightings`` journalled."""
    prefix = stream.config.group
    redis = settings.redis.model_copy(update={"prefix": prefix})
    own = settings.model_copy(update={"kafka": stream.config, "redis": redis, "state_dir": stream.folder / "state"})
    say(f"The {VIEW} at work on {sightings:,} sightings")
    try:
        with stream.run(VIEW, ATMWATCH_REDIS__PREFIX=prefix) as view:
            view.wait_ready(START_LIMIT_S + sightings / SLOWEST)
    finally:
        with redis_client(own) as client, opened_views(own, client, view_key(own), Watch()) as views:
            for one in views:
                one.store.clear()
    every = max(1, len(view.looks) // TENTHS)
    course = [round(look.rss_mb, 1) for look in view.looks[every - 1 :: every]]
    return BacklogMemory(waiting=sightings, taken=sightings, rss_mb=course)
