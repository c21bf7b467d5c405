"""The records of an event's way in, the reasons, and the detector of card numbers."""

from __future__ import annotations

import random
import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.reasons import UNUSABLE, Reason
from ingest.records import AtmEvent, ClockSource, GeoPoint, Rejection, holds_card_number, mask_card_numbers

CARDS = [
    "4111111111111111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "6011111111111117",
    "6759649826438453",
    "6799990100000000019",
]


def event(**fields: Any) -> AtmEvent:
    return AtmEvent(**{"event_id": "e", "atm_id": "a", "captured_at": datetime(2024, 5, 1, tzinfo=UTC), **fields})


def grouped(card: str, separator: str) -> str:
    if len(card) in (14, 15):
        return separator.join((card[:4], card[4:10], card[10:]))
    return separator.join(card[at : at + 4] for at in range(0, len(card), 4))


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    "text", ["{}", "20240501/120000_{}_Portrait.jpeg", "PAN{}", "x-{}.jpg", "45-{}", "{} 12", "%B{}^NAME", "{}=2512"]
)
def test_card_numbers_are_found_wherever_they_stand(card: str, text: str) -> None:
    assert holds_card_number(text.format(card))
    assert mask_card_numbers(text.format(card)) == text.format("[card number]")


@pytest.mark.parametrize("separator", [" ", "-", ".", "_"])
@pytest.mark.parametrize("card", [card for card in CARDS if len(card) != 13])
def test_card_numbers_are_found_in_groups(card: str, separator: str) -> None:
    text = f"card {grouped(card, separator)}, twice"
    assert holds_card_number(text)
    assert mask_card_numbers(text) == "card [card number], twice"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111111111111112",  # wrong check digit
        "tok_4111",
        "20240501120000123",  # a time
        "2024-05-01 12-00-00-123",
        "1714557600000000",
        "41111111111111111111",  # too long
        "411111111111",  # too short
        "9F4111111111111111AB6543210987654321",  # within a digest
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_is_no_card_number(text: str) -> None:
    assert not holds_card_number(text)


def test_ids_that_programs_make_are_hardly_ever_taken_for_cards() -> None:
    draw = random.Random(5)
    ids = [draw.randbytes(size).hex() for size in (12, 16, 32) for _ in range(3000)]
    ids += [str(UUID(int=draw.getrandbits(128))) for _ in range(3000)]
    assert sum(map(holds_card_number, ids)) <= 3
    assert not holds_card_number(secrets.token_hex(0))


@given(st.from_regex(r"[2-6][0-9]{14}", fullmatch=True), st.sampled_from(["", "a", "-", "_", " "]))
def test_every_valid_sixteen_digit_card_is_found_and_masked(stem: str, around: str) -> None:
    doubled = [sum(divmod(2 * int(c), 10)) if i % 2 == 0 else int(c) for i, c in enumerate(reversed(stem))]
    card = stem + str(-sum(doubled) % 10)
    found = holds_card_number(f"{around}{card}{around}")
    assert found == (
        card[0] in "456"
        or 22 <= int(card[:2]) <= 27
        or card[:2] in {"35", "36", "38", "39"}
        or (card[:2] == "30" and card[2] <= "5")
    )
    assert card not in mask_card_numbers(f"{around}{card}{around}") or not found


@pytest.mark.parametrize("field", ["event_id", "atm_id", "session_id", "card_token", "camera", "image_uri", "scope"])
def test_no_field_takes_a_card_number_or_repeats_it(field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        event(**{field: "4111111111111111"})
    assert "4111" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"captured_at": datetime(2024, 5, 1)},  # noqa: DTZ001 - naive on purpose
        {"unknown": 1},
        {"event_id": ""},
        {"event_id": "a\nb"},
        {"event_id": "e" * 201},
        {"zone": "Mars/Olympus"},
        {"amount": "-1"},
        {"amount": "NaN"},
        {"currency": "kr"},
        {"sha256": "AB"},
        {"clock_offset_s": float("inf")},
        {"atm_location": {"lat": 91, "lon": 0}},
        {"schema_version": 2},
    ],
    ids=str,
)
def test_events_are_closed_and_bounded(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        event(**fields)


def test_times_are_kept_in_utc_and_shown_locally() -> None:
    at = event(captured_at="2024-05-01T12:00:00+02:00", zone="Europe/Oslo")
    assert at.captured_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert at.captured_at.tzinfo is UTC
    assert at.local_time.hour == 12
    assert event().local_time.tzinfo is UTC


def test_pixels_are_never_part_of_the_json() -> None:
    with_picture = event(image=b"pixels", image_uri="file:///a.jpg", atm_location=GeoPoint(lat=1, lon=2))
    assert "pixels" not in with_picture.to_json() + repr(with_picture)
    again = AtmEvent.model_validate_json(with_picture.to_json())
    assert again == with_picture.model_copy(update={"image": None})
    assert again.clock is ClockSource.CAMERA
    assert (again.source, event().source) == ("file:///a.jpg", "e")


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError):
        event().atm_id = "b"  # type: ignore[misc]


def test_reasons_are_stable_codes_with_a_sentence() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)
    for reason in Reason:
        assert reason.value == reason.name.lower()
        assert reason.sentence.endswith(".")
        assert Reason(reason.value) is reason
    assert Reason.NO_FACE in UNUSABLE
    assert Reason.EMPTY_FILE not in UNUSABLE


def test_a_rejection_goes_there_and_back() -> None:
    line = Rejection(reason=Reason.EMPTY_FILE, source="a.jpg", detail="Empty.", stage="ingest")
    assert '"reason":"empty_file"' in line.to_json()
    assert Rejection.model_validate_json(line.to_json()) == line
