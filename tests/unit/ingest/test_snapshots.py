from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Position
from ingest.snapshots import Snapshot, SnapshotStore


def snapshot(offset: int, partition: str = "p") -> Snapshot:
    return Snapshot(Position(partition=partition, offset=offset), {"roster": b"\0\n\xff" * offset, "rules": b""})


def at(offset: int, partition: str = "p") -> Position:
    return Position(partition=partition, offset=offset)


def names(folder: Path) -> list[str]:
    return sorted(path.name.lstrip("0") for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots")


@pytest.fixture
def folder(tmp_path: Path, store: SnapshotStore) -> Path:
    for offset in (5, 9, 12):
        store.save(snapshot(offset))
    return tmp_path / "snapshots"


def test_the_last_two_come_back_newest_first(store: SnapshotStore, folder: Path) -> None:
    assert list(store.candidates(at(12))) == [snapshot(12), snapshot(9)]
    assert names(folder) == ["12.snapshot", "9.snapshot"]


def test_they_are_their_owners_alone(folder: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_none_without_a_folder(store: SnapshotStore) -> None:
    assert list(store.candidates(at(3))) == []


def test_one_ahead_of_the_journal_is_deleted(store: SnapshotStore, folder: Path) -> None:
    assert list(store.candidates(at(11))) == [snapshot(9)]
    assert names(folder) == ["9.snapshot"]
    assert list(store.candidates(None)) == []
    assert names(folder) == []


def test_one_of_another_partition_is_deleted(store: SnapshotStore, folder: Path) -> None:
    assert list(store.candidates(at(99, "q"))) == []
    assert names(folder) == []


def test_a_damaged_one_is_set_aside(store: SnapshotStore, folder: Path) -> None:
    newest = max(folder.iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    assert list(store.candidates(at(12))) == [snapshot(9)]
    assert names(folder) == ["12.bad", "9.snapshot"]


def test_one_of_a_newer_version_is_set_aside(store: SnapshotStore, folder: Path) -> None:
    newest = max(folder.iterdir())
    newest.write_bytes(newest.read_bytes().replace(b"atmwatch-snapshot 1 ", b"atmwatch-snapshot 2 "))
    assert list(store.candidates(at(12))) == [snapshot(9)]


def test_bytes_behind_the_end_are_damage(store: SnapshotStore, folder: Path) -> None:
    newest = max(folder.iterdir())
    newest.write_bytes(newest.read_bytes() + b"x")
    assert list(store.candidates(at(12))) == [snapshot(9)]


@given(data=st.data())
def test_no_damage_passes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    store = SnapshotStore(folder)
    store.save(snapshot(7))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert list(store.candidates(at(7))) == []


def test_only_the_newest_bad_ones_are_kept(store: SnapshotStore, tmp_path: Path) -> None:
    for offset in range(1, 6):
        store.save(snapshot(offset))
        store.set_aside(snapshot(offset))
    assert names(tmp_path / "snapshots") == ["4.bad", "5.bad"]


def test_a_save_that_fails_leaves_the_old_ones(
    store: SnapshotStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        message = "Input/output error"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            store.save(snapshot(20))
    assert list(store.candidates(at(30))) == [snapshot(12), snapshot(9)]
    store.save(snapshot(30))
    assert names(folder) == ["12.snapshot", "30.snapshot"]
