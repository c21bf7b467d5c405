"""Reading a rules file: safe YAML, bounded, and errors that name the place.

``rules.yaml: rules[2].when.any[0].window: must be positive (line 14)``
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alerts.conditions import CONDITION, TOGETHER, AllOf, Condition, Misplaced, Part, When
from alerts.rules import Rule, RuleBook
from ingest.errors import UsageError
from ingest.records import mask_card_numbers

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_ERRORS = 10
SHIPPED = "default_rules.yaml"

Place = tuple[str | int, ...]


def load_rules(path: Path | None = None) -> RuleBook:
    """The rules in the file at ``path``, or those that atmwatch ships.

    Raises ``UsageError`` that names file, place and line for each of the first ten faults.
    """
    if path is None:
        return parse_rules(files("alerts").joinpath(SHIPPED).read_bytes(), SHIPPED)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"{path}: can't be read: {error.strerror}"
        raise UsageError(message) from error
    return parse_rules(content, str(path))


def parse_rules(content: bytes, name: str = "rules.yaml") -> RuleBook:
    """The rules in ``content``, UTF-8 YAML; ``name`` is how errors call it.  Raises ``UsageError``."""
    if len(content) > MAX_BYTES:
        message = f"{name}: larger than {MAX_BYTES // 1024} KiB"
        raise UsageError(message)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{name}: is not UTF-8 text (byte {error.start})"
        raise UsageError(message) from error
    try:
        _refuse_tricks(text, name)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        _refuse_repeated_keys(root, name)
        data = loader.construct_document(root) if root is not None else None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise UsageError(f"{name}: {_yaml_fault(error)}") from error  # noqa: EM102
    if not isinstance(data, dict):
        message = f"{name}: must be a mapping with the keys version and rules"
        raise UsageError(message)
    try:
        return RuleBook.model_validate(data)
    except ValidationError as error:
        faults = [_describe(fault, name, root) for fault in error.errors(include_input=False, include_url=False)]
        if len(faults) > MAX_ERRORS:
            faults[MAX_ERRORS:] = [f"{name}: and {len(faults) - MAX_ERRORS} more"]
        raise UsageError("\n".join(faults)) from error


def rules_schema() -> dict[str, Any]:
    """The JSON Schema of a rules file, for editors that check while one types."""
    schema = RuleBook.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "atmwatch rules", **schema}


def _refuse_tricks(text: str, name: str) -> None:
    """Aliases and deep nesting let a small file become a large structure; no rule needs them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message = f"{name}: anchors and aliases are not supported (line {line})"
            raise UsageError(message)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            message = f"{name}: nested too deeply (line {line})"
            raise UsageError(message)


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    """YAML readers keep the last of two equal keys and say nothing, which would hide a threshold."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(child, name)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                message = f"{name}: the key {key.value!r} is there twice (line {key.start_mark.line + 1})"
                raise UsageError(message)
            seen.add(str(key.value))
            _refuse_repeated_keys(value, name)


def _yaml_fault(error: yaml.YAMLError | ValueError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "holds a value that YAML can't read"
    return f"{problem} (line {mark.line + 1})" if mark else str(problem)


def _describe(fault: ErrorDetails, name: str, root: yaml.Node | None) -> str:
    place: Place = tuple(part for part in fault["loc"] if part not in (CONDITION, TOGETHER))
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, Misplaced):
        place += cause.where
    text = str(cause) if cause else _plain(fault)
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    text = f"{where}: {text} (line {_line(root, place)})" if where else text
    return f"{name}: {mask_card_numbers(text)}"


def _plain(fault: ErrorDetails) -> str:
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "extra_forbidden":
        known = sorted(_home(fault["loc"]).model_fields)
        near = get_close_matches(str(fault["loc"][-1]), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key; {hint}"
    return fault["msg"].removeprefix("Input ").replace("valid tuple", "list").replace("Tuple", "the list")


def _home(loc: Place) -> type[Part]:
    """What kind of part the unknown key at the end of ``loc`` stands in."""
    inside = loc[-2] if len(loc) > 1 else None
    if inside == TOGETHER:
        return AllOf
    if inside == "when":
        return When
    if inside is None:
        return RuleBook
    return Rule if len(loc) == len(("rules", 0, "key")) else Condition


def _line(node: yaml.Node | None, place: Place) -> int:
    """The line of the deepest part of ``place`` that the file holds."""
    line = node.start_mark.line if node else 0
    for part in place:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part], node.value[part]
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1
