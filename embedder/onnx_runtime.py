"""One way to open an ONNX model: fixed shapes, bounded threads, checked bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from ingest.errors import Corrupt, UsageError

_REFUSALS = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)
"""What the runtime raises over content that is no model, or one that it does not know how to run."""


def open_session(path: Path, sha256: str, dimensions: Mapping[str, int], threads: int = 1) -> ort.InferenceSession:
    """An ONNX Runtime session over a file whose sha256 is as its card says.

    ``dimensions`` fixes the symbolic sizes, so that the runtime plans its memory once: with varying shapes it
    grows without bound.  One thread by default: pictures, not operators, are what runs in parallel.  A session
    may be run from several threads at once.

    Raises ``UsageError`` when the file is missing and ``Corrupt`` when it is not the one the card describes, or not a
    model that the runtime can run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"model file {path} can't be read: {error.strerror}"
        raise UsageError(message) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"model file {path} has sha256 {found}, but its card says {sha256}: restore the file or its card"
        raise Corrupt(message)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    for name, size in dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as error:
        message = f"model file {path} can't be run: {error}"
        raise Corrupt(message) from error
