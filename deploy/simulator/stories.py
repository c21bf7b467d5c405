"""The parts that people play: where they go when, with which cards, and what they do there.

A story is written against the default rules with clear margins: who is to cross a threshold goes well beyond
it, everybody else stays at least one below.  Whether that is so is for ``oracle`` to say, not for the story.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from numpy.random import Generator

WITHDRAWAL, DEPOSIT, ENQUIRY, DECLINED, REVERSAL = (
    "withdrawal",
    "deposit",
    "balance_enquiry",
    "declined",
    "reversal",
)
HOUR = 60


@dataclass(frozen=True, slots=True)
class Use:
    """One session: a card (0, 1, … of the person's own, or a name that others share), what it is used for, how much."""

    card: int | str
    kind: str = WITHDRAWAL
    amount: int = 500


@dataclass(frozen=True, slots=True)
class Stop:
    """``uses`` one after the other at an ATM, from ``minute`` after midnight on; later when the way takes longer."""

    atm: int
    minute: float
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One person's day."""

    person: str
    story: str
    stops: tuple[Stop, ...]


class Story(StrEnum):
    """What a day can be like."""

    MULE = "mule"
    REGULAR = "regular"
    OCCASIONAL = "occasional"
    ORDINARY = "ordinary"
    BURST = "burst"
    NIGHT = "night"
    TESTER = "tester"
    REVERSER = "reverser"
    DRAINER = "drainer"
    CLONES = "clones"
    CREW = "crew"


SMALL_CAST = (Story.MULE, Story.REGULAR, Story.OCCASIONAL)
CRIMES = (Story.BURST, Story.NIGHT, Story.TESTER, Story.REVERSER, Story.DRAINER, Story.CLONES, Story.CREW)
TOGETHER = {Story.CLONES: 4, Story.CREW: 4}
"""How many people a story takes, if not one."""
LARGE_CAST = 16
PEOPLE_PER_MULE = 150


def cast(people: Sequence[str], atms: int, rng: Generator) -> list[Part]:
    """A part for everyone, those first whose times matter most.

    Up to ``LARGE_CAST`` people play the small cast, the first of ``people`` the mule; more people meet a few of
    each kind of fraud, and all others are ordinary customers.
    """
    if len(people) < LARGE_CAST:
        stories: list[Story] = [*SMALL_CAST, *[Story.ORDINARY] * len(people)][: len(people)]
        return [_play(story, (person,), atms, rng)[0] for story, person in zip(stories, people, strict=True)]
    mules = [Story.MULE] * (1 + len(people) // PEOPLE_PER_MULE)
    waiting = [str(person) for person in rng.permutation(people)]
    parts: list[Part] = []
    for story in (*mules, *CRIMES, Story.REGULAR, Story.OCCASIONAL):
        size = TOGETHER.get(story, 1)
        if len(waiting) >= size:
            group, waiting = waiting[:size], waiting[size:]
            parts += _play(story, tuple(group), atms, rng)
    for person in waiting:
        parts += _play(Story.ORDINARY, (person,), atms, rng)
    return parts


def _play(story: Story, group: tuple[str, ...], atms: int, rng: Generator) -> list[Part]:
    lives = STORIES[story](len(group), atms, rng)
    return [Part(person, story.value, tuple(stops)) for person, stops in zip(group, lives, strict=True)]


Lives = list[list[Stop]]
"""The stops of each person of a story."""


def _cash(rng: Generator, high: int = 20) -> int:
    return 100 * int(rng.integers(2, high + 1))


def _some(rng: Generator, count: int, atms: int) -> list[int]:
    return [int(i) for i in rng.choice(atms, count, replace=False)]


def _mule(_: int, atms: int, rng: Generator) -> Lives:
    """An evening with a stack of cards at three machines, and a round after midnight at a fourth."""
    first, second, third, last = _some(rng, 4, atms)
    cards = iter(range(100))

    def stack(count: int) -> tuple[Use, ...]:
        return tuple(Use(next(cards), WITHDRAWAL, _cash(rng, 50)) for _ in range(count))

    return [
        [
            Stop(first, 19.5 * HOUR + rng.uniform(0, 20), stack(6)),
            Stop(second, 20 * HOUR, stack(5)),
            Stop(third, 21.7 * HOUR + rng.uniform(0, 20), stack(4)),
            Stop(last, 24.2 * HOUR + rng.uniform(0, 30), stack(5)),
        ]
    ]


def _regular(_: int, atms: int, rng: Generator) -> Lives:
    """Seven uses from morning to evening with two cards: more than most, and below every threshold."""
    near, far = _some(rng, 2, atms)
    hours = (7.4, 9.3, 11.6, 13.2, 15.4, 17.1, 18.9)
    return [
        [
            Stop(
                near if i % 3 else far,
                hour * HOUR + rng.uniform(0, 25),
                (Use(int(i == 4), ENQUIRY if i == 2 else WITHDRAWAL, 0 if i == 2 else _cash(rng)),),
            )
            for i, hour in enumerate(hours)
        ]
    ]


def _occasional(_: int, atms: int, rng: Generator) -> Lives:
    """Three uses with the own card."""
    places = _some(rng, 2, atms)
    return [
        [
            Stop(places[i % 2], (8.5 + 4.5 * i) * HOUR + rng.uniform(0, 60), (Use(0, WITHDRAWAL, _cash(rng)),))
            for i in range(3)
        ]
    ]


def _ordinary(_: int, atms: int, rng: Generator) -> Lives:
    """One use, sometimes two, with the own card."""
    minute = rng.uniform(7, 21.5) * HOUR
    stops = [Stop(int(rng.integers(atms)), minute, (Use(0, WITHDRAWAL, _cash(rng)),))]
    if rng.random() < 0.4 and minute < 17 * HOUR:
        stops.append(
            Stop(int(rng.integers(atms)), minute + rng.uniform(3, 5) * HOUR, (Use(0, WITHDRAWAL, _cash(rng)),))
        )
    return [stops]


def _burst(_: int, atms: int, rng: Generator) -> Lives:
    """Eight cards at one machine in a quarter of an hour at noon, and never again."""
    uses = tuple(Use(i, WITHDRAWAL, _cash(rng, 50)) for i in range(8))
    return [[Stop(int(rng.integers(atms)), rng.uniform(12, 14) * HOUR, uses)]]


def _night(_: int, atms: int, rng: Generator) -> Lives:
    """Back at the machine all night, with the same three cards."""
    place = int(rng.integers(atms))
    return [
        [
            Stop(place, hour * HOUR + rng.uniform(0, 15), (Use(i % 3, WITHDRAWAL, _cash(rng, 50)),))
            for i, hour in enumerate((23.3, 24.4, 25.5, 26.4, 27.3))
        ]
    ]


def _tester(_: int, atms: int, rng: Generator) -> Lives:
    """Five cards in a quarter of an hour: most are declined or only asked for their balance."""
    kinds = (DECLINED, ENQUIRY, DECLINED, DECLINED, WITHDRAWAL)
    uses = tuple(Use(i, kind, 100 if kind == WITHDRAWAL else 0) for i, kind in enumerate(kinds))
    return [[Stop(int(rng.integers(atms)), rng.uniform(9, 11) * HOUR, uses)]]


def _reverser(_: int, atms: int, rng: Generator) -> Lives:
    """Four withdrawals over the day, each of them reversed, with one card."""
    return [
        [
            Stop(place, (10 + 2.5 * i) * HOUR + rng.uniform(0, 30), (Use(0, REVERSAL, _cash(rng, 50)),))
            for i, place in enumerate(_some(rng, 4, atms))
        ]
    ]


def _drainer(_: int, atms: int, rng: Generator) -> Lives:
    """A deposit, and four withdrawals of it within three hours."""
    place, other = _some(rng, 2, atms)
    start = rng.uniform(10, 13) * HOUR
    out = tuple(Use(0, WITHDRAWAL, 2000) for _ in range(2))
    return [
        [
            Stop(place, start, (Use(0, DEPOSIT, 9000),)),
            Stop(other, start + 70, out),
            Stop(place, start + 150, out),
        ]
    ]


def _clones(size: int, atms: int, rng: Generator) -> Lives:
    """Several people with copies of one card, each at a machine of their own."""
    name, places = f"clone {rng.integers(1 << 30)}", _some(rng, min(size, atms), atms)
    return [
        [Stop(places[i % len(places)], (15 + 0.8 * i) * HOUR + rng.uniform(0, 20), (Use(name, WITHDRAWAL, 5000),))]
        for i in range(size)
    ]


def _crew(size: int, atms: int, rng: Generator) -> Lives:
    """Several people, one after the other, empty a machine with five cards each."""
    place, minute = int(rng.integers(atms)), rng.uniform(16, 17) * HOUR
    return [
        [Stop(place, minute + 10.5 * i, tuple(Use(c, WITHDRAWAL, _cash(rng, 50)) for c in range(5)))]
        for i in range(size)
    ]


STORIES: dict[Story, Callable[[int, int, Generator], Lives]] = {
    Story.MULE: _mule,
    Story.REGULAR: _regular,
    Story.OCCASIONAL: _occasional,
    Story.ORDINARY: _ordinary,
    Story.BURST: _burst,
    Story.NIGHT: _night,
    Story.TESTER: _tester,
    Story.REVERSER: _reverser,
    Story.DRAINER: _drainer,
    Story.CLONES: _clones,
    Story.CREW: _crew,
}
