"""Which pictures are evaluated, and whom they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from deploy.evaluation.labels import LabelTable
from embedder.evaluation.protocols import People, choose_people
from ingest.claim_check import printable
from ingest.errors import UsageError
from ingest.scan import PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture of a known person.  ``number`` is its place among all, in the order of their paths."""

    person: str
    path: Path
    number: int


def labelled_pictures(folder: Path, people: People = People.ALL) -> list[Labelled]:
    """Every picture of ``folder/person/``, of the ``people`` asked for; numbered as with all of them.

    Raises ``UsageError`` when there is none.
    """
    if not folder.is_dir():
        message = f"{printable(folder)} is not a folder"
        raise UsageError(message)
    found = [
        (person.name, path)
        for person in sorted(folder.iterdir())
        if person.is_dir()
        for path in sorted(person.iterdir())
        if path.suffix.lower() in PICTURE_SUFFIXES
    ]
    if not found:
        message = f"{printable(folder)} holds no pictures in a sub-folder per person, such as DIR/name/name_0001.jpg"
        raise UsageError(message)
    chosen = choose_people((person for person, _ in found), people)
    if not chosen:
        message = (
            f"--people {people}: the folder has {len({person for person, _ in found})} people, too few for a fifth"
        )
        raise UsageError(message)
    return [Labelled(person, path, number) for number, (person, path) in enumerate(found) if person in chosen]


def matching(pictures: Sequence[Labelled], pattern: str | None) -> list[Labelled]:
    """The pictures whose file name matches a shell ``pattern``; all without one.  ``UsageError`` when none does."""
    chosen = [picture for picture in pictures if pattern is None or fnmatchcase(picture.path.name, pattern)]
    if not chosen:
        message = f"no picture's file name matches {pattern!r}"
        raise UsageError(message)
    return chosen


def check_genuine(probe: Sequence[Labelled], gallery: Sequence[Labelled]) -> None:
    """Raise ``UsageError`` when no person has two different pictures to compare, before any time is spent on them."""
    numbers: dict[str, set[int]] = {}
    for picture in gallery:
        numbers.setdefault(picture.person, set()).add(picture.number)
    if not any(numbers.get(picture.person, set()) - {picture.number} for picture in probe):
        people = len({picture.person for picture in (*probe, *gallery)})
        message = (
            f"there is no genuine pair: none of the {people} people has two different pictures to compare; "
            "DIR needs a sub-folder per person with at least two pictures in some of them"
        )
        raise UsageError(message)


def listed_pictures(folder: Path, table: LabelTable) -> tuple[list[Labelled], int]:
    """The pictures of ``folder`` that a table of files labels, and how many of its files are not there.

    A picture in a sub-folder shows the person that the sub-folder is named after; one beside them is a person of its
    own.  With a table of people, the pictures of ``folder/person/``.  Raises ``UsageError`` when there is none, or a
    file's name leads out of the folder.
    """
    if table.key == "person":
        return [picture for picture in labelled_pictures(folder) if picture.person in table.rows], 0
    found: list[Labelled] = []
    missing = 0
    for name in sorted(table.rows):
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            message = f"{table.name}: the file {name!r} does not lie below the folder"
            raise UsageError(message)
        path = folder / relative
        if path.is_file():
            person = relative.parts[0] if len(relative.parts) > 1 else name
            found.append(Labelled(person, path, len(found)))
        else:
            missing += 1
    if not found:
        message = f"none of the {missing} files of {table.name} is in {printable(folder)}"
        raise UsageError(message)
    return found, missing
