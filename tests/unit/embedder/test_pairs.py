from __future__ import annotations

from pathlib import Path

import pytest

from embedder import pairs as pairs_module
from embedder.pairs import Pair, image_key, parse_pairs, read_pairs, resolve_pairs
from ingest.errors import UsageError

LFW = "2\t2\nAbel_Pacheco\t1\t4\nAkhmed_Zakayev\t1\t3\nAbdel_Madi_Shabneh\t1\tDean_Barker\t1\nA_B\t2\tC_D\t13\n"


def test_a_file_in_the_format_of_lfw_is_read() -> None:
    assert parse_pairs(LFW) == [
        Pair(2, "Abel_Pacheco", 1, "Abel_Pacheco", 4),
        Pair(3, "Akhmed_Zakayev", 1, "Akhmed_Zakayev", 3),
        Pair(4, "Abdel_Madi_Shabneh", 1, "Dean_Barker", 1),
        Pair(5, "A_B", 2, "C_D", 13),
    ]
    assert [pair.genuine for pair in parse_pairs(LFW)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("ann 1 2", Pair(1, "ann", 1, "ann", 2)),
        ("ann   1\t2", Pair(1, "ann", 1, "ann", 2)),
        ("ann, 1, 2", Pair(1, "ann", 1, "ann", 2)),
        ("ann,1 2", Pair(1, "ann", 1, "ann", 2)),
        ("ann,1,2,", Pair(1, "ann", 1, "ann", 2)),
        ("Ann Lee\t1\t2\r", Pair(1, "Ann Lee", 1, "Ann Lee", 2)),
        ("Lee, Ann\t1\t2", Pair(1, "Lee, Ann", 1, "Lee, Ann", 2)),
        ("Ann Lee,0001,Bob Ray,02", Pair(1, "Ann Lee", 1, "Bob Ray", 2)),
        ("Zoë 1 José 2", Pair(1, "Zoë", 1, "José", 2)),
        ("300 1 2", Pair(1, "300", 1, "300", 2)),
        ("300 1 301 2", Pair(1, "300", 1, "301", 2)),
        ("named 1 2", Pair(1, "named", 1, "named", 2)),
    ],
)
def test_separators_and_names(line: str, pair: Pair) -> None:
    assert parse_pairs(line) == [pair]


@pytest.mark.parametrize("heading", ["10 300", "10\t300", "500", "name,imagenum1,imagenum2,", "name1 i name2 j"])
def test_a_first_line_of_counts_or_column_names_is_passed_over(heading: str) -> None:
    assert parse_pairs(f"\n# drawn with seed 3\n{heading}\n\nann 1 2\n") == [Pair(5, "ann", 1, "ann", 2)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ann 1 2\nbob 1", 2),
        ("ann 1 2\n10 300", 2),
        ("ann 1 2\n\nann one 2", 3),
        ("ann 1 2 3 4 5", 1),
        ("ann -1 2", 1),
        ("ann 1.0 2", 1),
        ("ann \u0661 \u0662", 1),
        ("ann 123456789 2", 1),
        ("ann 1 2\n\t1\t2", 2),
        ("ann 1 2\n" + "a" * 1000 + " 1 2", 2),
        ("ann 1 bob x", 1),
    ],
)
def test_a_line_that_is_no_pair_is_named(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=rf"line {line}: expected name i j"):
        parse_pairs(text)


def test_an_impostor_line_with_one_person_is_refused() -> None:
    with pytest.raises(UsageError, match="line 2: an impostor pair names one person twice"):
        parse_pairs("ann 1 2\nann 1 ann 2")


@pytest.mark.parametrize("text", ["", "10 300\n", "# nothing\n\n"])
def test_a_file_without_pairs_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="holds no pair"):
        parse_pairs(text)


def test_a_file_is_read_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes("\ufeffZoë 1 2\r\nann 1 bob 2\r\n".encode())
    assert read_pairs(path) == [Pair(1, "Zoë", 1, "Zoë", 2), Pair(2, "ann", 1, "bob", 2)]


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file"):
        read_pairs(tmp_path / "none.txt")
    with pytest.raises(UsageError, match="can't be read: Is a directory"):
        read_pairs(tmp_path)
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"ann 1 2\nZo\xeb 1 2\n")
    with pytest.raises(UsageError, match="line 2: is not UTF-8"):
        read_pairs(latin)
    monkeypatch.setattr(pairs_module, "MAX_BYTES", 5)
    with pytest.raises(UsageError, match="larger than"):
        read_pairs(latin)


def test_keys_have_at_least_four_digits() -> None:
    assert image_key("ann", 7) == "ann/ann_0007"
    assert image_key("ann", 12345) == "ann/ann_12345"


def test_pairs_become_rows_and_those_with_a_failed_picture_are_counted() -> None:
    rows = resolve_pairs(
        parse_pairs("ann 1 2\nann 1 bob 1\nann 2 3\nbob 2 ann 1\nbob 1 1"),
        {"ann/ann_0001": 4, "ann/ann_0002": 0, "bob/bob_0001": 9},
        failed={"ann/ann_0003", "bob/bob_0002"},
    )
    assert rows.first.tolist() == [4, 4, 9]
    assert rows.second.tolist() == [0, 9, 9]
    assert rows.genuine.tolist() == [True, False, True]
    assert (rows.left_out, rows.with_itself) == (2, 1)


def test_the_second_picture_is_looked_up_in_the_gallery() -> None:
    rows = resolve_pairs(
        parse_pairs("ann 1 2\nann 2 1"),
        {"ann/ann_0001": 0, "ann/ann_0002": 1},
        {"ann/ann_0002": 7},
        failed={"ann/ann_0001"},
    )
    assert (rows.first.tolist(), rows.second.tolist(), rows.left_out) == ([0], [7], 1)


def test_no_pair_left_gives_empty_rows() -> None:
    rows = resolve_pairs(parse_pairs("ann 1 2"), {}, failed={"ann/ann_0001", "ann/ann_0002"})
    assert rows.first.shape == rows.second.shape == rows.genuine.shape == (0,)
    assert rows.left_out == 1


def test_a_missing_picture_is_named_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"line 3: there is no picture 'bob/bob_0002'"):
        resolve_pairs(parse_pairs("1\nann 1 1\nbob 2 ann 1"), {"ann/ann_0001": 0})


def test_a_message_repeats_no_card_number_and_no_control_character() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_pairs(parse_pairs("4111-1111-1111-1111\x1b[2J 1 2"), {})
    assert "1111" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
