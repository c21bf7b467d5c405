"""The notifier role: takes alerts from their topic to people's systems, each at least once."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event
from time import monotonic

from alerts.records import Alert
from alerts.signature import Secret
from alerts.sinks import JsonlSink, Sink
from alerts.webhook import WebhookOptions, WebhookSink
from deploy.metrics import Dependency
from deploy.roles import keep_at
from deploy.settings import Settings
from deploy.watch import Watch, polling
from ingest.codec import decode
from ingest.errors import BadRecord, Superseded, Unavailable, UsageError
from ingest.kafka_bus.config import ALERTS
from ingest.kafka_bus.member import Member, Place, Received
from ingest.kafka_bus.topics import check_topics

NOTIFIER = "notifier"
REFUSED_FILE = "refused-alerts.jsonl"

BATCH = 50
PATIENCE_S = 0.2
LONGEST_BATCH_S = 60.0
"""A batch that takes longer is cut: whoever does not poll for five minutes loses its partitions."""
LONGEST_PAUSE_S = 30.0

_log = logging.getLogger("atmwatch.notifier")


def has_sink(settings: Settings) -> bool:
    """Whether the settings name a place for alerts."""
    return settings.webhook.url is not None or settings.alerts_file is not None


def run_notifier(settings: Settings, watch: Watch, stop: Event) -> None:
    """Deliver alerts until ``stop`` is set; any number of these share the work.

    A group that is new begins with the oldest alert that is kept.  Raises ``UsageError`` for settings that can't work,
    and ``Corrupt`` for an alerts file that holds something else.
    """
    config = settings.kafka
    with opened_sinks(settings, watch, stop) as sinks:

        def loop() -> None:
            check_topics(config, (ALERTS,))
            with ExitStack() as closing:
                member = Member(config, NOTIFIER, [ALERTS], BATCH)
                closing.callback(member.close)
                notifier = Notifier(member, sinks, watch)
                poll = polling(watch, member, ALERTS)
                while not stop.is_set():
                    poll()
                    pause = notifier.turn(stop)
                    stop.wait(pause)

        keep_at(loop, watch, stop)


@contextmanager
def opened_sinks(settings: Settings, watch: Watch, stop: Event) -> Iterator[list[Sink]]:
    """The places for alerts that the settings name: a JSON Lines file first, then the webhook.

    What the webhook's receiver refuses for good goes to ``refused-alerts.jsonl`` below ``state_dir``.
    """
    if not has_sink(settings):
        message = (
            "no place for alerts is named: set ATMWATCH_WEBHOOK__URL and ATMWATCH_WEBHOOK__SECRET_FILE, "
            "or ATMWATCH_ALERTS_FILE"
        )
        raise UsageError(message)
    with ExitStack() as closing:
        sinks: list[Sink] = []
        if settings.alerts_file is not None:
            sinks.append(JsonlSink(settings.alerts_file))
            closing.callback(sinks[-1].close)
        webhook = settings.webhook
        if webhook.url is not None:
            if webhook.secret_file is None:
                message = "alerts are signed: set ATMWATCH_WEBHOOK__SECRET_FILE to a file with whsec_… secrets"
                raise UsageError(message)
            options = WebhookOptions(
                webhook.url,
                ca_file=webhook.ca_file,
                proxy=webhook.proxy,
                timeout_s=webhook.timeout_s,
                attempts=webhook.attempts,
            )
            secrets = Secret.read(webhook.secret_file)
            refused = JsonlSink(settings.state_dir / REFUSED_FILE)
            closing.callback(refused.close)
            sinks.append(WebhookSink(options, secrets, refused=refused, on_outcome=watch.sent, wait=stop.wait))
            closing.callback(sinks[-1].close)
        yield sinks


@dataclass(slots=True)
class Notifier:
    """Delivers what ``member`` reads to every one of ``sinks``, in order, and then commits its offsets.

    So an alert whose commit was lost comes again, with the id by which it is known.  While a sink is unavailable
    nothing behind that alert is delivered.  Owned by one thread.
    """

    member: Member
    sinks: Sequence[Sink]
    watch: Watch
    failures: int = 0

    def turn(self, stop: Event) -> float:
        """One poll and its deliveries; how many seconds to wait before the next.

        Raises ``Unavailable`` and ``Superseded`` of Kafka: begin again as a new member.
        """
        received = self.member.poll(BATCH, PATIENCE_S)
        self.member.changes()
        self.watch.ready()
        began, pause = monotonic(), 0.0
        done: dict[Place, int] = {}
        left: dict[Place, int] = {}
        for one in received:
            if not left and not stop.is_set() and monotonic() - began < LONGEST_BATCH_S:
                try:
                    self._deliver(one)
                except Unavailable as error:
                    pause = self._failed(error)
                else:
                    done[one.place] = one.offset
                    continue
            left.setdefault(one.place, one.offset)
        if done:
            self.member.commit(done)
            self.watch.spent("sink", monotonic() - began)
            if not left:
                self._worked()
        self._read_again(left)
        return pause

    def _deliver(self, one: Received) -> None:
        self.watch.turning()
        try:
            alert = decode(one.message, Alert)
        except BadRecord as error:  # whoever wrote it, it is not an alert: it must not hold up those behind it
            _log.error("%s@%d is no alert, and is left out: %s", one.place.name, one.offset, error.detail)
            return
        for sink in self.sinks:
            sink.deliver(alert)

    def _read_again(self, left: dict[Place, int]) -> None:
        for place, offset in left.items():
            try:
                self.member.seek(place, offset)
            except ValueError as error:  # the client's word for a partition that was taken away meanwhile
                message = f"{place.name} was given to another process"
                raise Superseded(message) from error

    def _worked(self) -> None:
        self.failures = 0
        if any(isinstance(sink, WebhookSink) for sink in self.sinks):
            self.watch.depends(Dependency.WEBHOOK, True)

    def _failed(self, error: Unavailable) -> float:
        if "webhook" in error.what:
            self.watch.depends(Dependency.WEBHOOK, False)
        else:
            _log.error("%s", error)
        pause: float = min(error.retry_after * 2.0**self.failures, LONGEST_PAUSE_S)
        self.failures = min(self.failures + 1, 16)
        return pause * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
