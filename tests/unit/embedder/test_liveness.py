"""When the frames of a visit show a blink, when they show that there was none, and when they show neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.liveness import Blink, blink

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
Frames = list[tuple[datetime, float | None]]


def frames(*values: float | None, every: float = 0.1) -> Frames:
    return [(NOON + timedelta(seconds=every * n), value) for n, value in enumerate(values)]


STARE = [0.95] * 150


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (frames(), Blink.UNKNOWN),
        (frames(0.9), Blink.UNKNOWN),
        (frames(0.1), Blink.UNKNOWN),
        (frames(0.9, 0.1, 0.9), Blink.SEEN),
        (frames(0.9, 0.5, 0.1, None, 0.2, 0.5, 0.9), Blink.SEEN),
        (frames(0.9, 0.5, 0.9), Blink.UNKNOWN),
        (frames(0.9, None, 0.9), Blink.UNKNOWN),
        (frames(0.1, 0.9, 0.9), Blink.UNKNOWN),
        (frames(0.9, 0.9, 0.1), Blink.UNKNOWN),
        (frames(0.9, 0.1, 0.9, every=0.5), Blink.SEEN),
        (frames(0.9, 0.1, 0.9, every=0.51), Blink.UNKNOWN),
        (frames(*STARE), Blink.NOT_SEEN),
        (frames(*STARE, 0.1, 0.9), Blink.SEEN),
        (frames(*STARE, 0.1), Blink.NOT_SEEN),
        (frames(*STARE[:100]), Blink.UNKNOWN),
        (frames(*STARE[:101]), Blink.NOT_SEEN),
        (frames(*STARE, every=0.21), Blink.UNKNOWN),
        (frames(*[0.1] * 200), Blink.UNKNOWN),
        (frames(*[None] * 200), Blink.UNKNOWN),
    ],
)
def test_what_frames_show(seen: Frames, expected: Blink) -> None:
    assert blink(seen) is expected
    assert blink(seen[::-1]) is expected


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.none() | st.floats(0, 1)).map(
            lambda pair: (NOON + timedelta(milliseconds=10 * pair[0]), pair[1])
        ),
        max_size=60,
    ),
    st.randoms(),
)
def test_the_order_of_frames_does_not_matter_and_eyes_never_closed_never_blinked(seen: Frames, chance: object) -> None:
    before = blink(seen)
    shuffled = list(seen)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert blink(shuffled) is before
    if before is Blink.SEEN:
        assert any(value is not None and value <= 0.3 for _, value in seen)
