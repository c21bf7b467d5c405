"""Which pictures a training run learns from."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedder.training.sources import Source, hold_out, list_sources
from ingest.errors import UsageError


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def test_people_come_first_each_under_a_name_of_their_own(tmp_path: Path) -> None:
    first = pictures(tmp_path / "one", "anna/2.jpg", "anna/1.png", "ben/deep/1.jpg", "ben/2.JPG", "notes.txt")
    second = pictures(tmp_path / "two", "anna/1.jpg", "anna/2.jpg")
    nobody = pictures(tmp_path / "street", "b.jpg", "a/c.webp", "thumbs.db")
    sources = list_sources([first, second], [nobody])
    assert [source.path.relative_to(tmp_path).as_posix() for source in sources] == [
        "one/anna/1.png",
        "one/anna/2.jpg",
        "one/ben/2.JPG",
        "one/ben/deep/1.jpg",
        "two/anna/1.jpg",
        "two/anna/2.jpg",
        "street/a/c.webp",
        "street/b.jpg",
    ]
    assert len({source.person for source in sources[:6]}) == 3
    assert {source.person for source in sources[6:]} == {None}


def test_a_person_of_one_picture_is_nobody_in_particular(tmp_path: Path) -> None:
    root = pictures(tmp_path, "anna/1.jpg", "anna/2.jpg", "ben/1.jpg", "ben/2.jpg", "cleo/1.jpg")
    assert list_sources([root], [])[-1] == Source(root / "cleo/1.jpg", None)


def test_pictures_of_nobody_suffice(tmp_path: Path) -> None:
    assert [source.person for source in list_sources([], [pictures(tmp_path, "a.jpg")])] == [None]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["anna/1.jpg", "anna/2.jpg"], "1 people were found, 1 of them with two pictures"),
        (["anna/1.jpg", "anna/2.jpg", "ben/1.jpg"], "2 people were found, 1 of them"),
        (["anna/1.jpg", "ben/1.jpg"], "2 people were found, 0 of them"),
        (["1.jpg", "anna/1.jpg"], "is in no person's folder"),
        (["readme.md"], "has no picture"),
    ],
)
def test_a_labelled_folder_must_teach_who_is_who(tmp_path: Path, names: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        list_sources([pictures(tmp_path, *names)], [])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone is no folder"):
        list_sources([], [tmp_path / "gone"])
    with pytest.raises(UsageError, match="no folder to learn from"):
        list_sources([], [])


def test_every_fifth_person_is_kept_to_judge_by(tmp_path: Path) -> None:
    names = [f"{person}/{number}.jpg" for person in "abcdefghijk" for number in (1, 2)]
    sources = list_sources([pictures(tmp_path / "people", *names)], [pictures(tmp_path / "street", "x.jpg")])
    learnt, kept = hold_out(sources)
    assert {source.path.parent.name for source in kept} == {"e", "j"}
    assert len(learnt) == len(sources) - 4
    assert hold_out(sources[:8]) == (sources[:8], [])
