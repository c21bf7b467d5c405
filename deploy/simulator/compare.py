"""A replay held against the truth: whether alerts are those that the day deserves, and identities are people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerts.records import Alert
from clustering.records import Sighting
from deploy.simulator.truth import FACE, ExpectedAlert, GroundTruth, TrueEvent, Who

NAMED = 5
"""Of a longer list so many are named, and the rest counted."""


@dataclass(frozen=True, slots=True)
class PersonFound:
    """One true person: how many identities were made of them, and the visits of the largest of these."""

    person: str
    identities: int
    visits_true: int
    visits_found: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a replay's result differs from the truth.

    ``purity`` is the share of sightings that show the person to whom most of their identity's sightings belong,
    0 to 1.  ``unseen`` are events that show a person and were not sighted, ``phantoms`` sightings of events that
    show nobody, or that the truth does not know.
    """

    missing: tuple[ExpectedAlert, ...]
    unexpected: tuple[ExpectedAlert, ...]
    expected: int
    purity: float
    people: tuple[PersonFound, ...]
    unseen: tuple[str, ...]
    phantoms: tuple[str, ...]

    @property
    def alerts_ok(self) -> bool:
        """Whether every alert that the truth asks for was raised, and no other."""
        return not self.missing and not self.unexpected

    @property
    def ok(self) -> bool:
        """Whether nothing at all differs: alerts, people, visits and pictures."""
        visits = all(p.identities == 1 and p.visits_found == p.visits_true for p in self.people)
        return self.alerts_ok and visits and self.purity == 1 and not self.unseen and not self.phantoms

    def lines(self) -> list[str]:
        """The same for people to read, the verdict first."""
        right = sum(p.visits_found == p.visits_true for p in self.people)
        whole = sum(p.identities == 1 for p in self.people)
        lines = [f"alerts as the ground truth says: {'yes' if self.alerts_ok else 'no'} ({self.expected} expected)"]
        lines += _listed("missing", [_words(alert) for alert in self.missing])
        lines += _listed("not expected", [_words(alert) for alert in self.unexpected])
        lines.append(f"people found as one identity each: {whole} of {len(self.people)}; purity {self.purity:.4f}")
        lines.append(f"visits counted right: {right} of {len(self.people)} people")
        wrong = [p for p in self.people if p.visits_found != p.visits_true]
        lines += _listed("visits", [f"{p.person} {p.visits_found} instead of {p.visits_true}" for p in wrong])
        lines += _listed("pictures of a person without a sighting", list(self.unseen))
        lines += _listed("sightings where nobody is", list(self.phantoms))
        return lines


def compare(truth: GroundTruth, alerts: Iterable[Alert], sightings: Iterable[Sighting]) -> Comparison:
    """Hold ``alerts`` and ``sightings`` of one replay against ``truth``.  Pure; each is read once.

    An identity stands for the person to whom most of its sightings belong (the first by name of equals).
    """
    events = {event.event_id: event for event in truth.events}
    shown: dict[str, Counter[str]] = defaultdict(Counter)
    sessions: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
    seen, phantoms = set(), []
    for sighting in sightings:
        event = events.get(sighting.event.event_id)
        seen.add(sighting.event.event_id)
        if event is None or event.person is None:
            phantoms.append(sighting.event.event_id)
            continue
        shown[sighting.identity_id][event.person] += 1
        sessions[sighting.identity_id].add((sighting.event.atm_id, sighting.event.session_id))
    owners = {identity: min(count, key=lambda name: (-count[name], name)) for identity, count in shown.items()}
    found = {_about(alert, owners, events) for alert in alerts}
    wanted = set(truth.expected_alerts)
    right = sum(shown[identity][owner] for identity, owner in owners.items())
    total = sum(count.total() for count in shown.values())
    return Comparison(
        missing=_sorted(wanted - found),
        unexpected=_sorted(found - wanted),
        expected=len(wanted),
        purity=right / total if total else 1.0,
        people=_people(truth, owners, {identity: len(own) for identity, own in sessions.items()}),
        unseen=tuple(e.event_id for e in truth.events if e.outcome == FACE and e.event_id not in seen),
        phantoms=tuple(sorted(phantoms)),
    )


def _about(alert: Alert, owners: Mapping[str, str], events: Mapping[str, TrueEvent]) -> ExpectedAlert:
    """Whom the alert is about, in the truth's terms."""
    if alert.identity_id is not None:
        subject = owners.get(alert.identity_id, alert.identity_id)
        return ExpectedAlert(rule_id=alert.rule_id, about=Who.PERSON, subject=subject)
    if alert.atm_id is not None and alert.subject == alert.atm_id:
        return ExpectedAlert(rule_id=alert.rule_id, about=Who.ATM, subject=alert.atm_id)
    # A card's alert names the token's digest; the pictures that it rests on lead to the token.
    tokens = Counter(
        event.card_token for shown in alert.evidence if (event := events.get(shown.event_id)) and event.card_token
    )
    card = min(tokens, key=lambda token: (-tokens[token], token), default=alert.subject)
    return ExpectedAlert(rule_id=alert.rule_id, about=Who.CARD, subject=card)


def _people(truth: GroundTruth, owners: Mapping[str, str], visits: Mapping[str, int]) -> tuple[PersonFound, ...]:
    made: dict[str, list[int]] = defaultdict(list)
    for identity, owner in owners.items():
        made[owner].append(visits[identity])
    return tuple(
        PersonFound(known.person, len(made[known.person]), known.visits, max(made[known.person], default=0))
        for known in truth.people
    )


def _sorted(alerts: Iterable[ExpectedAlert]) -> tuple[ExpectedAlert, ...]:
    return tuple(sorted(alerts, key=lambda alert: (alert.rule_id, alert.about, alert.subject)))


def _words(alert: ExpectedAlert) -> str:
    return f"{alert.rule_id} about {alert.about.value} {alert.subject}"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"  {what}: {', '.join(names[:NAMED])}{more}"]
