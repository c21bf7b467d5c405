"""The clusterer as a stage: sightings that say why, rejections that touch nothing, a memory that comes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from templates import deliveries, face, model_card, people, unit

from clustering.calibration import probability
from clustering.decide import Policy
from clustering.index import FEW
from clustering.nearest import GROUP
from clustering.neighbours import SPARE
from clustering.records import Decision, Sighting
from clustering.roster import identity_id_of
from clustering.stage import ClusterStage
from embedder.records import FaceEmbedding, pack
from ingest.errors import Corrupt
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

DIM = 8
BASE = np.eye(DIM)
CARD = model_card(DIM)


def stage(**policy: object) -> ClusterStage:
    return ClusterStage(CARD, Policy.model_validate(policy))


def through(found: ClusterStage, *records: Record) -> list[Record]:
    return [delivery.record for delivery in found.process(deliveries(records))]


def test_faces_become_sightings_of_unknown_people() -> None:
    first, second, third = (
        face("e1", BASE[0], card="t"),
        face("e2", BASE[1], minutes=1),
        face("e3", 0.9 * BASE[0] + 0.3 * BASE[2], minutes=60),
    )
    found = stage()
    outputs = found.process([Delivery(f, Position(partition="p", offset=7 + i)) for i, f in enumerate((first, second))])
    outputs += found.process([Delivery(third, Position(partition="p", offset=9))])
    assert [d.position.offset for d in outputs] == [7, 8, 9]
    one, two, again = (d.record for d in outputs)
    assert isinstance(one, Sighting)
    assert isinstance(two, Sighting)
    assert isinstance(again, Sighting)
    assert (one.decision, one.number, one.slot, one.visits) == (Decision.FOUNDED, 1, 0, 1)
    assert (one.similarity, one.runner_up, one.confidence) == (None, None, 1.0)
    assert one.identity_id == again.identity_id == identity_id_of("e1#0")
    assert (two.decision, two.number, two.runner_up) == (Decision.FOUNDED, 2, 0.0)
    assert (again.decision, again.number, again.slot, again.visits) == (Decision.JOINED, 1, 1, 2)
    assert again.similarity == pytest.approx(0.9 / np.hypot(0.9, 0.3), abs=1e-6)
    assert again.runner_up == 0.0
    assert again.confidence == probability(again.similarity or 0, 2, CARD.calibration)
    shared = ("face_id", "event", "model_id", "vector", "box", "quality", "bystanders")
    assert all(getattr(again, name) == getattr(third, name) for name in shared)
    assert again.position == Position(partition="p", offset=9)


def test_frames_of_one_use_are_one_visit() -> None:
    outputs = through(stage(), *(face(f"e{i}", BASE[0], minutes=i) for i in (0, 1, 2, 10)))
    assert [record.visits for record in outputs if isinstance(record, Sighting)] == [1, 1, 1, 2]
    wide = through(stage(visit_gap=timedelta(hours=1)), *(face(f"e{i}", BASE[0], minutes=i) for i in (0, 10)))
    assert [record.visits for record in wide if isinstance(record, Sighting)] == [1, 1]


def test_within_a_batch_the_first_face_is_known_to_the_second() -> None:
    outputs = through(stage(), face("e1", BASE[0]), face("e2", BASE[0]), face("e3", BASE[1]), face("e4", BASE[1]))
    assert [record.number for record in outputs if isinstance(record, Sighting)] == [1, 1, 2, 2]


Change = Callable[[FaceEmbedding], FaceEmbedding]


def with_vector(vector: np.ndarray) -> Change:
    return lambda sound: sound.model_copy(update={"vector": pack(vector.astype(np.float32))})


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (
            lambda sound: sound.model_copy(update={"model_id": "m.2"}),
            Reason.MODEL_MISMATCH,
            "The template is of model m.2; this roster is of m.1.",
        ),
        (with_vector(unit(BASE[0])[:7]), Reason.BAD_RECORD, "The template has 28 bytes; 32 are needed."),
        (
            lambda sound: sound.model_copy(update={"vector": b"123"}),
            Reason.BAD_RECORD,
            "The template has 3 bytes; 32 are needed.",
        ),
        (with_vector(2 * BASE[0]), Reason.BAD_RECORD, "The template is not a vector of length 1."),
        (with_vector(0 * BASE[0]), Reason.BAD_RECORD, "The template is not a vector of length 1."),
        (with_vector(np.full(DIM, np.nan)), Reason.BAD_RECORD, "The template is not a vector of length 1."),
        (with_vector(np.where(BASE[0] > 0, np.inf, 0)), Reason.BAD_RECORD, "The template is not a vector of length 1."),
    ],
)
def test_what_can_not_be_compared_is_rejected_and_nothing_changes(change: Change, reason: Reason, said: str) -> None:
    found = stage()
    through(found, face("e1", BASE[0]))
    before = found.snapshot()
    bad = change(face("bad", BASE[0], minutes=5, atm="a7", scope="north", image_uri="file:///x.jpg"))
    (delivery,) = found.process([Delivery(bad, Position(offset=3))])
    assert delivery.record == Rejection(
        reason=reason,
        source="file:///x.jpg",
        detail=said,
        stage="clusterer",
        event_id="bad",
        atm_id="a7",
        scope="north",
        captured_at=bad.event.captured_at,
        position=Position(offset=3),
    )
    assert found.snapshot() == before


def test_bad_faces_do_not_disturb_their_batch() -> None:
    sound = [face(f"e{i}", vector, minutes=i) for i, vector in enumerate(people(4, DIM))]
    bad = [with_vector(np.full(DIM, np.nan))(face(f"bad{i}", BASE[0])) for i in range(3)]
    alone, mixed = stage(), stage()
    through(alone, *sound)
    outputs = through(mixed, bad[0], sound[0], sound[1], bad[1], sound[2], sound[3], bad[2])
    assert [isinstance(record, Rejection) for record in outputs] == [True, False, False, True, False, False, True]
    assert mixed.snapshot() == alone.snapshot()


@pytest.mark.parametrize("together", [True, False])
def test_a_face_counts_once(together: bool) -> None:
    found = stage()
    # Sent again, the picture may have been encoded anew; only the first one is looked at.
    first, again, other = face("e1", BASE[0]), face("e1", BASE[1], minutes=9), face("e2", BASE[0], minutes=1)
    if together:
        outputs = through(found, first, again, other)
    else:
        outputs = [record for one in (first, again, other) for record in through(found, one)]
    assert isinstance(outputs[1], Rejection)
    assert outputs[1].reason is Reason.DUPLICATE_EVENT
    assert (len(found.roster), found.roster.seen) == (1, {"e1#0": 1, "e2#0": 1})


def test_a_repetition_in_a_batch_does_not_take_the_first_ones_candidates() -> None:
    """The first one joins whom it resembles, whatever the second one of its id looks like."""
    vectors = people(40, DIM)
    alone, together = stage(nearest=1), stage(nearest=1)
    for found in (alone, together):
        through(found, *(face(f"known{i}", vector) for i, vector in enumerate(vectors)))
    first, again = face("e", vectors[3]), face("e", -vectors[3])
    expected = through(alone, first)[0]
    assert isinstance(expected, Sighting)
    assert expected.decision is Decision.JOINED
    assert through(together, first, again)[0] == expected


def test_records_of_others_pass_through_untouched() -> None:
    foreign = Rejection(reason=Reason.NO_FACE, source="x", detail="None.", stage="embedder")
    batch = deliveries([foreign, face("e1", BASE[0]), foreign])
    outputs = stage().process(batch)
    assert (outputs[0].record, outputs[2].record) == (foreign, foreign)
    assert [d.position for d in outputs] == [d.position for d in batch]
    assert stage().process([]) == []


def test_the_policy_bounds_templates_and_horizon() -> None:
    found = stage(templates=3, horizon=timedelta(hours=1), redundant=0.9999)
    rng = np.random.default_rng(0)
    outputs = through(
        found,
        *(face(f"e{i}", BASE[0] + 0.15 * rng.normal(size=DIM), minutes=i, quality=0.5 + i / 50) for i in range(20)),
    )
    assert {record.number for record in outputs if isinstance(record, Sighting)} == {1}
    assert len(found.roster.gallery) == 3
    assert through(found, face("late", BASE[0], minutes=200))[0].model_dump()["number"] == 2


def test_its_memory_is_what_it_said() -> None:
    live, folded, restored = stage(), stage(), stage()
    outputs = through(live, *(face(f"e{i}", vector, minutes=i) for i, vector in enumerate(people(6, DIM))))
    foreign = Rejection(reason=Reason.NO_FACE, source="x", detail="None.", stage="embedder")
    for record in [foreign, *outputs, *outputs]:
        folded.apply(record)
    restored.restore(live.snapshot())
    assert folded.snapshot() == restored.snapshot() == live.snapshot()
    journalled = [Sighting.model_validate_json(record.to_json()) for record in outputs]
    again = stage()
    for record in journalled:
        again.apply(record)
    assert again.snapshot() == live.snapshot()


def test_a_snapshot_that_is_refused_changes_nothing() -> None:
    found = stage()
    through(found, face("e1", BASE[0]))
    before = found.snapshot()
    other = ClusterStage(model_card(DIM, model_id="m.2"))
    for content in (b"", before[:-1], other.snapshot(), stage(visit_gap=timedelta(seconds=1)).snapshot()):
        with pytest.raises(Corrupt):
            found.restore(content)
        assert found.snapshot() == before


def test_a_large_roster_is_searched_ahead_with_the_same_outcome() -> None:
    """Large enough for the search by stripes, and so that searches and writes do meet."""
    rng, dim = np.random.default_rng(5), 32
    known = people(900, dim, 5)
    faces = [face(f"e{i}", known[rng.integers(900)] + 0.6 * rng.normal(size=dim) / np.sqrt(dim)) for i in range(2400)]
    batches = [deliveries(faces[start : start + 100]) for start in range(0, len(faces), 100)]
    ahead, plain = (ClusterStage(model_card(dim), Policy(nearest=2, templates=3)) for _ in range(2))
    ahead.foresee(batches[0])
    for at, batch in enumerate(batches):
        if at + 1 < len(batches):
            ahead.foresee(batches[at + 1])
        assert ahead.process(batch) == plain.process(batch)
    assert len(plain.roster.gallery) > FEW * GROUP * (2 + SPARE)
    assert ahead.snapshot() == plain.snapshot()


def test_a_restored_memory_owes_nothing_to_what_was_foreseen() -> None:
    found, batch = stage(), deliveries([face("e2", BASE[0])])
    blank = found.snapshot()
    through(found, face("e1", BASE[0]))
    found.foresee(batch)
    found.restore(blank)
    outcome = found.process(batch)[0].record
    assert isinstance(outcome, Sighting)
    assert outcome.decision is Decision.FOUNDED
