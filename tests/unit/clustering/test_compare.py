"""Many faces and identities at once are compared as one face and one identity are by plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import face, model_card, people, unit

from clustering.compare import AT_A_TIME, DECIMALS, Seen, compare, cosines_of
from clustering.gallery import NOBODY, Gallery
from clustering.index import FaissIndex
from embedder.cards import Line, Linking, PairKind
from embedder.records import Signs, Wear
from embedder.scale import Scale

DIM = 8
CARD = model_card(DIM)
LINES = {PairKind.MIXED: Line(slope=30, intercept=-9), PairKind.COVERED_POOR: Line(slope=20, intercept=-8)}
SCALE = Scale(CARD.calibration.model_copy(update={"fine_from": 0.5, "groups": LINES}))
MASKED = Signs(wear=Wear.MASKED, wear_score=1)


def filled(count: int, seed: int) -> tuple[Gallery, dict[int, list[tuple[np.ndarray, float, bool]]]]:
    """``count`` identities of 1 to 10 templates, and what is in their slots."""
    rng = np.random.default_rng(seed)
    gallery, kept = Gallery(FaissIndex(DIM)), {}
    for number in range(1, count + 1):
        looks = [
            (unit(v), float(rng.random()), bool(rng.random() < 0.5))
            for v in people(int(rng.integers(1, 11)), DIM, number)
        ]
        kept[number] = looks
        for slot, (vector, quality, covered) in enumerate(looks):
            gallery.write(number, slot, vector, quality, covered=covered)
    return gallery, kept


def expected(one: Seen, looks: list[tuple[np.ndarray, float, bool]], linking: Linking) -> tuple[float, float]:
    even = sorted(
        float(
            SCALE.even(
                one.looks,
                np.array([SCALE.look(MASKED if covered else None, quality)], np.uint8),
                np.array([vector.astype(np.float64) @ one.vectors[0].astype(np.float64)]),
            )[0]
        )
        for vector, quality, covered in looks
    )
    top = even[-linking.best_of :]
    return sum(top) / len(top) + linking.growth * (1 - 1 / len(top)), even[-1]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, AT_A_TIME + 5), st.integers(1, 7))
def test_it_is_what_plain_arithmetic_gives(seed: int, count: int, best_of: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, kept = filled(6, seed)
    linking = CARD.linking.model_copy(update={"best_of": best_of})
    faces = [
        face(at, vector, quality=round(float(rng.random()), 3)).model_copy(
            update={"signs": MASKED if rng.random() < 0.5 else None}
        )
        for at, vector in enumerate(people(count, DIM, seed + 1))
    ]
    seen = Seen.of(faces, DIM, SCALE)
    numbers = rng.choice([NOBODY, 1, 2, 3, 4, 5, 6], (count, 4))
    found = compare(seen, numbers, gallery, SCALE, linking)
    told = found.told(numbers.tolist())
    for at in range(count):
        one = Seen(seen.vectors[[at]], seen.looks[[at]])
        for column, number in enumerate(numbers[at].tolist()):
            score, nearest = found.scores[at, column], found.nearest[at, column]
            if number == NOBODY:
                assert score == nearest == -np.inf
                assert (found.cosines[at, column] == -np.inf).all()
            else:
                assert (score, nearest) == pytest.approx(expected(one, kept[number], linking), abs=10.0**-DECIMALS)
                cosines = cosines_of(seen.vectors[at], number, gallery)
                assert cosines == found.cosines[at, column, : len(kept[number])].tolist()
                assert cosines == pytest.approx([vector @ seen.vectors[at] for vector, _, _ in kept[number]], abs=2e-6)
        alone = compare(one, numbers[[at]], gallery, SCALE, linking)
        np.testing.assert_array_equal(alone.scores[0], found.scores[at])
        np.testing.assert_array_equal(alone.nearest[0], found.nearest[at])
        np.testing.assert_array_equal(alone.cosines[0], found.cosines[at])
        [(best, cosines)] = told[at].cosines.items()
        assert told[at].scores[best] == max(told[at].scores.values())
        assert cosines == ([] if best == NOBODY else cosines_of(seen.vectors[at], best, gallery))


def test_no_faces_are_no_harm() -> None:
    gallery, _ = filled(1, 0)
    seen = Seen.of([], DIM, SCALE)
    found = compare(seen, np.zeros((0, 3), np.int64), gallery, SCALE, CARD.linking)
    assert found.scores.shape == found.nearest.shape == (0, 3)
    assert found.told([]) == []
