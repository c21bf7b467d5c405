"""How changes become rows: the one fold that every store of the view runs, on all rows or on those it touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from alerts.view import AtmHealth, Change, OpenAlert, Raised, Seen, SeenVisit, Totals, Unusable, ViewLost
from clustering.records import Usage
from clustering.visits import VISIT_GAP

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How much a view keeps: the last visits of each person, and the newest alerts of a scope.

    ``gap`` is what parts visits, and must be the clusterer's.
    """

    visits_kept: int = 50
    alerts_kept: int = 500
    gap: timedelta = VISIT_GAP


@dataclass(slots=True)
class Rows:
    """The rows of a view, or as many of them as some changes touch.  Owned by one thread.

    ``marks`` are those of the ATMs and cards that were counted; ``alerts`` are always all there are.
    """

    usages: dict[str, Usage] = field(default_factory=dict)
    visits: dict[str, list[SeenVisit]] = field(default_factory=dict)
    atms: dict[str, AtmHealth] = field(default_factory=dict)
    alerts: dict[str, OpenAlert] = field(default_factory=dict)
    marks: set[str] = field(default_factory=set)
    totals: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True)
class Touched:
    """The keys of the rows that changes touch; in order, so that stores ask alike."""

    people: tuple[str, ...]
    atms: tuple[str, ...]
    marks: tuple[str, ...]
    alerts: bool


def touched(changes: Iterable[Change]) -> Touched:
    """The rows that must be there to fold ``changes``."""
    people, atms, marks = dict[str, None](), dict[str, None](), dict[str, None]()
    alerts = False
    for change in changes:
        if isinstance(change, Raised):
            alerts = True
            continue
        if change.atm_id is not None:
            atms[change.atm_id] = None
        if isinstance(change, Seen):
            people[change.identity_id] = None
            marks.update(dict.fromkeys(mark for mark in (change.atm_mark, change.card_mark) if mark is not None))
    return Touched(tuple(people), tuple(atms), tuple(marks), alerts)


def pending(stored: int | None, after: int | None, offset: int, changes: Sequence[Change]) -> Sequence[Change] | None:
    """The changes behind ``stored``; None when the stretch is known as a whole.

    Raises ``ViewLost`` when it begins behind ``stored``.
    """
    if after is not None and (stored is None or stored < after):
        message = "the view has forgotten what its writer wrote"
        raise ViewLost(message)
    if stored is None:
        return changes
    return None if offset <= stored else [change for change in changes if change.offset > stored]


def fold(rows: Rows, changes: Iterable[Change], options: ViewOptions) -> None:
    """Fold ``changes`` into ``rows``, in order.

    How they are cut into calls does not matter.
    """
    for change in changes:
        if isinstance(change, Seen):
            _see(rows, change, options)
        elif isinstance(change, Unusable):
            _miss(rows, change)
        else:
            _raise(rows, change.alert, options.alerts_kept)


def _see(rows: Rows, seen: Seen, options: ViewOptions) -> None:
    who = seen.identity_id
    before = rows.usages.get(who)
    new = [mark is not None and mark not in rows.marks for mark in (seen.atm_mark, seen.card_mark)]
    rows.marks.update(mark for mark in (seen.atm_mark, seen.card_mark) if mark is not None)
    rows.usages[who] = Usage(
        identity_id=who,
        number=seen.number,
        visits=seen.visits,
        pictures=1 + (before.pictures if before else 0),
        atms=new[0] + (before.atms if before else 0),
        cards=new[1] + (before.cards if before else 0),
        first_seen=min(before.first_seen, seen.at) if before else seen.at,
        last_seen=max(before.last_seen, seen.at) if before else seen.at,
    )
    rows.visits[who] = with_picture(rows.visits.get(who, []), seen, options)
    health = rows.atms.get(seen.atm_id) or AtmHealth(atm_id=seen.atm_id)
    rows.atms[seen.atm_id] = health.model_copy(
        update={
            "pictures": health.pictures + 1,
            "accepted": health.accepted + 1,
            "last_picture": later(health.last_picture, seen.at),
        }
    )
    totals = rows.totals
    rows.totals = totals.model_copy(
        update={
            "pictures": totals.pictures + 1,
            "accepted": totals.accepted + 1,
            "identities": totals.identities + (before is None),
            "visits": totals.visits + seen.visits - (before.visits if before else 0),
            "last_picture": later(totals.last_picture, seen.at),
        }
    )


def _miss(rows: Rows, missed: Unusable) -> None:
    totals = rows.totals
    rows.totals = totals.model_copy(
        update={
            "pictures": totals.pictures + 1,
            "unusable": one_more(totals.unusable, missed.reason),
            "last_picture": later(totals.last_picture, missed.at),
        }
    )
    if missed.atm_id is None:
        return
    health = rows.atms.get(missed.atm_id) or AtmHealth(atm_id=missed.atm_id)
    rows.atms[missed.atm_id] = health.model_copy(
        update={
            "pictures": health.pictures + 1,
            "unusable": one_more(health.unusable, missed.reason),
            "last_picture": later(health.last_picture, missed.at),
        }
    )


def _raise(rows: Rows, alert: OpenAlert, kept: int) -> None:
    before = rows.alerts.get(alert.key)
    if before is not None and alert.episode <= before.episode:
        return
    rows.alerts[alert.key] = alert
    if len(rows.alerts) > kept:  # after each, so that it does not matter how changes are cut into calls
        del rows.alerts[min(rows.alerts.values(), key=by_age).key]
    totals = rows.totals
    rows.totals = totals.model_copy(
        update={"alerts": totals.alerts + 1, "severities": one_more(totals.severities, alert.severity)}
    )


def by_age(alert: OpenAlert) -> tuple[datetime, str]:
    """Sort key of alerts, oldest first."""
    return alert.raised_at, alert.key


def with_picture(visits: Sequence[SeenVisit], seen: Seen, options: ViewOptions) -> list[SeenVisit]:
    """One person's ``visits`` with one more picture in them, newest first.

    They are those of ``clustering.visits``: a picture belongs to the visits that it touches, and joins them.  One
    that comes so late that its visit is not kept any more may show as a visit of its own.
    """
    joined = [visit for visit in visits if _touches(visit, seen, options.gap)]
    latest = max(joined, key=lambda visit: visit.end, default=None)
    one = SeenVisit(
        identity_id=seen.identity_id,
        number=seen.number,
        atm_id=seen.atm_id,
        session_id=seen.session_id,
        start=min([seen.at, *(visit.start for visit in joined)]),
        end=max([seen.at, *(visit.end for visit in joined)]),
        pictures=1 + sum(visit.pictures for visit in joined),
        event_id=latest.event_id if latest and latest.end > seen.at else seen.event_id,
    )
    return newest([one, *(visit for visit in visits if visit not in joined)], options.visits_kept)


def _touches(visit: SeenVisit, seen: Seen, gap: timedelta) -> bool:
    if visit.atm_id != seen.atm_id or visit.session_id != seen.session_id:
        return False
    return seen.session_id is not None or (seen.at - visit.end < gap and visit.start - seen.at < gap)


def newest(visits: Iterable[SeenVisit], limit: int) -> list[SeenVisit]:
    """The ``limit`` visits that ended last, newest first."""
    return sorted(visits, key=lambda visit: visit.order, reverse=True)[:limit]


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two instants, of which either may be unknown."""
    return max((at for at in (one, other) if at is not None), default=None)


def one_more(counts: Mapping[Key, int], key: Key) -> dict[Key, int]:
    """``counts`` with one more of ``key``."""
    return {**counts, key: counts.get(key, 0) + 1}
