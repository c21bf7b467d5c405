"""Visits are a fold over a set: order and repetition change nothing, and a plain oracle agrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from clustering.visits import Frame, VisitBook, fold

NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
GAP = timedelta(seconds=5)


@st.composite
def frame_lists(draw: st.DrawFn) -> list[Frame]:
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.sampled_from([None, None, "s", "t"])), max_size=25
        )
    )
    return [Frame(f"f{i}", atm, NOON + timedelta(seconds=at), session) for i, (at, atm, session) in enumerate(rows)]


def oracle(frames: list[Frame]) -> set[frozenset[str]]:
    """The connected components of "belongs to the same visit as", pair by pair."""
    group = {frame.face_id: {frame.face_id} for frame in frames}
    for a, b in combinations(frames, 2):
        near = a.session_id is not None or abs(a.captured_at - b.captured_at) < GAP
        if a.atm_id == b.atm_id and a.session_id == b.session_id and near:
            merged = group[a.face_id] | group[b.face_id]
            for name in merged:
                group[name] = merged
    return {frozenset(names) for names in group.values()}


@settings(deadline=None)
@given(frame_lists(), st.data())
def test_any_order_and_repetition_give_the_visits_of_the_oracle(frames: list[Frame], data: st.DataObject) -> None:
    book = VisitBook(GAP)
    seen: list[Frame] = []
    for frame in data.draw(st.permutations(frames + frames)):
        assert book.add(frame) == (frame not in seen)
        seen += [] if frame in seen else [frame]
        assert book.count == len(oracle(seen))
    visits = book.visits()
    assert {frozenset(f.face_id for f in v.frames) for v in visits} == oracle(frames)
    assert visits == fold(frames, GAP)
    assert [v.start for v in visits] == sorted(v.start for v in visits)
    assert all(v.start == v.frames[0].captured_at and v.end == v.frames[-1].captured_at for v in visits)
    assert book.atms == {frame.atm_id for frame in frames}
    assert VisitBook.restored(book.frames, book.floor, GAP).visits() == visits


@given(frame_lists(), st.integers(-1, 45))
def test_expiry_keeps_whole_visits_and_the_count_true(frames: list[Frame], at: int) -> None:
    book = VisitBook(GAP)
    for frame in frames:
        book.add(frame)
    before = NOON + timedelta(seconds=at)
    left = [visit for visit in book.visits() if visit.end >= before]
    gone = book.expire(before)
    assert book.visits() == left
    assert book.count == len(left) == len(oracle(frames)) - gone
    for frame in frames:  # what was dropped does not come back
        book.add(frame)
    assert all(visit.end >= before for visit in book.visits())
