"""However faces are batched, repeated, interrupted or replayed, the same people come out, as often as they came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import face, model_card, people

from clustering.decide import Policy
from clustering.index import NumpyIndex
from clustering.records import Sighting
from clustering.roster import Roster
from clustering.snapshot import dump, load
from clustering.stage import ClusterStage
from embedder.records import FaceEmbedding
from ingest.reasons import Reason
from ingest.records import Position, Record, Rejection
from ingest.stage import Delivery

DIM = 6
SOME = settings(max_examples=50)
PLACES = [None, (59.9139, 10.7522), (60.3913, 5.3221)]
# Small limits, so that a few faces reach them.
POLICIES = st.builds(
    Policy,
    templates=st.integers(1, 4),
    nearest=st.integers(1, 12),
    horizon=st.sampled_from([None, timedelta(minutes=90)]),
    redundant=st.sampled_from([0.9, 0.97]),
    visit_gap=st.sampled_from([timedelta(seconds=120), timedelta(minutes=20)]),
)
CARDS = st.sampled_from(
    [
        model_card(DIM),
        model_card(DIM, linking={"threshold": 0.7, "background": 0.4, "cohort": 2, "best_of": 2, "growth": 0.1}),
        model_card(DIM, linking={"threshold": 0.4, "background": 0.0, "cohort": 1, "best_of": 1, "growth": 0.0}),
    ]
)


@st.composite
def stages(draw: st.DrawFn) -> tuple[ClusterStage, ClusterStage]:
    """Two blank stages that are alike."""
    card, policy = draw(CARDS), draw(POLICIES)
    return ClusterStage(card, policy), ClusterStage(card, policy)


@st.composite
def streams(draw: st.DrawFn, most: int = 30) -> list[FaceEmbedding]:
    """Pictures of a few people, more or less alike, not always in time."""
    count, noise, seed = draw(st.integers(1, most)), draw(st.floats(0.05, 0.6)), draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    known = people(draw(st.integers(1, 6)), DIM, seed)
    faces = []
    for i in range(count):
        place = int(rng.integers(3))
        vector = known[rng.integers(len(known))] + noise * rng.normal(size=DIM)
        minutes = 5 * i + float(rng.integers(-20, 20))
        session = None if rng.random() < 0.7 else f"s{rng.integers(4)}"
        quality = round(float(rng.random()), 3)
        faces.append(face(f"e{i}", vector, minutes, quality, atm=f"a{place}", place=PLACES[place], session_id=session))
    return faces


def sent(records: Sequence[Record]) -> list[Delivery]:
    return [Delivery(record, Position(offset=i)) for i, record in enumerate(records)]


def run(stage: ClusterStage, deliveries: Sequence[Delivery], cuts: Sequence[int] = ()) -> list[Record]:
    """What comes of ``deliveries`` in batches that end at ``cuts``."""
    ends = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(deliveries)), len(deliveries)]
    batches = [deliveries[a:b] for a, b in pairwise(ends)]
    return [delivery.record for batch in batches for delivery in stage.process(batch)]


@SOME
@given(stages(), streams(), st.lists(st.integers(1, 30)))
def test_batches_may_end_anywhere(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], cuts: list[int]
) -> None:
    one, other = pair
    assert run(one, sent(faces), cuts) == run(other, sent(faces), range(len(faces)))
    assert one.snapshot() == other.snapshot()


@SOME
@given(stages(), streams(), st.lists(st.integers(1, 30)), st.lists(st.integers(0, 6), max_size=20))
def test_it_does_not_matter_what_was_foreseen(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], cuts: list[int], guesses: list[int]
) -> None:
    """One batch ahead as the worker does it, and also batches that come later, never or in another order."""
    one, other = pair
    arriving = sent(faces)
    ends = [0, *sorted({cut for cut in cuts if cut < len(arriving)}), len(arriving)]
    batches = [arriving[a:b] for a, b in pairwise(ends)]
    outputs = []
    for at, batch in enumerate(batches):
        for guess in guesses[at : at + 2] if guesses else ([0, 1] if at == 0 else [1]):
            if at + guess < len(batches):
                one.foresee(batches[at + guess])
        outputs += [delivery.record for delivery in one.process(batch)]
    assert outputs == run(other, arriving)
    assert one.snapshot() == other.snapshot()


@SOME
@given(stages(), streams(), st.data())
def test_the_journal_is_the_roster(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], data: st.DataObject
) -> None:
    """A snapshot at any point and the journal behind it, read from JSON and in part twice, give the live roster."""
    live, again = pair
    journal = []
    cut, back = data.draw(st.integers(0, len(faces))), data.draw(st.integers(0, 5))
    for i, delivery in enumerate(sent(faces)):
        if i == cut:
            again.restore(live.snapshot())
        journal += [Sighting.model_validate_json(d.record.to_json()) for d in live.process([delivery])]
    if cut == len(faces):
        again.restore(live.snapshot())
    for record in journal[max(0, cut - back) :]:
        again.apply(record)
    assert again.snapshot() == live.snapshot()
    assert list(again.roster.usages()) == list(live.roster.usages())


@SOME
@given(stages(), streams(), st.integers(0, 30), st.booleans())
def test_after_a_restart_it_goes_on_as_if_nothing_had_been(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], cut: int, folded: bool
) -> None:
    """Rows lie in another order then, and neither that nor where batches end now may matter."""
    live, again = pair
    first = run(live, sent(faces)[:cut])
    if folded:
        for record in first:
            again.apply(record)
    else:
        again.restore(live.snapshot())
    assert run(again, sent(faces)[cut:]) == run(live, sent(faces)[cut:])
    assert again.snapshot() == live.snapshot()


@SOME
@given(stages(), streams(), st.data())
def test_repetitions_are_rejected_and_change_nothing(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], data: st.DataObject
) -> None:
    """Each face may come again at any time after it came first, alone or in the same batch."""
    once, repeated = pair
    expected = run(once, sent(faces))
    stream = list(faces)
    for again in data.draw(st.lists(st.sampled_from(faces), max_size=10)):
        stream.insert(data.draw(st.integers(stream.index(again) + 1, len(stream))), again)
    outputs = run(repeated, sent(stream), data.draw(st.lists(st.integers(1, len(stream)))))
    assert repeated.snapshot() == once.snapshot()
    counted = [r.model_dump(exclude={"position"}) for r in outputs if isinstance(r, Sighting)]
    assert counted == [r.model_dump(exclude={"position"}) for r in expected]
    rejected = [r for r in outputs if isinstance(r, Rejection)]
    assert len(rejected) == len(stream) - len(faces)
    assert {r.reason for r in rejected} <= {Reason.DUPLICATE_EVENT}


@SOME
@given(stages(), streams(), st.randoms(use_true_random=False))
def test_what_was_decided_counts_the_same_in_any_order_that_can_be(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding], random: Random
) -> None:
    """People's sightings may be interleaved in any way in which each comes in order and founders come by number."""
    live, shuffled = pair
    journal = [record for record in run(live, sent(faces)) if isinstance(record, Sighting)]
    waiting: dict[int, list[Sighting]] = {}
    for record in journal:
        waiting.setdefault(record.number, []).append(record)
    founded = 0
    while waiting:
        ready = sorted(number for number in waiting if number <= founded + 1)
        number = random.choice(ready)
        founded = max(founded, number)
        shuffled.apply(waiting[number].pop(0))
        if not waiting[number]:
            del waiting[number]
    assert list(shuffled.roster.usages()) == list(live.roster.usages())
    assert shuffled.roster.seen == live.roster.seen
    for number, identity in live.roster.identities.items():
        other = shuffled.roster.identities[number]
        assert other.last == identity.last
        theirs, own = (
            gallery.qualities(gallery.rows(number)) for gallery in (shuffled.roster.gallery, live.roster.gallery)
        )
        np.testing.assert_array_equal(theirs, own)
        assert other.visits.frames == identity.visits.frames


