from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import commit_log
from ingest.commit_log import Commit, Header, decode, encode, read_commits, read_header
from ingest.errors import Corrupt
from ingest.records import Position

HEADER = Header(files=("a.jsonl", "b.jsonl"), run="demo")


def commit(n: int, offset: int | None = None, partition: str = "p", lengths: tuple[int, ...] = (3, 4)) -> Commit:
    position = Position(partition=partition, offset=n if offset is None else offset)
    return Commit(n=n, position=position, lengths=lengths, crcs=(0, 0), order="01")


def write(path: Path, *lines: Header | Commit | bytes) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else encode(line) for line in lines))
    return path


def read(path: Path) -> list[int]:
    return [found.n for found, _ in read_commits(path)]


def test_a_line_comes_back_as_it_was() -> None:
    assert decode(encode(HEADER), Header) == HEADER
    assert decode(encode(commit(1)), Commit) == commit(1)
    assert decode(encode(commit(1)), Header) is None


@given(cut=st.integers(0, 500))
def test_no_part_of_a_line_passes_for_the_line(cut: int) -> None:
    line = encode(commit(1))
    assert (decode(line[:cut], Commit) is None) == (cut < len(line))


@given(where=st.integers(0, 100), flip=st.integers(1, 255))
def test_no_changed_byte_passes(where: int, flip: int) -> None:
    line = bytearray(encode(commit(1)))
    line[where] ^= flip
    assert decode(bytes(line), Commit) is None


def test_a_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_log, "MAX_LINE", 100)
    with pytest.raises(ValueError, match="smaller batches"):
        encode(commit(1))


def test_the_header_is_read_with_the_place_behind_it(tmp_path: Path) -> None:
    path = write(tmp_path / "log", HEADER, commit(1))
    assert read_header(path) == (HEADER, len(encode(HEADER)))


@pytest.mark.parametrize("content", [b"", b'{"schema', b"\0" * 50])
def test_a_torn_header_is_no_log(tmp_path: Path, content: bytes) -> None:
    assert read_header(tmp_path / "absent") is None
    assert read_header(write(tmp_path / "log", content)) is None


def test_a_bad_header_before_commits_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "log", b"{}\n", commit(1))
    with pytest.raises(Corrupt, match="log:1:"):
        read_header(path)


@pytest.mark.parametrize("tail", [b"", b"{", b"\n", b"\0\0\n\0\n", encode(commit(3))[:-1], b"x" * (2 << 20)])
def test_a_torn_end_is_left_out(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path / "log", HEADER, commit(1), commit(2), tail)
    assert read(path) == [1, 2]
    assert [behind for _, behind in read_commits(path)][-1] == path.stat().st_size - len(tail)


def test_damage_in_the_middle_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log", HEADER, commit(1), b"?" + encode(commit(2))[1:], commit(3))
    with pytest.raises(Corrupt, match="log:3: the line is damaged"):
        read(path)


@pytest.mark.parametrize(
    "second",
    [
        commit(3),
        commit(1),
        commit(2, offset=1),
        commit(2, partition="q"),
        commit(2, lengths=(2, 4)),
        commit(2, lengths=(3, 4, 5)),
    ],
)
def test_commits_follow_each_other(tmp_path: Path, second: Commit) -> None:
    path = write(tmp_path / "log", HEADER, commit(1), second)
    with pytest.raises(Corrupt, match="log:3: the commit does not follow"):
        read(path)


def test_the_first_commit_is_the_first(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="log:2:"):
        read(write(tmp_path / "log", HEADER, commit(2)))
