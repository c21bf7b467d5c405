"""What is foreseen of a batch is what there is at each face's turn, whatever was written in between."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import face, model_card, people

from clustering.compare import Seen, compare, cosines_of
from clustering.decide import Criteria, Policy
from clustering.foresight import Foresight
from clustering.gallery import Gallery
from clustering.index import FaissIndex
from embedder.scale import Scale

DIM = 8
CARD = model_card(DIM)
CRITERIA = Criteria(CARD.linking, Scale(CARD.calibration), Policy(nearest=6))


def seen(count: int, seed: int) -> Seen:
    return Seen.of([face(at, vector) for at, vector in enumerate(people(count, DIM, seed))], DIM, CRITERIA.scale)


def known_people(count: int, seed: int) -> Gallery:
    gallery = Gallery(FaissIndex(DIM))
    for number, vector in enumerate(people(count, DIM, seed), start=1):
        gallery.write(number, 0, vector.astype(np.float32), 0.9, covered=False)
    return gallery


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(0, 12))
def test_it_holds_while_this_batch_and_the_one_before_are_written(seed: int, kept: int, count: int, done: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = known_people(kept, seed)
    first, second = seen(count, seed + 1), seen(count, seed + 2)
    earlier = Foresight(first, gallery, CRITERIA)
    earlier.look()
    ahead = Foresight(second, gallery, CRITERIA, earlier)

    def decided(foresight: Foresight, place: int) -> None:
        faces = foresight.faces
        one = Seen(faces.vectors[[place]], faces.looks[[place]])
        known = foresight.known(place)
        for number, score in known.scores.items():
            now = compare(one, np.array([[number]]), gallery, CRITERIA.scale, CRITERIA.linking)
            assert (score, known.nearest[number]) == (now.scores[0, 0], now.nearest[0, 0])
        for number, cosines in known.cosines.items():
            assert cosines == cosines_of(faces.vectors[place], number, gallery)
        fresh = Foresight(one, gallery, CRITERIA)
        fresh.look()
        assert foresight.best(place) == fresh.best(0)
        number = int(rng.integers(1, kept + 1))
        slot = int(rng.integers(len(gallery.rows(number)) + 1))
        gallery.write(number, slot, faces.vectors[place], 0.5, covered=True)
        foresight.wrote(place, number, slot)

    for place in range(count):
        if place == min(done, count - 1):
            ahead.look()
        decided(earlier, place)
    assert ahead.settle()
    for place in range(count):
        decided(ahead, place)


def test_of_what_has_not_changed_nothing_is_done_twice() -> None:
    gallery = known_people(30, 3)
    foresight = Foresight(seen(2, 4), gallery, CRITERIA)
    foresight.look()
    leading = foresight.best(1)[: CARD.linking.cohort + 1]
    assert list(foresight.known(1).scores) == leading
    gallery.write(leading[0], 1, foresight.faces.vectors[0], 0.5, covered=False)
    foresight.wrote(0, leading[0], 1)
    assert list(foresight.known(1).scores) == leading[1:]


def test_what_nobody_told_of_calls_for_another_look() -> None:
    gallery = known_people(30, 3)
    earlier = Foresight(seen(2, 4), gallery, CRITERIA)
    earlier.look()
    ahead = Foresight(seen(2, 5), gallery, CRITERIA, earlier)
    ahead.look()
    gallery.write(1, 0, earlier.faces.vectors[0], 0.5, covered=False)
    assert not ahead.settle()
