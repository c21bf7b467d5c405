"""Events into the stream, one by one, each acknowledged by every replica (acks=all) and written once (KIP-98)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from ingest.codec import encode
from ingest.errors import AtmwatchError, BadRecord, Superseded, Unavailable, UsageError
from ingest.kafka_bus.client import connecting, connection, meaning
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.outbox import Routes
from ingest.reasons import Reason
from ingest.records import Record
from ingest.trace_context import Headers

Done = Callable[[AtmwatchError | None], None]
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """``delivery_timeout_s`` is how long a record is tried, ``block_s`` how long ``send`` may wait for metadata.

    ``silent_s`` is how long nothing but failures may come before ``check`` calls for a new publisher.
    """

    delivery_timeout_s: float = 60.0
    block_s: float = 1.0
    silent_s: float = 60.0


class Publisher:
    """Sends records where ``routes`` says, in the order of the calls for each key.

    May be used by several threads.  Connecting raises ``Unavailable``, or ``UsageError`` when Kafka refuses.
    """

    def __init__(
        self, config: KafkaConfig, routes: Routes, topics: tuple[str, ...], options: PublisherOptions | None = None
    ) -> None:
        options = options or PublisherOptions()
        self._routes = routes
        self._prefix = config.topic_prefix
        self._silent_s = options.silent_s
        self._lock = Lock()
        self._failing_since: float | None = None
        self._fatal: AtmwatchError | None = None
        with connecting(config):
            self._producer = KafkaProducer(
                **connection(config),
                client_id=f"{config.group}-publisher",
                acks="all",
                enable_idempotence=True,
                linger_ms=1,
                batch_size=512 * 1024,
                max_request_size=config.max_message_bytes,
                max_block_ms=round(options.block_s * 1000),
                # The client wants it longer than one request.
                delivery_timeout_ms=round(max(options.delivery_timeout_s, config.request_timeout_s + 1) * 1000),
                allow_auto_create_topics=False,
            )
            try:
                for topic in topics:  # so that `send` has no need to wait for it
                    self._producer.partitions_for(self._prefix + topic)
            except KafkaError:
                self._producer.close(timeout=0)
                raise

    def send(self, record: Record, done: Done, trace: Headers = ()) -> None:
        """Send ``record``; ``done`` is called once, by the producer's thread or this one, and must not block.

        It is told None when the record is acknowledged, else why it is not known to be: ``BadRecord`` for one that is
        too large for the topic, ``Unavailable`` for one to be sent again (it may have been written all the same, and
        its id makes it count once), ``Superseded`` or ``UsageError`` when this publisher can't go on.  Raises the same
        errors, without calling ``done``, for what can't be tried; ``ValueError`` for a record that goes nowhere.
        """
        route = self._routes(record)
        if route is None:
            message = f"{type(record).__name__} has no topic"
            raise ValueError(message)
        made = encode(record, trace=trace)
        try:
            future = self._producer.send(
                self._prefix + route.topic,
                value=made.value,
                key=made.key,
                headers=list(made.headers),
                partition=route.partition,
            )
        except TOO_LARGE as error:
            raise _too_large() from error
        except KafkaError as error:
            raise self._note(error) from error

        def acknowledged(_metadata: object) -> None:
            self._failing_since = None
            done(None)

        def failed(error: BaseException) -> None:
            done(_too_large() if isinstance(error, TOO_LARGE) else self._note(error))

        future.add_callback(acknowledged)
        future.add_errback(failed)

    def check(self) -> None:
        """Raise what ended this publisher, or ``Unavailable`` when nothing was acknowledged for too long."""
        with self._lock:
            fatal, since = self._fatal, self._failing_since
        if fatal is not None:
            raise fatal
        if since is not None and monotonic() - since > self._silent_s:
            what = "Kafka (nothing is acknowledged)"
            raise Unavailable(what)

    @property
    def failing(self) -> bool:
        """Whether the last that was heard of the broker was a failure."""
        return self._failing_since is not None

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait for what is under way, at most ``timeout_s``, and let go of the connections."""
        self._producer.close(timeout=timeout_s)

    def _note(self, error: BaseException) -> AtmwatchError:
        found = meaning(error)
        with self._lock:
            if self._failing_since is None:
                self._failing_since = monotonic()
            if isinstance(found, Superseded | UsageError):
                self._fatal = found
        return found


def _too_large() -> BadRecord:
    return BadRecord(Reason.TOO_MANY_BYTES, "The event is larger than its topic takes.")
