"""Commands whose modules are imported when they are called: `atmwatch --help` need not load models' libraries."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand


class Place(NamedTuple):
    """The module of a command, and what the list of commands says of it: the first sentence of its own help."""

    module: str
    help: str


def add_commands(app: typer.Typer, places: Mapping[str, Place]) -> None:
    """Add the commands of ``places``, by name, to ``app``, in their order.

    A module has either ``register``, which adds commands to a Typer app, or ``app``, a Typer app that is the command.
    """

    class LazyCommand(TyperCommand):
        """Stands for a command until it is called; from then on the command itself has the word."""

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            name = str(self.name)
            return loaded(places[name].module, name).make_context(info_name, args, parent, **extra)

    def nothing() -> None: ...

    for name, place in places.items():
        app.command(name, cls=LazyCommand, help=place.help)(nothing)


def loaded(module: str, name: str) -> Any:
    """The command ``name`` of ``module``, as Typer makes it."""
    found = import_module(module)
    holder = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if hasattr(found, "register"):
        found.register(holder)
    else:
        holder.add_typer(found.app, name=name)
    return typer.main.get_group(holder).commands[name]
