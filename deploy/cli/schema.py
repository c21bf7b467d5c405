"""``atmwatch schema``: what goes in and comes out, for the programs at the other end."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from alerts.records import Alert
from alerts.rulefile import rules_schema
from clustering.records import Sighting
from deploy.asyncapi import asyncapi
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
    ASYNCAPI = "asyncapi"
    OPENAPI = "openapi"


RECORDS: dict[Subject, type[Record]] = {
    Subject.EVENT: AtmEvent,
    Subject.FACE: FaceEmbedding,
    Subject.SIGHTING: Sighting,
    Subject.ALERT: Alert,
    Subject.REJECTION: Rejection,
    Subject.SUMMARY: Summary,
}


def _openapi() -> dict[str, Any]:
    from ingest.gateway.app import document  # noqa: PLC0415 - 0.5 s that no other command should pay

    return document()


DOCUMENTS: dict[Subject, Callable[[], dict[str, Any]]] = {
    Subject.RULES: rules_schema,
    Subject.ASYNCAPI: asyncapi,
    Subject.OPENAPI: _openapi,
}


def schema_of(subject: Subject) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record as it is written, or of a rules file; AsyncAPI 3.0, OpenAPI 3.1."""
    if subject in DOCUMENTS:
        return DOCUMENTS[subject]()
    schema = RECORDS[subject].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("schema")(command)


def command(
    subject: Annotated[Subject, typer.Argument(help="The record, the rules file, the topics or the gateway.")],
) -> None:
    """Print the JSON Schema of a record or of rules files; of the topics the AsyncAPI, of the gateway the OpenAPI.

    For programs that send events or read the journals.
    """
    print_json(json.dumps(schema_of(subject), indent=2))
