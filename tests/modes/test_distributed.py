"""The embedded mode's scenarios over Kafka, with one process for each role: the same people, visits and alerts.

The roles are started once for each set of rules, and every scenario has a scope, and so a partition, of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from scenarios import SCENARIOS, Result, Scenario, summed_up
from stream import INPUTS, PATIENT, Stream, make_topics, stream_config

from alerts.records import Alert
from clustering.records import Sighting
from deploy.replay import _picture
from deploy.settings import load_settings
from ingest.folder import FolderSource, plan
from ingest.kafka_bus.config import ALERTS, DEADLETTER, SIGHTINGS
from ingest.plan import ScanOptions
from ingest.reasons import Reason
from ingest.records import AtmEvent, Rejection
from ingest.video import FrameReader

pytest_plugins = ["servers.plugin"]


@pytest.fixture(scope="module")
def results(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Result]]:
    """What every scenario came to, by its name."""
    with ExitStack() as closing:
        streams = []
        for rules in dict.fromkeys(scenario.rules for scenario in SCENARIOS):
            mine = [scenario for scenario in SCENARIOS if scenario.rules == rules]
            folder = tmp_path_factory.mktemp("distributed")
            stream = opened(kafka, mine, rules, folder)
            closing.callback(stream.close)
            for number, scenario in enumerate(mine):
                stream.publish(events(scenario, folder / f"in-{number}", scope_of(number)))
            streams.append((stream, mine))
        found = {}
        for stream, mine in streams:
            stream.wait_until_done(*INPUTS, seconds=240)
            refused = rejections(stream.read(DEADLETTER))
            for number, scenario in enumerate(mine):
                found[scenario.name] = result(stream, number, refused)
        yield found


def opened(kafka: str, scenarios: Sequence[Scenario], rules: str | None, folder: Path) -> Stream:
    """The running roles for ``scenarios``."""
    config = stream_config(kafka, scopes=tuple(scope_of(number) for number in range(len(scenarios))), **PATIENT)
    settings = {}
    if rules is not None:
        (folder / "rules.yaml").write_text(rules)
        settings["rules"] = folder / "rules.yaml"
    make_topics(config, events=1)  # so that pictures arrive in the order in which they were taken
    stream = Stream(config, folder, settings)
    for role in INPUTS:
        stream.start(role)
    return stream


def scope_of(number: int) -> str:
    return f"scenario-{number}"


def events(scenario: Scenario, folder: Path, scope: str) -> list[AtmEvent]:
    """The scenario's pictures as cameras would send them; an event that comes twice is sent again at the end."""
    folder.mkdir()
    source = FolderSource(plan(scenario.lay_out(folder), ScanOptions()))
    frames = FrameReader()
    picture = partial(_picture, frames, load_settings())
    sent: list[AtmEvent] = []
    again: set[str | None] = set()
    while not source.exhausted:
        for delivery in source.poll(64):
            event = delivery.record
            if isinstance(event, Rejection):
                again.add(event.event_id)
                continue
            assert isinstance(event, AtmEvent)
            carried = {"scope": scope, "image": picture(event), "image_uri": None, "sha256": None}
            sent.append(event.model_copy(update=carried))
    source.close()
    frames.close()
    return [*sent, *(event for event in sent if event.event_id in again)]


def rejections(records: Sequence[object]) -> list[Rejection]:
    return [record for record in records if isinstance(record, Rejection)]


def result(stream: Stream, partition: int, refused: Sequence[Rejection]) -> Result:
    journal = stream.read(SIGHTINGS, partition)
    alerts = [alert for alert in stream.read(ALERTS, partition) if isinstance(alert, Alert)]
    mine = [one for one in refused if one.scope == scope_of(partition)]
    sightings = [record for record in journal if isinstance(record, Sighting)]
    return summed_up(sightings, alerts, [*rejections(journal), *mine])


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_gives_its_result_over_kafka(results: Mapping[str, Result], scenario: Scenario) -> None:
    expected = scenario.expected
    # A camera's retry is no dead letter: it is not counted, and that is all.
    kept = tuple(reason for reason in expected.rejected if reason != Reason.DUPLICATE_EVENT)
    assert results[scenario.name] == Result(expected.visits, expected.pictures, expected.atms, expected.alerts, kept)
