"""What is foreseen of a batch is what there is at each face's turn, whatever was decided in between."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import face, model_card, people, sighting

from clustering.compare import Seen, compare, cosines_of
from clustering.decide import Criteria, Policy, could_be_here
from clustering.foresight import Foresight
from clustering.roster import Roster, whereabouts
from embedder.records import FaceEmbedding
from embedder.scale import Scale

DIM = 8
CARD = model_card(DIM)
CRITERIA = Criteria(CARD.linking, Scale(CARD.calibration), Policy(nearest=6))
PLACES = [(59.9139, 10.7522), (59.92, 10.76), (60.3913, 5.3221), None]  # two in one town, one 305 km away


def batch(count: int, seed: int) -> list[FaceEmbedding]:
    rng = np.random.default_rng(seed)
    return [
        face(f"{seed}-{at}", vector, minutes=float(rng.integers(200)), place=PLACES[rng.integers(4)], atm=f"a{at}")
        for at, vector in enumerate(people(count, DIM, seed))
    ]


def known_people(count: int, seed: int) -> Roster:
    roster = Roster("m.1", DIM)
    for number, found in enumerate(batch(count, seed), start=1):
        roster.apply(sighting(found, number))
    return roster


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(0, 12))
def test_it_holds_while_this_batch_and_the_one_before_are_decided(seed: int, kept: int, count: int, done: int) -> None:
    rng = np.random.default_rng(seed)
    roster = known_people(kept, seed)
    first, second = batch(count, seed + 1), batch(count, seed + 2)
    earlier = Foresight(first, roster, CRITERIA)
    earlier.look()
    assert earlier.settle()
    ahead = Foresight(second, roster, CRITERIA, earlier)

    def decided(foresight: Foresight, faces: list[FaceEmbedding], place: int) -> None:
        found, candidates = faces[place], foresight.candidates(place)
        known = candidates.known
        one = Seen.of([found], DIM, CRITERIA.scale)
        for number, score in known.scores.items():
            now = compare(one, np.array([[number]]), roster.gallery, CRITERIA.scale, CRITERIA.linking)
            assert (score, known.nearest[number]) == (now.scores[0, 0], now.nearest[0, 0])
        for number, cosines in known.cosines.items():
            assert cosines == cosines_of(found.template, number, roster.gallery)
        here = whereabouts(found.event)
        assert all(could_be_here(roster.identities[n], here, CRITERIA.policy) for n in candidates.at_hand)
        fresh = Foresight([found], roster, CRITERIA)
        fresh.look()
        assert candidates.best == fresh.candidates(0).best
        number = int(rng.integers(1, kept + 1))
        slot = int(rng.integers(-1, len(roster.gallery.rows(number)) + 1))
        kept_in = None if slot < 0 else slot
        roster.apply(sighting(found, number, kept_in))
        foresight.decided(place, number, kept_in)

    for place in range(count):
        if place == min(done, count - 1):
            ahead.look()
        decided(earlier, first, place)
    assert ahead.settle()
    for place in range(count):
        decided(ahead, second, place)


def test_of_what_has_not_changed_nothing_is_done_twice() -> None:
    roster, (one, two) = known_people(30, 3), batch(2, 4)
    foresight = Foresight([one, two], roster, CRITERIA)
    foresight.look()
    foresight.settle()
    leading = foresight.candidates(1).best[: CARD.linking.cohort + 1]
    assert list(foresight.candidates(1).known.scores) == leading
    roster.apply(sighting(one, leading[0], 1))
    foresight.decided(0, leading[0], 1)
    assert list(foresight.candidates(1).known.scores) == leading[1:]


def test_who_is_at_hand_is_seen_beforehand_but_for_those_who_moved_since() -> None:
    roster = Roster("m.1", DIM)
    for number, vector in enumerate(people(30, DIM, 3), start=1):
        roster.apply(sighting(face(f"known-{number}", vector), number))
    foresight = Foresight(
        [face(at, vector, minutes=5) for at, vector in enumerate(people(2, DIM, 4))], roster, CRITERIA
    )
    foresight.look()
    assert foresight.candidates(1).at_hand == frozenset()
    foresight.settle()
    first, *others = foresight.candidates(1).best[: CARD.linking.cohort + 1]
    assert foresight.candidates(1).at_hand == {first, *others}
    foresight.decided(0, first, None)
    assert foresight.candidates(1).at_hand == set(others)


def test_what_nobody_told_of_calls_for_another_look() -> None:
    roster, first = known_people(30, 3), batch(2, 4)
    earlier = Foresight(first, roster, CRITERIA)
    earlier.look()
    ahead = Foresight(batch(2, 5), roster, CRITERIA, earlier)
    ahead.look()
    roster.apply(sighting(first[0], 1))
    assert not ahead.settle()
