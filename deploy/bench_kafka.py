"""How fast the stream is, and how soon it is back: roles as processes, joined by a real broker."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import BaseModel, ConfigDict

from deploy.bench_backlog import (
    VIEW,
    BacklogMemory,
    check_redis,
    embedder_memory,
    restore_seconds,
    scope_memory,
    view_memory,
    work_off,
)
from deploy.bench_crowd import Crowd
from deploy.bench_gateway import GatewayBench, measure_gateway
from deploy.bench_latency import measure_latency
from deploy.bench_stream import Say, Stream, stream_of_its_own
from deploy.roles import EMBEDDER
from deploy.settings import Settings
from embedder.cards import ModelCard
from ingest.records import AtmEvent


@dataclass(frozen=True, slots=True)
class KafkaBenchOptions:
    """How much of everything.

    ``faces`` come to a roster of ``templates``; ``recovery_templates`` are restored; ``events`` come at ``rate`` a
    second; ``images`` go to the gateway in each form, over ``connections``.  Each role's memory is watched with
    ``backlog`` records before it, unless that is 0.
    """

    faces: int = 20_000
    templates: int = 100_000
    recovery_templates: int = 200_000
    events: int = 300
    rate: float = 10.0
    images: int = 5000
    connections: int = 16
    backlog: int = 0


class KafkaBench(BaseModel):
    """What ``bench kafka`` prints.

    ``faces_per_second`` is the clusterer's rate from topic to committed sighting, with the whole backlog there before
    it starts, ``sightings_per_second`` the alerter's.  ``recovery_s`` is from the start of the process to the first
    input committed.  ``latency_ms`` is from publishing an event with its picture to consuming its alert, ``answered``
    how many of the events got one.  ``gateway`` has what it took in each form of a request.  ``cpu_ms_per_input``
    counts all threads of a role.  ``rss_mb`` is a role's largest resident memory, ``rss_mb_course`` that after each
    tenth of its inputs, of which three in ten bring a person that the roster did not know.  ``backlog`` is the memory
    of each role over a backlog of people who are all known, where one was asked for; of the view where a Redis is set.
    """

    model_config = ConfigDict(frozen=True)

    cores: int
    templates: int
    faces: int
    faces_per_second: float
    sightings_per_second: float
    recovery_templates: int
    recovery_s: dict[str, float]
    events: int
    answered: int
    latency_ms: dict[str, float]
    gateway: dict[str, GatewayBench]
    cpu_ms_per_input: dict[str, float]
    rss_mb: dict[str, float]
    rss_mb_course: dict[str, list[float]]
    backlog: dict[str, BacklogMemory]


def bench_kafka(
    settings: Settings, card: ModelCard, pictures: list[AtmEvent], options: KafkaBenchOptions, say: Say
) -> KafkaBench:
    """Measure on the cluster of ``settings``, with the ``pictures`` repeated; ``say`` hears what is done.

    Raises ``AtmwatchError`` when a role ends or falls silent, and ``UsageError`` where a Redis is set for the view that
    does not answer.
    """
    with_view = options.backlog > 0 and settings.redis.url is not None
    if with_view:
        check_redis(settings)
    with TemporaryDirectory(prefix="atmwatch-bench-") as name, ExitStack() as closing:

        def stream(part: str) -> Stream:
            return closing.enter_context(stream_of_its_own(settings.kafka, Path(name) / part))

        # What is timed record by record comes first, so that no journal written before keeps the broker's disk busy.
        answers = measure_latency(stream("latency"), pictures, options.events, options.rate, say)
        gateway = measure_gateway(stream("gateway"), pictures, options.images, options.connections, say)
        crowd = Crowd(card, options.templates)
        workers = work_off(stream("rates"), crowd, options.faces, say)
        recovery = restore_seconds(stream("recovery"), Crowd(card, options.recovery_templates), say)
        backlog = {}
        if options.backlog:
            backlog[EMBEDDER] = embedder_memory(stream("pictures"), pictures, options.backlog, say)
            faces = stream("faces")
            backlog |= scope_memory(faces, Crowd(card, options.templates, joins=1.0), options.backlog, say)
            if with_view:
                backlog[VIEW] = view_memory(faces, settings, options.templates + options.backlog, say)
    delays = answers.delays_ms
    rss_mb = {role.role: role.most_mb for role in answers.roles}
    return KafkaBench(
        cores=len(os.sched_getaffinity(0)),
        templates=options.templates,
        faces=options.faces,
        faces_per_second=round(workers[0].rate, 1),
        sightings_per_second=round(workers[1].rate, 1),
        recovery_templates=options.recovery_templates,
        recovery_s=recovery,
        events=options.events,
        answered=len(delays),
        latency_ms={f"p{p}": round(float(np.percentile(delays, p)), 1) for p in (50, 99)} if delays else {},
        gateway=gateway,
        cpu_ms_per_input={EMBEDDER: round(answers.embedder_cpu_ms, 4)}
        | {role.role: round(role.cpu_ms, 4) for role in workers},
        rss_mb=rss_mb | {role.role: max(role.most_mb, rss_mb[role.role]) for role in workers},
        rss_mb_course={role.role: role.tenths_mb for role in workers},
        backlog=backlog,
    )
