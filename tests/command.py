"""The command line under test, in this process or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.cli import main

ROOT = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


def run(*arguments: object, environment: Mapping[str, str] | None = None) -> Outcome:
    """The command in this process: models are loaded, but no interpreter is started."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["atmwatch", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The command as a process, for whoever wants to kill it."""
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def spawn(*arguments: object, environment: Mapping[str, str] | None = None) -> Outcome:
    """The command as a process, to its end."""
    with start(*arguments, environment=environment) as process:
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Outcome(process.returncode, out, err)
