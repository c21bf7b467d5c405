from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import FileIO
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from toys import FILES, Counted, Milestone, Punch, expected_bytes, file_bytes

from ingest import jsonl_bus
from ingest.commit_log import Commit, encode
from ingest.errors import Corrupt, UsageError
from ingest.jsonl_bus import LOG, JsonlOutbox, Mode
from ingest.records import Position, Record


def at(offset: int, partition: str = "p") -> Position:
    return Position(partition=partition, offset=offset)


def counted(offset: int) -> Counted:
    return Counted(key=f"k{offset}", badge="b", count=offset + 1, position=at(offset))


def milestone(offset: int) -> Milestone:
    return Milestone(badge="b", count=offset + 1, position=at(offset))


@contextmanager
def opened(folder: Path, mode: Mode = Mode.RESUME, **options: Any) -> Iterator[JsonlOutbox]:
    with closing(JsonlOutbox(folder, FILES, mode=mode, **{"fsync_every": None, **options})) as outbox:
        yield outbox


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with three commits, of two, no and two records."""
    folder = tmp_path / "out"
    with opened(folder, Mode.NEW) as outbox:
        outbox.commit([milestone(0), counted(0)], at(0))
        outbox.commit([], at(1))
        outbox.commit([counted(2), counted(3)], at(3))
    return folder


OUTPUTS: list[Record] = [milestone(0), counted(0), counted(2), counted(3)]


def test_each_type_has_its_file_and_others_have_none(tmp_path: Path) -> None:
    with opened(tmp_path, Mode.NEW) as outbox:
        outbox.commit([Punch(key="k", badge="b"), counted(0), milestone(0)], at(0))
        assert list(outbox.journal()) == [counted(0), milestone(0)]
    assert file_bytes(tmp_path) == expected_bytes([counted(0), milestone(0)])
    assert {path.name for path in tmp_path.iterdir()} == {*FILES.values(), LOG, ".lock"}


def test_the_files_are_their_owners_alone(run: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in run.iterdir()} == {0o600}


def test_bytes_are_the_kernels_when_commit_returns(run: Path) -> None:
    with opened(run) as outbox:
        outbox.commit([counted(4)], at(4))
        assert file_bytes(run) == expected_bytes([*OUTPUTS, counted(4)])


@pytest.mark.parametrize(
    "names", [["a/b", "c"], ["..", "c"], ["", "c"], [LOG, "c"], [".lock", "c"], ["c", "c"]], ids=repr
)
def test_file_names_are_plain_and_apart(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match="file name of its own"):
        JsonlOutbox(tmp_path / "out", dict(zip([Counted, Milestone], names, strict=True)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*FILES.values(), LOG])
def test_a_folder_with_a_journal_needs_a_word(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="--resume goes on with it, --force starts anew"):
        JsonlOutbox(tmp_path, FILES)


def test_force_removes_what_it_owns_only(run: Path) -> None:
    (run / "notes.txt").write_text("keep")
    with opened(run, Mode.FORCE) as outbox:
        assert outbox.committed() is None
        assert list(outbox.journal()) == []
        outbox.commit([counted(0)], at(0))
    assert file_bytes(run) == expected_bytes([counted(0)])
    assert (run / "notes.txt").read_text() == "keep"


def test_resume_goes_on(run: Path) -> None:
    with opened(run) as outbox:
        assert outbox.committed() == at(3)
        outbox.commit([counted(4)], at(4))
        assert list(outbox.journal()) == [*OUTPUTS, counted(4)]
        assert list(outbox.journal(at(1))) == [counted(2), counted(3), counted(4)]


def test_resume_of_nothing_begins(tmp_path: Path) -> None:
    with opened(tmp_path / "a" / "b") as outbox:
        assert outbox.committed() is None


def test_resume_begins_anew_where_the_process_died_while_it_began(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b'{"schema_ver')
    with opened(tmp_path) as outbox:
        outbox.commit([counted(0)], at(0))
    with opened(tmp_path) as outbox:
        assert list(outbox.journal()) == [counted(0)]


def test_records_without_a_log_are_not_trusted(run: Path) -> None:
    (run / LOG).unlink()
    with pytest.raises(Corrupt, match=r"counted\.jsonl: has records"):
        JsonlOutbox(run, FILES, mode=Mode.RESUME)
    assert (run / "counted.jsonl").stat().st_size


def test_resume_needs_the_same_files_and_run(run: Path) -> None:
    with pytest.raises(UsageError, match="another input"):
        JsonlOutbox(run, FILES, mode=Mode.RESUME, run="yesterday")
    with pytest.raises(UsageError, match=r"a journal of counted\.jsonl, milestones\.jsonl"):
        JsonlOutbox(run, {Counted: "counted.jsonl"}, mode=Mode.RESUME)
    with opened(run) as outbox:  # and neither kept the lock
        assert list(outbox.journal()) == OUTPUTS


def test_what_was_not_committed_is_cut_off(run: Path) -> None:
    for name in (*FILES.values(), LOG):
        with (run / name).open("ab") as file:
            file.write(b'{"half": ')
    with opened(run) as outbox:
        assert outbox.committed() == at(3)
    assert file_bytes(run) == expected_bytes(OUTPUTS)
    assert (run / LOG).read_bytes().endswith(b'"}\n')


def test_a_torn_commit_takes_its_records_along(run: Path) -> None:
    log = (run / LOG).read_bytes()
    (run / LOG).write_bytes(log[:-1])
    with opened(run) as outbox:
        assert outbox.committed() == at(1)
        assert list(outbox.journal()) == OUTPUTS[:2]
        outbox.commit([counted(2), counted(3)], at(3))
    assert (run / LOG).read_bytes() == log
    assert file_bytes(run) == expected_bytes(OUTPUTS)


@pytest.mark.parametrize("gone", [True, False])
def test_committed_records_that_are_gone_are_damage(run: Path, gone: bool) -> None:
    path = run / "counted.jsonl"
    path.unlink() if gone else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt, match=rf"counted\.jsonl: \d+ bytes long, but {3 * len(_line())} were committed"):
        JsonlOutbox(run, FILES, mode=Mode.RESUME)


def _line() -> bytes:
    return counted(0).to_json().encode() + b"\n"


def test_a_log_of_other_files_is_damage(run: Path) -> None:
    header = (run / LOG).read_bytes().splitlines(keepends=True)[0]
    commit = Commit(n=1, position=at(0), lengths=(0,), crcs=(0,), order="")
    (run / LOG).write_bytes(header + encode(commit))
    with pytest.raises(Corrupt, match="other files than its first line"):
        JsonlOutbox(run, FILES, mode=Mode.RESUME)


def test_one_run_at_a_time(run: Path) -> None:
    with opened(run):
        for mode in Mode:
            with pytest.raises(UsageError, match="another run is writing"):
                JsonlOutbox(run, FILES, mode=mode)
    with opened(run) as outbox:
        assert list(outbox.journal()) == OUTPUTS


def test_a_folder_that_can_not_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="can't be used as output folder"):
            JsonlOutbox(path, FILES)


def test_damage_to_a_record_is_named(run: Path) -> None:
    path = run / "counted.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"?" + lines[2][1:]]))
    with opened(run) as outbox:
        journal = outbox.journal()
        assert [next(journal), next(journal)] == OUTPUTS[:2]  # read as it goes
        with pytest.raises(Corrupt, match=r"counted\.jsonl:3: not a Counted"):
            next(journal)
        with pytest.raises(Corrupt, match=r"counted\.jsonl:3: not a Counted"):
            list(outbox.journal(at(1)))


@pytest.mark.parametrize(
    ("was", "now"),
    [(b'"count":3', b'"count":9'), (b'{"schema', b'\n"schema')],
    ids=["another value", "another line break"],
)
def test_a_change_that_still_reads_well_is_found(run: Path, was: bytes, now: bytes) -> None:
    path = run / "counted.jsonl"
    content = path.read_bytes()
    place = content.rindex(was)
    path.write_bytes(content[:place] + now + content[place + len(was) :])
    with opened(run) as outbox, pytest.raises(Corrupt, match=r"counted\.jsonl:[23]: "):
        list(outbox.journal())


def test_a_log_that_loses_commits_under_way_is_damage(run: Path) -> None:
    with opened(run) as outbox:
        content = (run / LOG).read_bytes()
        (run / LOG).write_bytes(content[:-1])
        with pytest.raises(Corrupt, match="missing from the end"):
            list(outbox.journal())
        (run / LOG).write_bytes(content)


@pytest.mark.parametrize("position", [at(3), at(0), at(4, "other")])
def test_positions_rise_within_one_partition(run: Path, position: Position) -> None:
    with opened(run) as outbox:
        with pytest.raises(ValueError, match="is not behind p:3"):
            outbox.commit([counted(9)], position)
        outbox.commit([], at(4))
        assert list(outbox.journal()) == OUTPUTS


def test_after_a_failed_commit_only_opening_anew_helps(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: FileIO, content: bytes) -> None:
        file.write(content[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(run) as outbox:
        with monkeypatch.context() as patch:
            patch.setattr(jsonl_bus, "_write", full)
            with pytest.raises(OSError, match="No space left"):
                outbox.commit([counted(4)], at(4))
        with pytest.raises(ValueError, match="open the folder anew"):
            outbox.commit([counted(4)], at(4))
    with opened(run) as outbox:
        assert outbox.committed() == at(3)
        outbox.commit([counted(4)], at(4))
    assert file_bytes(run) == expected_bytes([*OUTPUTS, counted(4)])


def test_closed_is_closed(run: Path) -> None:
    with opened(run) as outbox:
        outbox.close()
        with pytest.raises(ValueError, match="closed"):
            outbox.commit([], at(4))


def test_a_write_goes_on_where_the_kernel_stopped(tmp_path: Path) -> None:
    class Slow(FileIO):
        def write(self, content: Any) -> int:
            return super().write(content[:3])

    with Slow(tmp_path / "file", "wb") as file:
        jsonl_bus._write(file, b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("every", "syncs"),
    [
        (None, []),
        (3600.0, ["files", LOG, "folder", "files", LOG]),
        (0.0, ["files", LOG, "folder", "files", LOG, "files", LOG, "files", LOG]),
    ],
)
def test_the_disk_gets_the_files_before_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float | None, syncs: list[str]
) -> None:
    seen: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append("folder" if path.is_dir() else path.name if path.name == LOG else "files")

    monkeypatch.setattr(os, "fsync", fsync)
    with opened(tmp_path, Mode.NEW, fsync_every=every) as outbox:
        outbox.commit([counted(0)], at(0))
        outbox.commit([counted(1)], at(1))
    assert [name for name, _ in groupby(seen)] == syncs


def test_it_keeps_up(tmp_path: Path) -> None:
    records = [counted(n) for n in range(32)]
    with opened(tmp_path, Mode.NEW, fsync_every=1.0) as outbox:
        start = perf_counter()
        for n in range(100):
            outbox.commit(records, at(n))
        assert 3200 / (perf_counter() - start) > 5000
