"""``atmwatch schema``: JSON Schema of what goes in and comes out."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from alerts.records import Alert
from alerts.rulefile import rules_schema
from clustering.records import Sighting
from deploy.cli.console import print_json
from deploy.summary import Summary
from embedder.records import FaceEmbedding
from ingest.records import AtmEvent, Record, Rejection


class Subject(StrEnum):
    """What has a schema."""

    EVENT = "event"
    FACE = "face"
    SIGHTING = "sighting"
    ALERT = "alert"
    REJECTION = "rejection"
    SUMMARY = "summary"
    RULES = "rules"


RECORDS: dict[Subject, type[Record]] = {
    Subject.EVENT: AtmEvent,
    Subject.FACE: FaceEmbedding,
    Subject.SIGHTING: Sighting,
    Subject.ALERT: Alert,
    Subject.REJECTION: Rejection,
    Subject.SUMMARY: Summary,
}


def schema_of(subject: Subject) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record as it is written, or of a rules file."""
    if subject is Subject.RULES:
        return rules_schema()
    schema = RECORDS[subject].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("schema")(command)


def command(subject: Annotated[Subject, typer.Argument(help="The record, or the rules file.")]) -> None:
    """Print the JSON Schema of a record, for programs that send events or read the journals."""
    print_json(json.dumps(schema_of(subject), indent=2))
