from __future__ import annotations

from pathlib import Path

import pytest

from deploy.evaluation import labels as labels_module
from deploy.evaluation.labels import LabelTable, numbers_of, read_labels
from deploy.evaluation.pictures import Labelled, check_genuine, labelled_pictures, listed_pictures, matching
from embedder.evaluation.protocols import People
from ingest.errors import UsageError


def table(tmp_path: Path, text: str) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return read_labels(path)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_numbers_do_not_depend_on_the_part_of_the_people(tmp_path: Path) -> None:
    folder = touch(tmp_path, *(f"{name}/{shot}.jpg" for name in "abcde" for shot in (1, 2)))
    everybody = labelled_pictures(folder)
    assert [picture.number for picture in everybody] == list(range(10))
    parts = [*labelled_pictures(folder, People.FIRST_FIFTH), *labelled_pictures(folder, People.REST)]
    assert parts == everybody
    assert {picture.person for picture in parts[:2]} == {"a"}


def test_labels_of_files(tmp_path: Path) -> None:
    found = table(tmp_path, "file,sex,age\nann/1.jpg,F,31\n2.jpg,M,\n")
    assert (found.key, found.attributes) == ("file", ("sex", "age"))
    assert found.of("ann", Path("anywhere/1.jpg")) == {"sex": "F", "age": "31"}
    assert found.of("bob", Path("2.jpg"))["sex"] == "M"
    assert found.of("bob", Path("3.jpg")) == {}
    assert found.groupings == ("sex",)  # one age alone is no grouping


def test_labels_of_people(tmp_path: Path) -> None:
    found = table(tmp_path, "Person,Sex\nann,F\n")
    assert found.of("ann", Path("any.jpg")) == {"sex": "F"}
    assert found.of("bob", Path("any.jpg")) == {}


def test_many_numbers_are_an_age_and_few_are_classes() -> None:
    ages = [str(number) for number in range(21)]
    assert numbers_of(ages) == [float(number) for number in range(21)]
    assert numbers_of(["0", "1"] * 50) is None
    assert numbers_of([f"name {number}" for number in range(30)]) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("name,sex\nann,F\n", "needs a column file or person"),
        ("file\na.jpg\n", "one for each label"),
        ("file,sex\n", "holds no labels"),
        ("file,sex\na.jpg,F\na.jpg,F\n", "line 3: the file is there twice"),
        ("file,sex\n,F\n", "line 2: the file is there without a name"),
        ("file,sex\na.jpg\n", "line 2: The row has 1 cells, the header 2"),
    ],
)
def test_a_table_that_can_not_be_used_says_why(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        table(tmp_path, text)


def test_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "MAX_ROWS", 1)
    with pytest.raises(UsageError, match="more than 1 rows"):
        table(tmp_path, "file,sex\na.jpg,F\nb.jpg,F\n")
    with pytest.raises(UsageError, match="can't be read"):
        read_labels(tmp_path)


def test_pictures_that_a_table_lists(tmp_path: Path) -> None:
    folder = touch(tmp_path, "ann/1.jpg", "ann/2.jpg", "lone.jpg", "unlisted.jpg")
    found, missing = listed_pictures(
        folder, table(tmp_path, "file,sex\nlone.jpg,M\nann/2.jpg,F\nann/1.jpg,F\nno.jpg,M\n")
    )
    assert [(picture.person, picture.path.name, picture.number) for picture in found] == [
        ("ann", "1.jpg", 0),
        ("ann", "2.jpg", 1),
        ("lone.jpg", "lone.jpg", 2),
    ]
    assert missing == 1
    of_people, none = listed_pictures(folder, table(tmp_path, "person,sex\nann,F\n"))
    assert ([picture.person for picture in of_people], none) == (["ann", "ann"], 0)


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg"])
def test_a_table_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="does not lie below the folder"):
        listed_pictures(tmp_path, table(tmp_path, f"file,sex\n{name},F\n"))


def test_none_of_the_listed_pictures_is_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the 1 files"):
        listed_pictures(tmp_path, table(tmp_path, "file,sex\nx.jpg,F\n"))


def test_a_person_needs_two_different_pictures() -> None:
    one, two, other = (Labelled(name, Path(f"{number}.jpg"), number) for number, name in enumerate("aab"))
    check_genuine([one, other], [two])
    with pytest.raises(UsageError, match="none of the 2 people"):
        check_genuine([one, other], [one])
    assert matching([one, two], "1*") == [two]
    with pytest.raises(UsageError, match="matches"):
        matching([one], "x*")
