"""Turns a run's records into the words, rows and drawings of the page.  Pure, but for the album's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from markupsafe import Markup

from alerts.records import Alert, Evidence, Queue, Severity
from clustering.records import Usage
from deploy.report.charts import Span, Timeline, bars, timeline
from deploy.report.gather import Gathered, History, Limits, Sample, Visit
from deploy.report.thumbnails import Album
from deploy.report.views import (
    AlertView,
    AtmRow,
    Face,
    Page,
    PersonView,
    ProofRow,
    RejectionGroup,
    VisitRow,
)
from deploy.report.wording import WallClock, count, label, measure, origin, plain, share
from deploy.summary import AtmHealth, Summary
from deploy.visit_signs import EYES_UNKNOWN, PersonSigns, VisitSigns, summed
from embedder.liveness import Blink
from ingest.reasons import UNUSABLE

SHARED_AXIS = timedelta(hours=48)
"""Up to this length all timelines span the whole run, so that people can be compared by eye."""


class PageBuilder:
    """Turns what was gathered into a ``Page``.  Alerts come first in line for the album's room, up to half of it."""

    def __init__(self, summary: Summary, album: Album, limits: Limits, clock: WallClock) -> None:
        self._summary = summary
        self._album = album
        self._limits = limits
        self._clock = clock
        first, last = summary.first_captured_at, summary.last_captured_at
        self._one_day = bool(first and last and clock.local(first).date() == clock.local(last).date())

    def page(self, gathered: Gathered, title: str) -> Page:
        """The page's content; the same for the same input."""
        summary = self._summary
        shown = {history.usage.identity_id for history in gathered.histories}
        alerts = tuple(self._alert(alert, gathered, shown) for alert in gathered.alerts)
        people = tuple(self._person(history) for history in gathered.histories)
        atms = self._atms(summary.atms)
        order = [severity.value for severity in reversed(Severity)]
        return Page(
            title=plain(title),
            summary=summary,
            period=self._clock.period(summary.first_captured_at, summary.last_captured_at),
            zone=self._clock.zone,
            severities=tuple((s, summary.alerts_by_severity[s]) for s in order if s in summary.alerts_by_severity),
            notes=tuple(plain(note, 1000) for note in summary.notes),
            alerts=alerts,
            alerts_left=summary.alerts - len(alerts),
            people=people,
            people_left=summary.repeated_identities - len(people),
            once=summary.identities - summary.repeated_identities,
            atms=atms,
            atms_left=len(summary.atms) - len(atms),
            rejections=self._rejections(gathered),
            rules=summary.rules,
            timings=bars("Mean time per event by stage", summary.stage_ms, "ms") if summary.stage_ms else None,
            faces_lost=self._album.lost,
            faces_over_budget=self._album.over_budget,
        )

    def _alert(self, alert: Alert, gathered: Gathered, shown: set[str]) -> AlertView:
        names = [*alert.measured, *(name for name in alert.limits if name not in alert.measured)]
        listed = alert.evidence[: self._limits.evidence]
        return AlertView(
            alert_id=plain(alert.alert_id, 40),
            title=plain(alert.title),
            rule_id=plain(alert.rule_id),
            severity=alert.severity.value,
            queue="Data quality" if alert.queue is Queue.DATA_QUALITY else "Fraud",
            subject=subject_of(alert),
            person=alert.number if alert.identity_id in shown else None,
            raised=self._clock.moment(alert.raised_at),
            window=self._clock.period(alert.window_start, alert.raised_at),
            measures=tuple(
                (
                    label(plain(name)),
                    measure(name, alert.measured[name]) if name in alert.measured else "–",
                    measure(name, alert.limits[name]) if name in alert.limits else "–",
                )
                for name in names
            ),
            confidence=share(alert.confidence),
            held=None if alert.held is None else plain(alert.held, 500),
            advice=plain(alert.advice, 1000),
            proofs=tuple(self._proof(proof, gathered.evidence.get(proof.event_id)) for proof in listed),
            proofs_left=len(alert.evidence) - len(listed),
        )

    def _proof(self, proof: Evidence, sample: Sample | None) -> ProofRow:
        at, atm = self._clock.moment(proof.captured_at), plain(proof.atm_id)
        reserve = self._limits.picture_bytes // 2
        uri = self._album.uri(sample.event, sample.box, reserve) if sample else None
        return ProofRow(
            at=at,
            atm=atm,
            similarity=_cosine(proof.similarity),
            confidence=share(proof.confidence),
            source=origin(proof.source),
            face=Face(uri, f"Face at {atm}, {at.text}", at.text, atm),
        )

    def _person(self, history: History) -> PersonView:
        usage = history.usage
        faces = history.faces(self._limits.thumbnails)
        pictures = [self._face(usage, visit) for visit in faces]
        listed = history.visits[: self._limits.visits]
        drawing, scale = self._timeline(history)
        alerts = sorted(history.alerts.items(), key=lambda item: (-list(Severity).index(item[0][0]), item[0][1]))
        return PersonView(
            usage=usage,
            period=self._clock.period(usage.first_seen, usage.last_seen),
            signs=signs_sentence(summed(usage.identity_id, (visit.signs for visit in history.visits))),
            alerts=tuple((severity.value, plain(title), times) for (severity, title), times in alerts),
            faces=tuple(face for face in pictures if face.uri),
            faces_left=usage.visits - sum(face.uri is not None for face in pictures),
            drawing=drawing,
            scale=scale,
            visits=tuple(self._visit(place, visit) for place, visit in enumerate(listed, 1)),
            visits_left=max(usage.visits - len(listed), 0),
            flags_left=history.flags_left,
        )

    def _face(self, usage: Usage, visit: Visit) -> Face:
        at, atm = self._clock.moment(visit.start), plain(visit.atm_id)
        sample = visit.sample
        uri = self._album.uri(sample.event, sample.box) if sample else None
        caption = at.clock if self._one_day else at.text[:16]
        return Face(uri, f"Face of unknown identity {usage.number} at {atm}, {at.text}", caption, atm)

    def _visit(self, place: int, visit: Visit) -> VisitRow:
        seconds = round((visit.end - visit.start).total_seconds())
        return VisitRow(
            number=place,
            start=self._clock.moment(visit.start),
            lasted=measure("_s", seconds) if seconds else "one moment",
            atm=plain(visit.atm_id),
            pictures=visit.pictures,
            similarity=_cosine(visit.similarity),
            confidence=share(visit.confidence),
            wear=visit.signs.wear.value if visit.signs.wear else "not looked at",
            eyes=_eyes(visit.signs),
        )

    def _timeline(self, history: History) -> tuple[Markup, str]:
        first, last = history.usage.first_seen, history.usage.last_seen
        start = self._summary.first_captured_at or first
        end = self._summary.last_captured_at or last
        whole = end - start <= SHARED_AXIS
        places: dict[str, int] = {}
        for visit in history.visits:
            places.setdefault(visit.atm_id, len(places))
        rows = list(places)
        if len(rows) > self._limits.rows:
            kept = self._limits.rows - 1
            rows = [*rows[:kept], f"{len(rows) - kept} other ATMs"]
        spans = [Span(min(places[v.atm_id], len(rows) - 1), v.start, v.end) for v in history.visits]
        chart = Timeline(
            title=f"Visits of unknown identity {history.usage.number} by ATM",
            rows=rows,
            spans=spans,
            flags=history.flags,
            start=min(start, first) if whole else first,
            end=max(end, last) if whole else last,
            clock=self._clock,
        )
        return timeline(chart), "the whole run" if whole else "this person's first to last visit"

    def _atms(self, atms: Sequence[AtmHealth]) -> tuple[AtmRow, ...]:
        """All in order of name when there is room, otherwise those with most unusable pictures."""
        if len(atms) > self._limits.atms:
            worst = sorted(atms, key=lambda a: (-sum(a.unusable.values()) - a.broken, a.atm_id))
            atms = sorted(worst[: self._limits.atms], key=lambda a: a.atm_id)
        return tuple(
            AtmRow(
                atm=atm,
                name=plain(atm.atm_id),
                unusable=share(atm.unusable_share),
                reasons=", ".join(f"{label(reason)} {times:,}" for reason, times in atm.unusable.items()) or "none",
                grade="poor" if atm.is_poor else "good" if atm.is_judged else "few",
            )
            for atm in atms
        )

    def _rejections(self, gathered: Gathered) -> tuple[RejectionGroup, ...]:
        groups = []
        for reason, examples in gathered.rejections.items():
            total = self._summary.rejected_by_reason.get(reason.value, len(examples))
            rows = tuple((origin(r.source), plain(r.atm_id or ""), plain(r.detail)) for r in examples)
            groups.append(RejectionGroup(reason, total, reason in UNUSABLE, rows, total - len(rows)))
        return tuple(groups)


