"""When a rule speaks: one alert for each time that it comes to hold.

A rule that holds raises an alert about its subject when there was none before.  After an alert at event time A it
stays silent about that subject until, at a moment T of event time at which it holds, one of these is true:

* **anew**: T lies ``cooldown`` or more after A, and the rule has *re-armed*: after A, and not after T, there was a
  moment at which it did not hold (as far as pictures known by then tell; one that comes late does not undo it);
* **more**: something that the case asks for grew by ``reopen_step`` or more over what the last alert measured;
* **graver**: the case is of a higher severity than the last alert's.

A picture that comes late can also show that the rule held at a moment before A.  That is an alert of its own only
when it lies ``cooldown`` or more before A and the rule did not hold all the time in between.

One picture raises at most one alert per rule and subject: the gravest, and of equals the earliest.  Alerts are
numbered from 1 per rule and subject; the number is the episode.  What a rule remembers of a subject changes only
by ``follow`` (an alert) and by ``rearm`` (a picture).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b

from alerts.judge import RANK, Bench, Crossing, fell_between
from alerts.records import Alert, Severity


@dataclass(frozen=True, slots=True)
class Episode:
    """The last alert of one rule about one subject, and since when the rule may speak again."""

    number: int
    raised_at: datetime
    severity: Severity
    measured: dict[str, float]
    rearmed_at: datetime | None = None


def due(bench: Bench, crossings: Sequence[Crossing], episode: Episode | None) -> Crossing | None:
    """The one of ``crossings``, which are by time, that is to be reported now, if any."""
    reportable = [c for c in crossings if episode is None or _speaks(bench, c, episode)]
    return max(reportable, key=lambda crossing: crossing.rank, default=None)


def _speaks(bench: Bench, crossing: Crossing, episode: Episode) -> bool:
    if crossing.rank > RANK[episode.severity]:
        return True
    step, before = bench.rule.reopen_step, episode.measured
    if step is not None and any(
        name in before and crossing.measured[name] - before[name] >= step for name in crossing.limits
    ):
        return True
    end, last, cooldown = crossing.end, episode.raised_at, bench.rule.cooldown
    if end > last:
        rearmed = episode.rearmed_at is not None and episode.rearmed_at <= end
        return rearmed and end - last >= cooldown
    return last > end and last - end >= cooldown and fell_between(bench, end, last)


def follow(episode: Episode | None, alert: Alert) -> Episode | None:
    """The episode once ``alert`` was raised; None when it is not news, because it was followed before."""
    if episode is None:
        return Episode(alert.episode, alert.raised_at, alert.severity, dict(alert.measured))
    if alert.episode <= episode.number:
        return None
    if alert.raised_at < episode.raised_at:  # found late: the later alert still sets the cooldown
        names = episode.measured.keys() | alert.measured.keys()
        most = {n: max(episode.measured.get(n, 0.0), alert.measured.get(n, 0.0)) for n in sorted(names)}
        gravest = max(episode.severity, alert.severity, key=lambda severity: RANK[severity])
        return replace(episode, number=alert.episode, severity=gravest, measured=most)
    return Episode(alert.episode, alert.raised_at, alert.severity, dict(alert.measured))


def rearm(episode: Episode, moment: datetime) -> Episode:
    """The episode once it is known that the rule did not hold just before ``moment``."""
    if moment <= episode.raised_at or (episode.rearmed_at is not None and episode.rearmed_at <= moment):
        return episode
    return replace(episode, rearmed_at=moment)


def alert_id(rule_id: str, scope: str, subject: str, number: int) -> str:
    """The id of an alert: the same whenever the same crossing is found again (RFC 7693 BLAKE2b, 128 bits)."""
    text = "\x1f".join((rule_id, scope, subject, str(number)))
    return "alert-" + blake2b(text.encode(), digest_size=16, person=b"atmwatch-alert").hexdigest()
