"""Which environment variables that begin with ``ATMWATCH_`` mean something: a misspelt one must not be overlooked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from pydantic import BaseModel

from ingest.errors import UsageError

PREFIX, BETWEEN = "ATMWATCH_", "__"
OTHERS = frozenset({"ATMWATCH_VERSION", "ATMWATCH_TOOLS", "ATMWATCH_REDIS_SERVER"})
"""Variables that are for others: the compose file, deploy/validate and the tests."""
OTHERS_BEGIN = ("ATMWATCH_TEST_", "ATMWATCH_CHAOS_")
LIKENESS = 0.75
"""How much of a name must be the same (``difflib``), without the prefix, for the nearest to be told."""


def check_environment(given: Iterable[str], settings: type[BaseModel]) -> None:
    """Raise ``UsageError`` when variables of these names look like settings and are none, with the nearest name."""
    known = frozenset(variables(settings, PREFIX))
    wrong = [
        name
        for name in sorted(name.upper() for name in given)
        if name.startswith(PREFIX) and name not in known | OTHERS and not name.startswith(OTHERS_BEGIN)
    ]
    if wrong:
        message = f"environment: {'; '.join(_told(name, known) for name in wrong)}"
        raise UsageError(message)


def variables(settings: type[BaseModel], prefix: str) -> Iterator[str]:
    """The name of each setting's variable, in upper case; a group has one too, which takes JSON."""
    for name, field in settings.model_fields.items():
        own = prefix + name.upper()
        yield own
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, own + BETWEEN)


def _told(name: str, known: Iterable[str]) -> str:
    words = [one.removeprefix(PREFIX) for one in known]
    near = get_close_matches(name.removeprefix(PREFIX), words, n=1, cutoff=LIKENESS)
    return f"{name} is not a setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")