@SOME
@given(stages(), streams())
def test_a_sighting_says_what_the_roster_holds(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding]
) -> None:
    live, _ = pair
    policy, roster, gallery = live._policy, live.roster, live.roster.gallery
    founders = 0
    for delivery in sent(faces):
        (output,) = live.process([delivery])
        record = output.record
        assert isinstance(record, Sighting)
        identity = roster.identities[record.number]
        founders += record.decision == "founded"
        assert founders == len(roster)
        assert record.identity_id == identity.identity_id
        assert record.visits == identity.visits.count
        assert 0 <= record.confidence <= 1
        if record.slot is not None:
            row = gallery.rows(record.number)[[record.slot]]
            np.testing.assert_array_equal(gallery.index.get(row)[0], record.template)
        assert 1 <= len(gallery.rows(record.number)) <= policy.templates
    assert len(gallery) == sum(len(gallery.rows(number)) for number in roster.identities)
    assert len(roster.seen) == len(faces) == sum(len(identity.visits) for identity in roster.identities.values())


@SOME
@given(stages(), streams())
def test_the_index_behind_it_does_not_matter(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding]
) -> None:
    one, other = pair
    other.roster = Roster("m.1", DIM, other.roster.gap, NumpyIndex(DIM))
    assert run(one, sent(faces), range(0, 30, 7)) == run(other, sent(faces), range(0, 30, 7))
    assert one.snapshot() == other.snapshot()


@SOME
@given(stages(), streams())
def test_a_snapshot_read_is_the_snapshot_written(
    pair: tuple[ClusterStage, ClusterStage], faces: list[FaceEmbedding]
) -> None:
    live, blank = pair
    run(live, sent(faces))
    content = live.snapshot()
    assert dump(load(content, blank.roster)) == content
    assert len(blank.roster) == 0


@SOME
@given(st.integers(1, 8), st.floats(0, 0.25), st.integers(0, 10**6))
def test_twenty_pictures_of_one_person_leave_a_bounded_number_of_templates(most: int, noise: float, seed: int) -> None:
    stage = ClusterStage(model_card(16), Policy(templates=most))
    rng = np.random.default_rng(seed)
    base = people(1, 16, seed)[0]
    faces = [face(i, base + noise / 4 * rng.normal(size=16), i, round(float(rng.random()), 3)) for i in range(20)]
    run(stage, sent(faces))
    assert len(stage.roster) == 1
    assert len(stage.roster.gallery) <= most
    assert sum(len(identity.visits) for identity in stage.roster.identities.values()) == 20
