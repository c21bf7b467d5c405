"""Templates lie where their identity's slots say, whatever the order in which they came."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import people, unit

from clustering.gallery import NOBODY, SLOTS, Gallery, Templates
from clustering.index import FaissIndex
from clustering.room import GROWTH

DIM = 8


def blank() -> Gallery:
    return Gallery(FaissIndex(DIM))


def test_a_blank_gallery_has_nothing() -> None:
    gallery = blank()
    assert (len(gallery), gallery.writes, gallery.rows(1).tolist()) == (0, 0, [])
    assert gallery.slots(np.array([[NOBODY]])).tolist() == [[[NOBODY] * SLOTS]]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_every_slot_holds_what_was_written_last(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = blank()
    expected: dict[int, list[tuple[np.ndarray, float, bool]]] = {}
    for vector in people(count, DIM, seed):
        number = int(rng.integers(1, len(expected) + 2))
        kept = expected.setdefault(number, [])
        slot = int(rng.integers(len(kept) + 1))
        template = unit(vector), float(rng.random()), bool(rng.random() < 0.5)
        kept[slot : slot + 1] = [template]
        row = gallery.write(number, slot, template[0], template[1], covered=template[2])
        assert gallery.rows(number)[slot] == row
    assert gallery.writes == count
    assert len(gallery) == sum(len(kept) for kept in expected.values())
    for number, kept in expected.items():
        rows = gallery.rows(number)
        np.testing.assert_array_equal(gallery.index.get(rows), np.stack([vector for vector, _, _ in kept]))
        assert gallery.qualities(rows).tolist() == [quality for _, quality, _ in kept]
        assert gallery.covered(rows).tolist() == [covered for _, _, covered in kept]
        assert set(gallery.owners(rows).tolist()) == {number}
    numbers = np.array([*expected, NOBODY])
    slots = gallery.slots(numbers)
    assert [line[line != NOBODY].tolist() for line in slots] == [*(gallery.rows(n).tolist() for n in expected), []]


def test_there_is_room_for_many_people_and_for_many_slots() -> None:
    gallery = blank()
    vector = unit(np.ones(DIM))
    for number in range(1, GROWTH + 3):
        gallery.write(number, 0, vector, 0.5, covered=False)
    for slot in range(1, 2 * SLOTS + 2):
        gallery.write(2, slot, vector, 0.5, covered=False)
    assert len(gallery.rows(2)) == 2 * SLOTS + 2
    assert gallery.rows(GROWTH + 2).tolist() == [GROWTH + 1]
    assert len(gallery) == GROWTH + 2 + 2 * SLOTS + 1


def test_a_gallery_is_filled_as_if_it_had_been_written() -> None:
    vectors = np.stack([unit(vector) for vector in people(5, DIM)])
    owners = np.array([1, 1, 2, 4, 4])
    qualities, covered = np.linspace(0, 1, 5), np.array([True, False, True, False, True])
    filled, written = blank(), blank()
    filled.fill(owners, Templates(vectors, qualities, covered))
    for at, (number, slot) in enumerate(((1, 0), (1, 1), (2, 0), (4, 0), (4, 1))):
        written.write(number, slot, vectors[at], qualities[at], covered=bool(covered[at]))
    for number in range(6):
        rows = filled.rows(number)
        assert rows.tolist() == written.rows(number).tolist()
        np.testing.assert_array_equal(filled.index.get(rows), written.index.get(rows))
        np.testing.assert_array_equal(filled.qualities(rows), written.qualities(rows))
        np.testing.assert_array_equal(filled.covered(rows), written.covered(rows))
        np.testing.assert_array_equal(filled.owners(rows), written.owners(rows))
    assert len(filled) == len(written) == 5


def test_nothing_to_fill_is_no_harm() -> None:
    gallery = blank()
    gallery.fill(np.zeros(0, np.int64), Templates(np.zeros((0, DIM), np.float32), np.zeros(0), np.zeros(0, np.bool_)))
    assert (len(gallery), gallery.rows(1).tolist()) == (0, [])
