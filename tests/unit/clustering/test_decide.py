"""Who joins whom: around the threshold, against a background, and only where a person can be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from templates import face, model_card, people, sighting

from clustering.compare import Resemblances, cosines_of
from clustering.decide import Candidates, Choice, Criteria, Policy, background_of, choose_slot, decide
from clustering.neighbours import Neighbours
from clustering.roster import Roster
from clustering.snapshot import dump
from embedder.cards import Line, Linking, PairKind
from embedder.records import FaceEmbedding, Signs, Wear
from embedder.scale import Scale

DIM = 8
BASE = np.eye(DIM)
LINKING = model_card(DIM).linking
SCALE = Scale(model_card(DIM).calibration)
NOBODY_KNOWN = Resemblances({}, {}, {})
OSLO, BERGEN = (59.9139, 10.7522), (60.3913, 5.3221)  # 305 km apart


def roster(*looks: np.ndarray, **event: Any) -> Roster:
    """An identity for each of ``looks`` (dim,) or (n, dim)."""
    found = Roster("m.1", DIM)
    for number, look in enumerate(looks, start=1):
        for slot, vector in enumerate(np.atleast_2d(look)):
            found.apply(sighting(face(f"known-{number}-{slot}", vector, **event), number, slot))
    return found


def chosen(found: FaceEmbedding, known: Roster, linking: Linking = LINKING, **policy: Any) -> Choice:
    return decide(found, resembled(found, known), known, Criteria(linking, SCALE, Policy(**policy)))


def resembled(found: FaceEmbedding, known: Roster, nearest: int = 64) -> Candidates:
    near = Neighbours(found.template[None], known.gallery, nearest)
    near.look()
    return Candidates(near.best(0), NOBODY_KNOWN, frozenset())


def like(*cosines: float, rest: int = DIM - 1) -> np.ndarray:
    """A vector with these cosines to the first axes; what is left points along another."""
    vector = np.zeros(DIM)
    vector[: len(cosines)] = cosines
    vector[rest] += np.sqrt(1 - sum(cosine**2 for cosine in cosines))
    return vector


def test_the_first_face_founds() -> None:
    assert chosen(face("e", BASE[0]), roster()) == Choice(None, None, None, 0)


@pytest.mark.parametrize("cosine", [0.5, 0.51, 0.9, 1.0])
def test_from_the_threshold_on_a_face_joins(cosine: float) -> None:
    found = chosen(face("e", like(cosine)), roster(BASE[0]))
    assert found.number == 1
    assert found.similarity == pytest.approx(cosine, abs=1e-6)
    assert found.runner_up is None


@pytest.mark.parametrize("cosine", [0.499, 0.2, 0.0, -1.0])
def test_below_the_threshold_a_face_founds(cosine: float) -> None:
    found = chosen(face("e", like(cosine)), roster(BASE[0]))
    assert (found.number, found.similarity, found.slot) == (None, None, 0)
    assert found.runner_up == pytest.approx(cosine, abs=1e-6)


def test_the_best_is_chosen_and_the_next_named() -> None:
    found = chosen(face("e", like(0.3, 0.8, 0.4)), roster(*BASE[:3]))
    assert found.number == 2
    assert (found.similarity, found.runner_up) == (pytest.approx(0.8), pytest.approx(0.4))


def test_who_resembles_everybody_a_little_must_resemble_one_more() -> None:
    vague = face("e", like(0.52, 0.3, 0.3, 0.3, 0.3, 0.3))
    assert chosen(vague, roster(BASE[0])).number == 1
    assert chosen(vague, roster(*BASE[:6])).number is None  # 0.52 - 0.4 * 0.3 < 0.5
    assert chosen(vague, roster(*BASE[:6]), LINKING.model_copy(update={"background": 0.0})).number == 1
    clear = face("e", like(0.63, 0.3, 0.3, 0.3, 0.3, 0.3))
    assert chosen(clear, roster(*BASE[:6])).number == 1


def test_the_background_is_the_mean_of_the_best_others_and_nobody_stands_for_zero() -> None:
    assert LINKING.cohort == 5
    assert background_of([0.4, 0.5, -0.8], LINKING) == pytest.approx((0.5 + 0.4) / 5)
    assert background_of([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], LINKING) == pytest.approx(0.4)
    assert background_of([0.5, 0.9], LINKING.model_copy(update={"cohort": 1})) == 0.9
    assert background_of([], LINKING) == 0


def test_a_score_is_the_mean_of_the_best_templates_and_allows_for_their_number() -> None:
    looks = np.stack([like(c, rest=7 - i) for i, c in enumerate((0.9, 0.8, 0.7, 0.1))])
    found = chosen(face("e", BASE[0]), roster(looks))
    assert found.similarity == pytest.approx(0.8 + 0.03 * (1 - 1 / 3), abs=1e-6)
    two = chosen(face("e", BASE[0]), roster(looks[:2]))
    assert two.similarity == pytest.approx(0.85 + 0.03 / 2, abs=1e-6)


def test_one_lucky_template_is_not_enough() -> None:
    looks = np.stack([like(0.6, rest=1), like(0.1, rest=2), like(0.1, rest=3)])
    assert chosen(face("e", BASE[0]), roster(looks)).number is None
    assert chosen(face("e", BASE[0]), roster(looks[0])).number == 1


def test_deciding_changes_nothing() -> None:
    known = roster(*people(12, DIM))
    before = dump(known)
    faces = [face(i, vector) for i, vector in enumerate(people(30, DIM, seed=1))]
    once = [chosen(one, known) for one in faces]
    assert dump(known) == before
    assert [chosen(one, known) for one in faces] == once
    assert {choice.number is None for choice in once} == {True, False}


@pytest.mark.parametrize(("hours", "number"), [(71.9, 1), (72, 1), (72.1, None), (-500, 1)])
def test_a_person_is_forgotten_after_the_horizon(hours: float, number: int | None) -> None:
    found = face("e", BASE[0], minutes=60 * hours)
    assert chosen(found, roster(BASE[0]), horizon=timedelta(hours=72)).number == number
    assert chosen(found, roster(BASE[0])).number == 1


@pytest.mark.parametrize(
    ("minutes", "place", "number"),
    [(0, OSLO, 1), (58, BERGEN, None), (60, BERGEN, 1), (-58, BERGEN, None), (-60, BERGEN, 1), (0, None, 1)],
)
def test_nobody_travels_faster_than_possible(
    minutes: float, place: tuple[float, float] | None, number: int | None
) -> None:
    found = face("e", BASE[0], minutes=minutes, atm="elsewhere", place=place)
    assert chosen(found, roster(BASE[0], place=OSLO)).number == number
    assert chosen(found, roster(BASE[0], place=OSLO), max_speed_kmh=1e6).number == 1


def test_who_is_too_far_away_leaves_the_next_best() -> None:
    known = Roster("m.1", DIM)
    known.apply(sighting(face("far", BASE[0], place=BERGEN), 1))
    known.apply(sighting(face("near", like(0.8), atm="a2", place=OSLO), 2))
    found = chosen(face("e", BASE[0], minutes=5, atm="a3", place=OSLO), known)
    assert found.number == 2
    assert found.runner_up is None


def test_any_number_of_look_alikes_who_can_not_be_here_hides_nobody() -> None:
    """A person who comes back after the horizon again and again leaves that many identities behind."""
    known = Roster("m.1", DIM)
    for number in range(1, 9):
        known.apply(sighting(face(f"old{number}", like(0.95), minutes=0), number))
    known.apply(sighting(face("today", like(0.93), minutes=10_000), 9))
    assert LINKING.cohort < 8
    found = chosen(face("e", BASE[0], minutes=10_060), known, horizon=timedelta(hours=72))
    assert found.number == 9


def slot(kept: np.ndarray, qualities: list[float], vector: np.ndarray, quality: float, **policy: Any) -> int | None:
    found = face("e", vector, quality=quality)
    return slot_among(kept, qualities, found, Policy(**policy))


def slot_among(kept: Any, qualities: list[float], found: FaceEmbedding, policy: Policy) -> int | None:
    known = Roster("m.1", DIM)
    for number, (vector, quality) in enumerate(zip(kept, qualities, strict=True)):
        known.apply(sighting(face(f"known-{number}", vector, quality=quality), 1, number))
    return choose_slot(1, found, cosines_of(found.template, 1, known.gallery), known.gallery, policy)


def test_a_new_look_takes_a_new_slot() -> None:
    assert slot(BASE[:2], [0.9, 0.9], BASE[2], 0.1) == 2


def test_a_repeated_look_only_replaces_a_worse_one() -> None:
    again = like(0.97)
    assert slot(BASE[:2], [0.5, 0.9], again, 0.6) == 0
    assert slot(BASE[:2], [0.5, 0.9], again, 0.5) is None
    assert slot(BASE[:2], [0.5, 0.9], again, 0.4) is None
    assert slot(BASE[:2], [0.5, 0.9], again, 0.4, redundant=0.99) == 2


def test_when_all_slots_are_taken_the_worse_of_the_two_most_alike_gives_way() -> None:
    kept = np.stack([BASE[0], like(0.9, rest=1), BASE[2]])
    new = BASE[3]
    assert slot(kept, [0.9, 0.5, 0.1], new, 0.2, templates=3) == 1
    assert slot(kept, [0.5, 0.9, 0.1], new, 0.2, templates=3) == 0
    assert slot(kept, [0.5, 0.5, 0.1], new, 0.2, templates=3) == 1
    near = like(0.93, rest=4)  # now the newcomer is of the two
    assert slot(kept, [0.5, 0.9, 0.1], near, 0.6, templates=3) == 0
    assert slot(kept, [0.5, 0.9, 0.1], near, 0.5, templates=3) is None


@given(st.integers(1, 5), st.floats(0, 1.5), st.integers(0, 10**6), st.integers(1, 25))
def test_what_is_kept_is_bounded_and_written_without_gaps(most: int, spread: float, seed: int, pictures: int) -> None:
    rng = np.random.default_rng(seed)
    policy = Policy(templates=most)
    kept: list[np.ndarray] = []
    qualities: list[float] = []
    for i in range(pictures):
        found = face(i, BASE[0] + spread * rng.normal(size=DIM), quality=round(float(rng.random()), 3))
        place = 0 if not kept else slot_among(kept, qualities, found, policy)
        if place is not None:
            assert 0 <= place <= len(kept)
            kept[place : place + 1], qualities[place : place + 1] = [found.template], [found.quality.score]
        assert 1 <= len(kept) == len(qualities) <= most


def test_few_slots_show_many_looks() -> None:
    """A hundred pictures of one look do not push the other looks out."""
    rng = np.random.default_rng(3)
    looks = [BASE[0], like(0.6, rest=1), like(0.6, rest=2)]
    kept: list[np.ndarray] = []
    qualities: list[float] = []
    for i in range(150):
        look = looks[i // 3 % 3] if i < 9 else looks[0]
        found = face(i, look + 0.15 * people(1, DIM, seed=i)[0], quality=round(float(rng.random()), 3))
        place = 0 if not kept else slot_among(kept, qualities, found, Policy(templates=4, redundant=0.995))
        if place is not None:
            kept[place : place + 1], qualities[place : place + 1] = [found.template], [found.quality.score]
    shown = np.stack(kept) @ np.stack(looks).T
    assert (shown.max(axis=0) > 0.95).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"visit_gap": timedelta(0)},
        {"horizon": timedelta(0)},
        {"max_speed_kmh": 0},
        {"clock_slack": timedelta(seconds=-1)},
        {"templates": 0},
        {"templates": 65},
        {"nearest": 0},
        {"redundant": 0},
        {"redundant": 1.1},
        {"magic": 1},
    ],
)
def test_a_policy_that_can_not_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy(**wrong)


def test_covered_faces_are_held_to_what_their_scores_mean() -> None:
    """Where masked faces score 0.1 lower for the same evidence, a cosine 0.1 lower is enough for them."""
    plain = model_card(DIM).calibration
    lower = Line(slope=plain.slope, intercept=plain.intercept + 0.1 * plain.slope)
    scale = Scale(plain.model_copy(update={"groups": {PairKind.MIXED: lower}}))
    masked = Signs(wear=Wear.MASKED, wear_score=1)
    known = roster(BASE[0])
    for signs, number in ((None, None), (masked, 1)):
        found = face("e", like(0.45)).model_copy(update={"signs": signs})
        choice = decide(found, resembled(found, known), known, Criteria(LINKING, scale, Policy()))
        assert choice.number == number
    assert choice.similarity == pytest.approx(0.55)
