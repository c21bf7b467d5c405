"""Outputs and input offsets in one Kafka transaction (KIP-98, KIP-447), and the journal that they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ingest.codec import encode
from ingest.deadline import Deadline
from ingest.errors import AtmwatchError, Corrupt, Unavailable
from ingest.kafka_bus.client import connecting, connection, meaning, translated
from ingest.kafka_bus.config import KafkaConfig
from ingest.kafka_bus.journal import Journal
from ingest.kafka_bus.member import Member, Place
from ingest.records import Position, Record


@dataclass(frozen=True, slots=True)
class Route:
    """Where a record goes; ``partition`` None leaves it to the key."""

    topic: str
    partition: int | None = None


Routes = Callable[[Record], Route | None]
"""Where a role's outputs go; None for records that end here."""


class KafkaOutbox:
    """Commits what a worker made out of what ``member`` read.

    ``transactional_id`` names the work, not the process: whoever opens it again fences the one before, whose
    unfinished transaction is aborted.  ``journal`` is what recovery reads (None for a role without a memory);
    ``on_commit`` hears the seconds of each commit.  A commit that fails ends this outbox: it raises ``Superseded`` or
    ``Unavailable``, and nothing of the batch has happened, or, when the answer was lost, all of it; the group's offset
    tells the next one which.
    """

    name = "outbox"

    def __init__(
        self,
        config: KafkaConfig,
        transactional_id: str,
        member: Member,
        routes: Routes,
        *,
        inputs: Place | None = None,
        journal: Journal | None = None,
        on_commit: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._member = member
        self._routes = routes
        self._inputs = inputs
        self._journal = journal
        self._on_commit = on_commit
        self._deadline = Deadline(config.transaction_timeout_s, at_a_time=2)
        with connecting(config):
            self._producer = KafkaProducer(
                **connection(config),
                client_id=transactional_id,
                transactional_id=transactional_id,
                transaction_timeout_ms=round(config.transaction_timeout_s * 1000),
                acks="all",
                linger_ms=0,
                batch_size=256 * 1024,
                max_request_size=config.max_message_bytes,
                max_block_ms=round(config.request_timeout_s * 1000),
                delivery_timeout_ms=round(config.request_timeout_s * 2000),
                retry_backoff_ms=10,  # slept between transactions while the broker still writes markers
            )
        try:
            with translated():
                self._producer.init_transactions()
        except AtmwatchError:
            self.close()
            raise

    def commit(self, outputs: Sequence[Record], *upto: Position) -> None:
        offsets = {
            Place.named(position.partition).on_wire(self._config): OffsetAndMetadata(position.offset + 1, "", -1)
            for position in upto
        }
        # The client's own calls have no time limit, and some never return once the coordinator was away.
        began = monotonic()
        try:
            written = self._deadline.run(lambda: self._transaction(outputs, offsets))
        except TimeoutError as error:
            what = "Kafka (a commit got no answer in time)"
            raise Unavailable(what) from error
        except KafkaError as error:
            raise self._failed(error) from error
        self._on_commit(monotonic() - began)
        if self._journal is not None:
            for place, offset in written:
                self._journal.wrote(place, offset)

    def _transaction(
        self, outputs: Sequence[Record], offsets: dict[TopicPartition, OffsetAndMetadata]
    ) -> list[tuple[Place, int]]:
        """One transaction; where its records came to stand.

        Every record's own answer is looked at before the commit: after a transaction timed out, the client's commit
        returns as if it had worked.
        """
        self._producer.begin_transaction()
        sent = []
        for record in outputs:
            route = self._routes(record)
            if route is not None:
                message = encode(record)
                sent.append(
                    self._producer.send(
                        self._config.topic_prefix + route.topic,
                        value=message.value,
                        key=message.key,
                        headers=list(message.headers),
                        partition=route.partition,
                    )
                )
        if sent:
            self._producer.flush(timeout=self._deadline.seconds)
        answers = [future.get(timeout=0) for future in sent]
        self._producer.send_offsets_to_transaction(offsets, self._member.metadata)
        self._producer.commit_transaction()
        return [(Place.of_wire(answer.topic, answer.partition, self._config), answer.offset) for answer in answers]

    def committed(self) -> Position | None:
        if self._inputs is None:
            return None
        following = self._member.committed(self._inputs)
        return Position(partition=self._inputs.name, offset=following - 1) if following else None

    def journal(self, after: Position | None = None) -> Iterator[Record]:
        if self._journal is None:
            return iter(())
        return self._journal.read(after, self.committed())

    def apply(self, record: Record) -> None:
        """Nothing: what this remembers is where the journal's tail begins."""

    def snapshot(self) -> bytes:
        return json.dumps(self._journal.marks if self._journal else {}).encode()

    def restore(self, content: bytes) -> None:
        try:
            marks = {str(name): int(offset) for name, offset in json.loads(content).items()}
        except (ValueError, AttributeError) as error:
            message = "the outbox's snapshot is damaged"
            raise Corrupt(message) from error
        if self._journal is not None:
            self._journal.marks = marks

    def close(self) -> None:
        try:
            self._producer.close(timeout=2)
        except KafkaError:  # undeliverable records of a transaction that has failed anyway: the client gives up halfway
            if self._producer._sender is not None:  # noqa: SLF001 - and would leave its thread trying for ever
                self._producer._sender.force_close()  # noqa: SLF001

    def _failed(self, error: KafkaError) -> AtmwatchError:
        # Best effort: whoever opens the transactional id next aborts it otherwise, or its timeout does.
        with suppress(KafkaError, TimeoutError):
            self._deadline.run(self._producer.abort_transaction)
        return meaning(error)
