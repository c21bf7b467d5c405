"""Tables, well-formed and not: a broken record costs itself alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import UsageError
from ingest.table import MAX_LINE, BadRow, Row, csv_columns, csv_rows, jsonl_rows


def rows(path: Path, content: str | bytes) -> list[tuple[int, dict[str, str] | str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    read = csv_rows(path) if path.suffix == ".csv" else jsonl_rows(path)
    return [(row.line, row.error.detail if isinstance(row, BadRow) else row.fields) for row in read]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_plain_rows(table: Path, ending: str, mark: str) -> None:
    content = mark + ending.join([" A ,b", "1,  2 ", "", ',"x,""y"""', "3,4"])
    assert rows(table, content) == [(2, {"a": "1", "b": "2"}), (4, {"a": "", "b": 'x,"y"'}), (5, {"a": "3", "b": "4"})]


def test_cells_of_several_lines_count_their_lines(table: Path) -> None:
    assert rows(table, 'a,b\n"one\ntwo\n",2\n3,4\n') == [(2, {"a": "one\ntwo", "b": "2"}), (5, {"a": "3", "b": "4"})]


def test_broken_rows_cost_themselves_alone(table: Path) -> None:
    content = 'a,b\n1\n1,2,3\n"open,2\n5" screen,6\n"x"y,2\n7,8\n'
    found = rows(table, content)
    assert found == [
        (2, "The row has 1 cells, the header 2."),
        (3, "The row has 3 cells, the header 2."),
        (4, "The row's quotes do not match."),
        (5, {"a": '5" screen', "b": "6"}),
        (6, "The row's quotes do not match."),
        (7, {"a": "7", "b": "8"}),
    ]


def test_a_quote_s_reach_is_bounded(table: Path) -> None:
    found = rows(table, 'a,b\n"open,2\n' + "1,2\n" * 100)
    assert len(found) == 101
    assert found[0] == (2, "The row's quotes do not match.")
    assert found[-1] == (102, {"a": "1", "b": "2"})
    found = rows(table, 'a,b\n"open,2\n' + f"1,{'x' * 40_000}\n" * 3)
    assert [line for line, _ in found] == [2, 3, 4, 5]


def test_lines_are_bounded_and_must_be_utf8(table: Path) -> None:
    content = b"a,b\n1,2\n" + b"x" * 3 * MAX_LINE + b"\nz\xfcrich,2\n3,4\n" + b'"q\n\xff,1\n5,6'
    assert rows(table, content) == [
        (2, {"a": "1", "b": "2"}),
        (3, f"The line is longer than {MAX_LINE:,} bytes."),
        (4, "The line is not UTF-8."),
        (5, {"a": "3", "b": "4"}),
        (6, "The row's quotes do not match."),
        (7, "The line is not UTF-8."),
        (8, {"a": "5", "b": "6"}),
    ]


@pytest.mark.parametrize("content", ["", "\n\n", '"a,b\n', "a,A\n", b"\xff\xfea\0,\0b\0", b"x" * 2 * MAX_LINE])
def test_headers_that_can_not_be_read(table: Path, content: str | bytes) -> None:
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=r"a\.csv"):
        csv_columns(table)


def test_objects(tmp_path: Path) -> None:
    content = '{"A": "x ", "b": 1.50, "c": null}\n\n{"a": 4000000000000000000000}\n'
    assert rows(tmp_path / "a.jsonl", content) == [
        (1, {"a": "x", "b": "1.50", "c": ""}),
        (3, {"a": "4000000000000000000000"}),
    ]


@pytest.mark.parametrize(
    "line", ["{", "[1]", "1", '{"a": [1]}', '{"a": {}}', '{"a": true}', '{"a": NaN}', "[" * 60_000, '{"a": "\\ud8"}']
)
def test_lines_that_are_no_flat_objects(tmp_path: Path, line: str) -> None:
    found = rows(tmp_path / "a.jsonl", '{"a": 1}\n' + line + '\n{"a": 2}\n')
    assert [number for number, _ in found] == [1, 2, 3]
    assert isinstance(found[1][1], str)
    assert found[2][1] == {"a": "2"}


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(cells, cells), max_size=8))
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *wanted])
    found = rows(path, buffer.getvalue())
    assert [row for _, row in found] == [{"a": a.strip(), "b": b.strip()} for a, b in wanted]


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_bad_rows(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name in ("fuzz.csv", "fuzz.jsonl"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(b"a,b\n" + content)
        for row in csv_rows(path) if name.endswith("csv") else jsonl_rows(path):
            assert isinstance(row, Row | BadRow)
            assert row.line >= 1
