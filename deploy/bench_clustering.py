"""How fast the clusterer decides, without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from time import perf_counter, process_time

from pydantic import BaseModel, ConfigDict

from clustering.decide import Policy
from clustering.records import Decision, Sighting
from clustering.stage import ClusterStage
from deploy.bench_crowd import Crowd
from embedder.cards import ModelCard
from ingest.records import Position, Record
from ingest.stage import Delivery


class ClusteringBench(BaseModel):
    """What ``bench clustering`` prints; ``cpu_ms_per_face`` is of all threads together."""

    model_config = ConfigDict(frozen=True)

    templates: int
    identities: int
    faces: int
    batch: int
    decisions_per_second: float
    cpu_ms_per_face: float
    applied_per_second: float
    joined: float
    snapshot_mb: float
    snapshot_write_s: float
    snapshot_read_s: float


def bench_clustering(card: ModelCard, policy: Policy, templates: int, faces: int, batch: int) -> ClusteringBench:
    """Fill a roster with ``templates`` made-up ones, decide ``faces``, in batches, and write and read a snapshot.

    Each batch is foreseen while the one before is decided, as when there is a backlog in the stream.
    """
    crowd = Crowd(card, templates)
    stage = ClusterStage(card, policy)
    journal = list(crowd.journal())
    start = perf_counter()
    for sighting in journal:
        stage.apply(sighting)
    applied = perf_counter() - start
    del journal
    identities = len(stage.roster)
    arriving = [Delivery(face, Position(offset=offset)) for offset, face in enumerate(crowd.faces(faces))]
    start, cpu = perf_counter(), process_time()
    decided = list(_decided(stage, [arriving[at : at + batch] for at in range(0, faces, batch)]))
    seconds, cpu = perf_counter() - start, process_time() - cpu
    joined = sum(isinstance(record, Sighting) and record.decision is Decision.JOINED for record in decided)
    del arriving, decided
    start = perf_counter()
    content = stage.snapshot()
    written = perf_counter()
    ClusterStage(card, policy).restore(content)
    read = perf_counter()
    return ClusteringBench(
        templates=templates,
        identities=identities,
        faces=faces,
        batch=batch,
        decisions_per_second=round(faces / seconds, 1),
        cpu_ms_per_face=round(1000 * cpu / faces, 4),
        applied_per_second=round(templates / applied, 1),
        joined=round(joined / faces, 4),
        snapshot_mb=round(len(content) / 1e6, 1),
        snapshot_write_s=round(written - start, 3),
        snapshot_read_s=round(read - written, 3),
    )


def _decided(stage: ClusterStage, batches: list[list[Delivery]]) -> Iterator[Record]:
    stage.foresee(batches[0])
    for batch, following in zip_longest(batches, batches[1:]):
        if following:
            stage.foresee(following)
        for delivery in stage.process(batch):
            yield delivery.record
