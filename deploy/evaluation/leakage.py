"""What acquired pictures' templates give away of their labels, bare and masked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from deploy.evaluation.acquire import Acquired
from deploy.evaluation.labels import LabelTable, numbers_of
from deploy.evaluation.pictures import Labelled
from embedder.evaluation.leakage import (
    ClassLeakage,
    LeakageOptions,
    NumberLeakage,
    class_leakage,
    number_leakage,
)
from embedder.records import Unit
from ingest.errors import UsageError

PUBLISHED = {"sex": 0.94, "race": 0.82, "age": 6.2}
"""What DICTA 2021's benchmark of masked faces reads from its templates of masked pictures: shares, and years."""

MIN_CLASS = 10
"""Pictures of a label's value; rarer values are left out, since no reader can learn them."""


class LeakageReport(BaseModel):
    """What ``evaluate leakage`` prints.

    ``leakage`` is by mask, then by label; ``failure_to_acquire`` by mask.  ``missing`` files of the label table were
    not in the folder.  ``published`` are figures of others for masked pictures (sex and race: shares; age: mean
    absolute error in years), on other pictures and other templates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    images: int
    people: int
    missing: int
    failure_to_acquire: dict[str, Unit]
    leakage: dict[str, dict[str, ClassLeakage | NumberLeakage]]
    published: dict[str, float] = PUBLISHED


def evaluate_leakage(
    model: str, looks: dict[str, Acquired], table: LabelTable, missing: int, options: LeakageOptions
) -> LeakageReport:
    """Read every label of ``table`` from the templates of ``looks``, by mask.

    Raises ``UsageError`` when no picture is usable, no label can be read, or there are too few people.
    """
    pictures = next(iter(looks.values())).pictures
    found = {mask: _readings(look, table, options) for mask, look in looks.items()}
    if not any(found.values()):
        message = f"{table.name}: no label has two values of at least {MIN_CLASS} usable pictures each"
        raise UsageError(message)
    return LeakageReport(
        model=model,
        images=len(pictures),
        people=len({picture.person for picture in pictures}),
        missing=missing,
        failure_to_acquire={mask: len(look.failures) / len(pictures) for mask, look in looks.items()},
        leakage=found,
    )


def _readings(look: Acquired, table: LabelTable, options: LeakageOptions) -> dict[str, ClassLeakage | NumberLeakage]:
    found: dict[str, ClassLeakage | NumberLeakage] = {}
    for attribute in table.attributes:
        labels = {picture.number: table.of(picture.person, picture.path).get(attribute, "") for picture in look.usable}
        pictures = [picture for picture in look.usable if labels[picture.number]]
        values = [labels[picture.number] for picture in pictures]
        numbers = numbers_of(values)
        if numbers is not None:
            templates, people = _arrays(look, pictures)
            found[attribute] = number_leakage(templates, np.array(numbers), people, options)
            continue
        counts = {value: values.count(value) for value in set(values)}
        pictures = [picture for picture in pictures if counts[labels[picture.number]] >= MIN_CLASS]
        names = np.array([labels[picture.number] for picture in pictures], np.str_)
        if 1 < len(set(names.tolist())) <= len(names) // MIN_CLASS:
            templates, people = _arrays(look, pictures)
            found[attribute] = class_leakage(templates, names, people, options)
    return found


def _arrays(look: Acquired, pictures: Sequence[Labelled]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    names = {name: number for number, name in enumerate(sorted({picture.person for picture in pictures}))}
    templates = np.stack([look.probes[picture.number].vector for picture in pictures])
    return templates, np.array([names[picture.person] for picture in pictures], np.int64)
