"""What a face resembles, against plain arithmetic: whatever the batch writes meanwhile, and however many are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import face, people, sighting, unit

from clustering.codes import probe_codes
from clustering.index import GROUP
from clustering.neighbours import SPARE, Neighbours
from clustering.roster import Roster, Templates

DIM = 8


def roster(vectors: np.ndarray, owners: list[int]) -> Roster:
    """Each of ``vectors`` (n, dim) as a template of its owner; founders come by number."""
    found, slots = Roster("m.1", DIM), dict.fromkeys(owners, 0)
    for at, (vector, owner) in enumerate(zip(vectors, owners, strict=True)):
        found.apply(sighting(face(f"known-{at}", vector), owner, slots[owner]))
        slots[owner] += 1
    return found


def oracle(vector: np.ndarray, known: Roster, nearest: int) -> list[int]:
    rows = np.arange(len(known.gallery))
    scores = known.gallery.index.scores(rows, probe_codes(vector)).tolist()
    ranked = sorted(zip(scores, known.gallery.owners(rows).tolist(), strict=True), key=lambda one: (-one[0], one[1]))
    return list(dict.fromkeys(owner for _, owner in ranked[:nearest]))


def looked(vectors: np.ndarray, known: Roster, nearest: int, before: Neighbours | None = None) -> Neighbours:
    near = Neighbours(vectors, known.gallery, nearest, before)
    near.look()
    return near


def test_a_blank_roster_resembles_nobody() -> None:
    near = looked(np.stack([unit(v) for v in people(2, DIM)]), Roster("m.1", DIM), 4)
    assert near.best(0) == near.best(1) == []


def test_a_batch_may_be_empty() -> None:
    looked(np.zeros((0, DIM), np.float32), roster(people(3, DIM), [1, 2, 3]), 4)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 30))
def test_it_is_what_plain_arithmetic_gives_while_rows_are_written(seed: int, nearest: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    owners = sorted({1, *rng.integers(1, 30, 60).tolist()})
    known = roster(people(len(owners), DIM, seed), list(range(1, len(owners) + 1)))
    probes = np.stack([unit(v) for v in people(count, DIM, seed + 1) + people(1, DIM, seed)])
    near = looked(probes, known, nearest)
    for place, probe in enumerate(probes):
        assert near.best(place) == oracle(probe, known, nearest)
        number = int(rng.integers(1, known.next_number + 1))
        slot = int(rng.integers(2)) if number < known.next_number else 0
        slot = min(slot, len(known.gallery.rows(number)) if slot or number < known.next_number else 0)
        known.apply(sighting(face(f"e{place}", probe), number, slot))
        near.wrote(place, int(known.gallery.rows(number)[slot]))


@pytest.mark.parametrize("count", [3, 40 * GROUP * SPARE])
def test_of_equals_the_first_founded_are_taken_however_many_there_are(count: int) -> None:
    """With ever so many templates alike, the search has to go deeper until none can have been missed."""
    known, one = Roster("m.1", DIM), unit(np.arange(1, DIM + 1))
    found = sighting(face("known", one), 1)
    known.apply(found)
    identity = known.identities[1]
    people_alike = [
        type(identity)(f"p{n}", n, identity.visits, identity.first_seen, identity.last) for n in range(1, count + 1)
    ]
    blank = Roster("m.1", DIM)
    templates = Templates(np.tile(one, (count, 1)), np.ones(count), np.zeros(count, np.bool_))
    blank.place(people_alike, np.arange(1, count + 1), templates)
    best = looked(one[None], blank, 3).best(0)
    assert best == [1, 2, 3]


def test_rows_that_were_overwritten_make_room_for_those_behind_them() -> None:
    """A batch replaces so many of a face's nearest templates that the search's answer no longer reaches far enough."""
    first = unit([1.0, *[0.01] * (DIM - 1)])
    away = unit([-1.0] + [0.0] * (DIM - 1))
    count, nearest = 60, 4
    near_ones = np.stack([unit(first + 0.002 * i * unit(people(1, DIM, i)[0])) for i in range(count)])
    known = roster(near_ones, list(range(1, count + 1)))
    batch = np.stack([away] * (nearest + SPARE + 3) + [first])
    near = looked(batch, known, nearest)
    nearest_owners = list(oracle(first, known, nearest + SPARE + 3))
    for place, owner in enumerate(nearest_owners):
        known.apply(sighting(face(f"e{place}", away, quality=0.99), owner, 0))
        near.wrote(place, int(known.gallery.rows(owner)[0]))
    assert near.best(len(batch) - 1) == oracle(first, known, nearest)
    assert not set(near.best(len(batch) - 1)) & set(nearest_owners)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 20), st.integers(0, 20))
def test_a_search_of_before_is_as_good_as_one_of_now(seed: int, nearest: int, count: int, done: int) -> None:
    """The search comes at any time while the batch before is decided; what that writes later is made up for."""
    rng = np.random.default_rng(seed)
    known = roster(people(40, DIM, seed), list(range(1, 41)))
    first, second = (np.stack([unit(v) for v in people(count, DIM, seed + n)]) for n in (1, 2))
    earlier = looked(first, known, nearest)
    ahead = Neighbours(np.vstack([second, first[:1]]), known.gallery, nearest, earlier)

    def decided(near: Neighbours, place: int, name: str) -> None:
        vector = near.vectors[place]
        assert near.best(place) == oracle(vector, known, nearest)
        number = int(rng.integers(1, known.next_number + 1))
        known.apply(sighting(face(name, vector), number, 0))
        near.wrote(place, int(known.gallery.rows(number)[0]))

    for place in range(count):
        if place == min(done, count - 1):
            ahead.look()
        decided(earlier, place, f"first-{place}")
    assert ahead.settle() is not None
    for place in range(len(ahead.vectors)):
        decided(ahead, place, f"second-{place}")


def test_what_nobody_told_of_calls_for_a_new_search() -> None:
    known = roster(people(5, DIM), list(range(1, 6)))
    earlier = looked(np.stack([unit(v) for v in people(2, DIM, 1)]), known, 2)
    ahead = looked(earlier.vectors, known, 2, earlier)
    assert ahead.settle() == []
    known.apply(sighting(face("e", earlier.vectors[0]), 1, 0))
    assert ahead.settle() is None
    earlier.wrote(0, 0)
    assert ahead.settle() == [0]
