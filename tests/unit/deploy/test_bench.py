from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from command import run
from portraits import ALICE, BOB, NOON, after, nobody, portrait, put

import deploy.cli.bench as command
from deploy.bench import Memory, RepeatedSource, bench_pipeline, first_result_seconds, load_events, resident_mb
from deploy.settings import load_settings
from ingest.errors import AtmwatchError
from ingest.records import AtmEvent, Position
from ingest.worker import Progress


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "day"
    for number, picture in enumerate((portrait(ALICE, 200), portrait(BOB, 400), nobody())):
        put(folder / f"bilde nr {number} – ø.jpg", picture, after(number), exif=True)
    put(folder / "empty.jpg", b"", NOON)
    return folder


@pytest.fixture
def source() -> Iterator[RepeatedSource]:
    events = [AtmEvent(event_id=f"e{i}", atm_id="a", captured_at=after(i)) for i in range(3)]
    made = RepeatedSource(events, 7, timedelta(hours=1))
    yield made
    made.close()


def test_a_repeated_source_never_repeats_an_event(source: RepeatedSource) -> None:
    assert not source.exhausted
    found = source.poll(5) + source.poll(5)
    assert source.exhausted
    assert source.poll(5) == []
    events = [d.record for d in found if isinstance(d.record, AtmEvent)]
    assert [d.position.offset for d in found] == list(range(7))
    assert len({event.event_id for event in events}) == 7
    assert [event.captured_at for event in events] == sorted(event.captured_at for event in events)
    source.seek(Position(partition="bench", offset=4))
    assert source.poll(9) == found[5:]
    source.seek(None)
    assert source.poll(1) == found[:1]


def test_memory_is_looked_at_after_every_tenth() -> None:
    memory = Memory(20)
    for events in range(1, 21):
        memory.look(Progress(Position(offset=events), 1, (), events, 0))
    assert len(memory.course) == 10
    assert all(10 < mb < 100_000 for mb in [*memory.course, resident_mb()])


def test_pictures_are_held_in_memory(day: Path) -> None:
    events = load_events(day)
    assert [len(event.image or b"") > 1000 for event in events] == [True] * 3
    assert all(event.image_uri is None for event in events)
    assert events[0].captured_at == NOON


def test_the_whole_pipeline_is_run(day: Path, tmp_path: Path) -> None:
    told: list[int] = []
    report = bench_pipeline(
        load_events(day), 9, load_settings(threads=2, batch=4), tmp_path, lambda p: told.append(p.events)
    )
    assert told == [4, 8, 9]
    assert (report.images, report.threads, report.sightings, report.identities) == (9, 2, 6, 2)
    assert list(report.stage_ms) == ["decode", "detect", "align", "embed", "signs", "decide", "alerts", "write"]
    assert report.images_per_second == pytest.approx(9 / report.seconds, rel=0.05)
    assert report.rss_mb == max(report.rss_mb_course)
    assert report.first_result_s is None


def test_a_replay_that_fails_has_no_first_result(tmp_path: Path) -> None:
    with pytest.raises(AtmwatchError, match="failed"):
        first_result_seconds(tmp_path / "nowhere", tmp_path)


def test_the_command_prints_what_others_rely_on(day: Path) -> None:
    outcome = run("bench", "pipeline", "--images", 32, "--pictures", day, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert report.keys() >= {"images_per_second", "stage_ms", "rss_mb", "first_result_s", "threads"}
    assert report["images"] == 32
    assert 0 < report["first_result_s"] < 60


def test_the_command_shows_the_same_to_people(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "first_result_seconds", lambda *_: 1.25)
    monkeypatch.setattr(command, "_simulated", lambda _: day)
    outcome = run("bench", "pipeline", "--images", 32, "--threads", 1)
    assert (outcome.code, outcome.err) == (0, "")
    assert "images/s over 32 images, 1 threads" in outcome.out
    assert "first result 1.25 s after the start of the process" in outcome.out
    assert all(f"  {stage} " in outcome.out for stage in ("decode", "detect", "embed", "write"))


def test_the_command_needs_pictures(tmp_path: Path) -> None:
    put(tmp_path / "day" / "notes.txt", b"nothing")
    assert run("bench", "pipeline", "--images", 32, "--pictures", tmp_path / "day").code == 2
    assert run("bench", "pipeline", "--images", 1).code == 2
    (tmp_path / "day" / "manifest.csv").write_text("path,atm_id,captured_at\nx.jpg,A,never\n")
    outcome = run("bench", "pipeline", "--images", 32, "--pictures", tmp_path / "day")
    assert outcome.code == 2
    assert "holds no pictures" in outcome.err
