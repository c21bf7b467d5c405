"""Which pictures a training run learns from: folders of people, and folders of nobody in particular."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import UsageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class Source:
    """One picture; ``person`` names who it shows (unique over all folders), or is None where nobody said."""

    path: Path
    person: str | None


def list_sources(people: Iterable[Path], nobody: Iterable[Path]) -> list[Source]:
    """The pictures of labelled folders ``people`` (a folder for each person) and of unlabelled ones ``nobody``.

    In the order of their names, whatever the file system says.  A person with a single picture teaches no more than a
    picture of nobody in particular, and is taken as one.

    Raises ``UsageError`` for a folder that is missing or has no picture, and for labelled folders that have fewer than
    two people with two pictures each.
    """
    labelled = [source for root in people for source in _people(root)]
    counts = Counter(source.person for source in labelled)
    labelled = [source if counts[source.person] > 1 else Source(source.path, None) for source in labelled]
    able = sum(count > 1 for count in counts.values())
    if counts and able < 2:
        message = (
            f"{len(counts)} people were found, {able} of them with two pictures or more; learning who is who takes two "
            "such people at least: a labelled folder holds one folder for each person"
        )
        raise UsageError(message)
    sources = labelled + [Source(path, None) for root in nobody for path in _pictures(root)]
    if not sources:
        message = "no folder to learn from was named"
        raise UsageError(message)
    return sources


def _people(root: Path) -> Iterator[Source]:
    for path in _pictures(root):
        person = path.relative_to(root).parts[:-1]
        if not person:
            message = f"{path} is in no person's folder: a labelled folder holds one folder for each person"
            raise UsageError(message)
        yield Source(path, f"{root.resolve()}/{person[0]}")


def _pictures(root: Path) -> list[Path]:
    if not root.is_dir():
        message = f"{root} is no folder"
        raise UsageError(message)
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        message = f"{root} has no picture ({', '.join(sorted(SUFFIXES))})"
        raise UsageError(message)
    return found


def hold_out(sources: Iterable[Source], every: int = 5) -> tuple[list[Source], list[Source]]:
    """The pictures to learn from, and those of every fifth person, by name, who are kept to judge by.

    With fewer than ``every`` people nobody is kept.
    """
    sources = list(sources)
    people = sorted({source.person for source in sources if source.person is not None})
    kept = set(people[every - 1 :: every])
    return (
        [source for source in sources if source.person not in kept],
        [source for source in sources if source.person in kept],
    )