def subject_of(alert: Alert) -> str:
    """Whom or what an alert is about.  A card is never named, not even by its token's digest."""
    where = f"ATM {plain(alert.atm_id)}" if alert.atm_id else ""
    if alert.number is not None:
        return f"Unknown identity {alert.number}" + (f" at {where}" if where else "")
    return where or "One payment card"


def visits_sentence(usage: Usage) -> str:
    """``5 visits to 3 ATMs with 4 cards, 12 pictures``."""
    cards = f" with {count(usage.cards, 'card')}" if usage.cards else ""
    return f"{count(usage.visits, 'visit')} to {count(usage.atms, 'ATM')}{cards}, {count(usage.pictures, 'picture')}"


def signs_sentence(signs: PersonSigns) -> str:
    """``Masked on 3 of 5 visits (60%); eyes open on 4, closed on 1; blinked on 2``; empty when nobody looked."""
    if not signs.visits:
        return ""
    parts = [f"Masked on {signs.masked:,} of {count(signs.visits, 'visit')} ({share(signs.masked_share)})"]
    if signs.occluded:
        parts.append(f"face covered otherwise on {signs.occluded:,}")
    eyes = [(signs.eyes_open, "open"), (signs.eyes_closed, "closed")]
    told = ", ".join(f"{state} on {visits:,}" for visits, state in eyes if visits)
    parts.append(f"eyes {told}" if told else "eyes never to be seen")
    if signs.blinks:
        parts.append(f"blinked on {signs.blinks:,}")
    if signs.no_blinks:
        parts.append(f"did not blink on {signs.no_blinks:,}, though the footage would have shown it")
    return "; ".join(parts)


def _eyes(signs: VisitSigns) -> str:
    blinked = {Blink.SEEN: ", blinked", Blink.NOT_SEEN: ", no blink", Blink.UNKNOWN: ""}[signs.blink]
    return ("can't tell" if signs.eyes == EYES_UNKNOWN else signs.eyes) + blinked


def _cosine(similarity: float | None) -> str:
    return "first picture" if similarity is None else f"{similarity:.3f}"
