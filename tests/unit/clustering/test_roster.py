"""The roster is a fold over sightings: twice is once, and what can't follow changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from templates import NOON, face, people, sighting, unit

from clustering.index import NumpyIndex
from clustering.places import Whereabouts
from clustering.records import Sighting
from clustering.roster import Roster, flaws, identity_id_of
from clustering.snapshot import dump
from embedder.records import FaceEmbedding, Signs, Wear, pack
from ingest.errors import Corrupt
from ingest.records import GeoPoint, Name

DIM = 8
BASE = np.eye(DIM)


def roster(*sightings: Sighting) -> Roster:
    found = Roster("m.1", DIM)
    for one in sightings:
        found.apply(one)
    return found


def qualities(known: Roster, number: int) -> list[float]:
    return known.gallery.qualities(known.gallery.rows(number)).tolist()


def test_a_blank_roster_knows_nobody() -> None:
    blank = roster()
    assert (len(blank), len(blank.gallery), blank.next_number, list(blank.usages()), blank.seen) == (0, 0, 1, [], {})


def test_a_sighting_counts_and_its_vector_is_kept() -> None:
    found = roster()
    assert found.apply(sighting(face("e1", BASE[0]))) == 1
    assert found.apply(sighting(face("e2", BASE[1], minutes=1, quality=0.5), slot=1)) == 1
    assert found.apply(sighting(face("e3", BASE[2], minutes=60), slot=None)) == 2
    assert found.apply(sighting(face("e4", BASE[3], minutes=61), 2)) == 1
    assert (len(found), len(found.gallery), found.next_number) == (2, 3, 3)
    assert found.seen == {"e1#0": 1, "e2#0": 1, "e3#0": 1, "e4#0": 2}
    gallery = found.gallery
    assert (qualities(found, 1), qualities(found, 2)) == ([0.9, 0.5], [0.9])
    np.testing.assert_array_equal(gallery.owners(np.concatenate([gallery.rows(1), gallery.rows(2)])), [1, 1, 2])
    np.testing.assert_allclose(gallery.index.get(gallery.rows(1)), BASE[:2])


def test_a_template_remembers_whether_something_covered_the_face() -> None:
    masked, bare = (Signs(wear=wear, wear_score=0.9) for wear in (Wear.MASKED, Wear.BARE))
    found = roster(
        sighting(face("e1", BASE[0]), signs=masked),
        sighting(face("e2", BASE[1]), slot=1, signs=bare),
        sighting(face("e3", BASE[2]), slot=2),
        sighting(face("e4", BASE[3]), slot=0, signs=bare),
        sighting(face("e5", BASE[4]), slot=1, signs=masked),
    )
    assert found.gallery.covered(found.gallery.rows(1)).tolist() == [False, True, False]


def test_a_slot_that_is_taken_is_written_again() -> None:
    found = roster(sighting(face("e1", BASE[0])), sighting(face("e2", BASE[1]), slot=1))
    found.apply(sighting(face("e3", BASE[2], quality=0.7), slot=0))
    assert (len(found.gallery), qualities(found, 1)) == (2, [0.7, 0.9])
    np.testing.assert_allclose(found.gallery.index.get(found.gallery.rows(1)), BASE[[2, 1]])


def test_usage_sums_up_in_the_order_of_founding() -> None:
    found = roster(
        sighting(face("e1", BASE[0], minutes=60, card="c1")),
        sighting(face("e2", BASE[1], minutes=61), 2),
        sighting(face("e3", BASE[0], minutes=0, atm="a2", card="c2"), slot=None),
        sighting(face("e4", BASE[0], minutes=61, card="c1"), slot=None),
    )
    one, two = found.usages()
    assert one.model_dump(exclude={"schema_version"}) == {
        "identity_id": "person-1",
        "number": 1,
        "visits": 2,
        "pictures": 3,
        "atms": 2,
        "cards": 2,
        "first_seen": NOON,
        "last_seen": NOON + timedelta(minutes=61),
    }
    assert (two.number, two.visits, two.first_seen) == (2, 1, two.last_seen)


def test_a_late_picture_does_not_move_the_person_back() -> None:
    found = roster(
        sighting(face("e1", BASE[0], minutes=60, place=(10, 20))),
        sighting(face("e2", BASE[0], minutes=30, atm="far", place=(50, 60)), slot=None),
    )
    identity = found.identities[1]
    assert identity.last == Whereabouts(NOON + timedelta(hours=1), "a1", GeoPoint(lat=10, lon=20))
    assert identity.first_seen == NOON + timedelta(minutes=30)
    found.apply(sighting(face("e3", BASE[0], minutes=60, atm="next"), slot=None))
    assert (identity.last.atm_id, identity.last.place) == ("next", None)


def test_the_visit_gap_is_the_rosters() -> None:
    wide = Roster("m.1", DIM, timedelta(hours=2))
    wide.apply(sighting(face("e1", BASE[0])))
    assert wide.apply(sighting(face("e2", BASE[0], minutes=90), slot=None)) == 1


def test_applying_a_sighting_twice_changes_nothing() -> None:
    journal = [sighting(face(i, BASE[i % 3], minutes=i), slot=i if i < 3 else None) for i in range(6)]
    found = roster(*journal)
    before = dump(found)
    assert [found.apply(one) for one in journal] == [found.identities[1].visits.count] * 6
    assert found.apply(sighting(face(0, BASE[5]), number=9, slot=7, model_id="other")) > 0  # known by its face
    assert dump(found) == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_id": "m.2"}, "a template of model m.2"),
        ({"vector": b""}, "a template of 0 bytes"),
        ({"vector": b"12345"}, "a template of 5 bytes"),
        ({"vector": bytes(4 * DIM + 4)}, "a template of 36 bytes"),
        ({"number": 4}, "identity number 4"),
        ({"number": 3, "slot": 1}, "template slot 1"),
        ({"number": 1, "identity_id": "person-2"}, "another identity's id"),
        ({"number": 1, "slot": 2}, "template slot 2"),
        ({"number": 2, "slot": 3}, "template slot 3"),
    ],
)
def test_what_can_not_follow_is_refused_and_changes_nothing(wrong: dict[str, Any], said: str) -> None:
    found = roster(sighting(face("e1", BASE[0])), sighting(face("e2", BASE[1]), 2))
    before = dump(found)
    fields = {"number": 1, "slot": 0} | wrong
    broken = sighting(face("e3", BASE[2]), fields.pop("number"), fields.pop("slot"), **fields)
    with pytest.raises(Corrupt, match=rf"sighting e3#0 can't follow on the journal so far: it brings {said}"):
        found.apply(broken)
    assert dump(found) == before
    assert found.apply(sighting(face("e3", BASE[2]), 3)) == 1


def test_many_people_fit() -> None:
    vectors = people(3000, DIM)
    found = roster(*(sighting(face(i, vector, minutes=i), i + 1) for i, vector in enumerate(vectors)))
    assert (len(found), len(found.gallery)) == (3000, 3000)
    rows = np.array([found.gallery.rows(n)[0] for n in (1, 1024, 1025, 3000)])
    np.testing.assert_array_equal(found.gallery.owners(rows), [1, 1024, 1025, 3000])
    np.testing.assert_allclose(found.gallery.index.get(rows), vectors[[0, 1023, 1024, 2999]], atol=1e-6)


def test_any_index_will_do() -> None:
    index = NumpyIndex(DIM)
    found = Roster("m.1", DIM, index=index)
    found.apply(sighting(face("e1", BASE[0])))
    assert found.gallery.index is index
    assert len(index) == 1
    assert dump(found) == dump(roster(sighting(face("e1", BASE[0]))))


def test_an_identitys_id_is_stable_a_name_and_tells_nothing() -> None:
    ids = {identity_id_of(f"event-{i}#0") for i in range(500)}
    assert len(ids) == 500
    assert identity_id_of("event-1#0") == "person-cmn46ov2icgb62em"
    assert not any("event" in one for one in ids)
    for one in ids:
        assert TypeAdapter(Name).validate_python(one) == one


def found_unusable(change: Callable[[FaceEmbedding], dict[str, Any]]) -> str | None:
    sound = face("e", people(1, DIM)[0])
    after, found = flaws([sound.model_copy(update=change(sound)), sound], DIM)[::-1]
    assert after is None  # one that is damaged says nothing of the next
    return found


def test_a_sound_vector_is_usable() -> None:
    assert found_unusable(lambda _: {}) is None


@pytest.mark.parametrize("vector", [b"", b"123", bytes(4 * DIM - 4), bytes(4 * DIM + 4)])
def test_a_vector_of_another_length_is_not(vector: bytes) -> None:
    assert found_unusable(lambda _: {"vector": vector}) == (
        f"The template has {len(vector)} bytes; {4 * DIM} are needed."
    )


@pytest.mark.parametrize("factor", [0.0, 0.98, 1.02, -3, np.nan, np.inf, 1e30])
def test_a_vector_of_no_direction_is_not(factor: float) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        vector = pack((unit(people(1, DIM)[0]) * np.float32(factor)).astype(np.float32))
        assert found_unusable(lambda _: {"vector": vector}) == "The template is not a vector of length 1."


def test_one_bad_value_is_enough() -> None:
    vector = unit(people(1, DIM)[0])
    vector[3] = np.nan
    assert found_unusable(lambda _: {"vector": pack(vector)}) is not None
