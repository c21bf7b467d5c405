"""What holds the code together as it grows: who may import whom, how long a module is, what an import may do."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("ingest", "embedder", "clustering", "alerts", "deploy")
"""In the order of the data: each may import what stands before it."""
MAX_LINES = 350
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "base", "core", "lib", "tools"}
NEVER = {"tensorflow", "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tests"}
ONLY_IN = {
    "kafka": "ingest.kafka_bus",
    "redis": "alerts.redis_view",
    "faiss": "clustering.index",
    "onnxruntime": "embedder.onnx_runtime",
    "onnx": ("embedder.weights.fold_onnx_zoo", "embedder.training.nets"),
    "torch": "embedder.training.nets",
    "safetensors": "embedder.training.nets.checkpoint",
    "typer": "deploy.cli",
    "rich": "deploy.cli",
    "fastapi": "ingest.gateway",
    "uvicorn": "deploy.gateway",
}
"""The module or package that may import a library; the rest of the code knows it by a protocol."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the five packages, by name."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {name_of(path): ast.parse(path.read_text("utf-8"), str(path)) for path in paths}


def path_of(name: str) -> Path:
    folder = ROOT.joinpath(*name.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def imports_of(name: str) -> Iterator[str]:
    """The modules that ``name`` imports, wherever in its text."""
    for node in ast.walk(sources()[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            yield str(node.module)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


EVERY_MODULE = pytest.mark.parametrize("name", sources())


def test_the_linter_of_imports_agrees() -> None:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@EVERY_MODULE
def test_imports_follow_the_data(name: str) -> None:
    own = PACKAGES.index(name.partition(".")[0])
    for imported in imports_of(name):
        top = imported.partition(".")[0]
        if top in PACKAGES:
            assert PACKAGES.index(top) <= own, f"{name} imports {imported}"
        assert top not in NEVER, f"{name} imports {imported}"
        only = ONLY_IN.get(top, "")
        allowed = (only,) if isinstance(only, str) else only
        assert any(f"{name}.".startswith(f"{place}." if place else "") for place in allowed), (
            f"{name} imports {imported}: only {' and '.join(allowed)} may"
        )


@EVERY_MODULE
def test_a_module_is_short_and_says_what_it_is(name: str) -> None:
    lines = path_of(name).read_text("utf-8").count("\n")
    assert lines <= MAX_LINES, f"{name} has {lines} lines"
    told = ast.get_docstring(sources()[name])
    assert told, f"{name} has no docstring"
    assert told.splitlines()[0].rstrip().endswith((".", "?", ":", ";", ",")) or "\n" in told, name
    assert not VAGUE & set(name.split(".")), f"{name} says nothing of what is in it"


@EVERY_MODULE
def test_no_module_catches_everything_or_runs_a_shell(name: str) -> None:
    for node in ast.walk(sources()[name]):
        if isinstance(node, ast.ExceptHandler):
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"everything"}
            lets_go = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            kept = not lets_go and caught & {"Exception", "BaseException", "everything"}
            assert not kept, f"{name}:{node.lineno} catches everything"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "os.system", "os.popen"}, f"{name}:{node.lineno} calls {called}"
            assert all(k.arg != "shell" for k in node.keywords), f"{name}:{node.lineno} starts a shell"
            assert called != "yaml.load", f"{name}:{node.lineno} loads YAML unsafely"


@EVERY_MODULE
def test_what_is_exported_is_there_and_in_order(name: str) -> None:
    for node in sources()[name].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            exported = ast.literal_eval(node.value)
            order = sorted(exported, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
            assert exported in (sorted(exported), order), f"{name}.__all__ is not sorted"
            assert len(set(exported)) == len(exported)
            module = importlib.import_module(name)
            assert all(hasattr(module, export) for export in exported)


def test_every_package_is_typed() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []


def modules() -> list[str]:
    """Every module that can be imported for its content; ``__main__`` is there to be run.

    Without those that train networks: PyTorch comes with an extra.
    """
    found = [name for package in PACKAGES for name in _walk(package)]
    assert set(found) <= set(sources())
    trainers = needing("torch")
    assert all(name.startswith("embedder.training.nets.") for name in trainers - {"deploy.training"})
    return [name for name in found if name not in trainers]


def needing(library: str) -> set[str]:
    """The modules that can't be imported without ``library``."""
    loaded = {
        name: {
            imported
            for node in tree.body
            for imported in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        for name, tree in sources().items()
    }
    found = {name for name, imports in loaded.items() if any(i.partition(".")[0] == library for i in imports)}
    while more := {name for name, imports in loaded.items() if imports & found} - found:
        found |= more
    return found


def _walk(package: str) -> list[str]:
    walked = pkgutil.walk_packages([str(ROOT / package)], f"{package}.")
    return [package, *(info.name for info in walked if not info.name.endswith("__main__"))]


IMPORTER = """
import importlib, json, os, sys, threading

asked, opened = [], []
plain = type(os.environ).__getitem__

def asking(self, key):
    asked.append(key)
    return plain(self, key)

type(os.environ).__getitem__ = asking
sys.addaudithook(lambda event, args: opened.append(f"{event} {args[0]}") if event in {
    "open", "socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove"} else None)

import onnxruntime
def no_model(*_, **__):
    raise RuntimeError("a model was loaded by an import")
onnxruntime.InferenceSession = no_model

for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([asked, opened, threading.active_count()]))
"""


def test_an_import_loads_no_model_reads_no_setting_and_starts_nothing() -> None:
    command = [sys.executable, "-B", "-c", IMPORTER, *modules()]
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    asked, opened, threads = json.loads(done.stdout)
    assert [key for key in asked if key.startswith("ATMWATCH_")] == []
    own = [entry for entry in opened if str(ROOT) in entry and ".venv" not in entry]
    assert [entry for entry in own if not re.search(r"\.pyc?(\.\d+)?$|__pycache__", entry)] == []
    assert [entry for entry in opened if not entry.startswith(("open ", "subprocess.Popen"))] == []
    assert threads == 1


HEAVY = {"cv2", "faiss", "fastapi", "jinja2", "kafka", "numpy", "onnxruntime", "pydantic", "redis", "structlog"}
"""Libraries that cost a command's start, and that the list of commands has no need of."""


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_command_line_loads_only_what_a_command_needs(argument: str) -> None:
    code = "import sys; from deploy.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = run([sys.executable, "-c", code, argument])
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.split()) & HEAVY == set()


def test_what_crosses_a_process_is_frozen_closed_and_silent_about_its_content() -> None:
    from ingest.records import Record

    with warnings.catch_warnings(action="ignore"):  # what libraries warn of when they are imported is not the point
        for name in modules():
            importlib.import_module(name)

    def below(kind: type[Record]) -> Iterator[type[Record]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    records = [kind for kind in below(Record) if kind.__module__.partition(".")[0] in PACKAGES]
    assert len(records) > 10
    for record in records:
        config = record.model_config
        assert config.get("frozen") is True, record
        assert config.get("extra") == "forbid", record
        assert config.get("hide_input_in_errors") is True, record
        assert "schema_version" in record.model_fields
        for name, found in record.model_fields.items():
            assert found.annotation is not bytes or not found.repr, f"{record.__name__}.{name} shows bytes"


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the repository, without what is made from it."""
    made = {"__pycache__", "demo", "build", "dist", "node_modules"}
    hidden_but_ours = {".ci", ".gitignore", ".dockerignore"}
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in hidden_but_ours
            if hidden or path.name in made or path.name.endswith(".egg-info") or path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            elif b"\0" not in (content := path.read_bytes()):
                yield path.relative_to(ROOT), content.decode("utf-8", "replace")


WORKPLACE = re.compile(
    "|".join(
        (
            r"/(?:root|work|Users)/",
            r"/home/(?!runner\b)",
            r"--(?:extra-)?index-url|--trusted-host|--find-links|/simple/",
            r"[a-z0-9-]+\.(?:corp|internal|lan|intra)\b",
        )
    )
)
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
BARE_IGNORE = re.compile(r"type: ig" + r"nore(?!\[)")
LEFT_OUT = re.compile(r"mark\.(?:sk" + r"ip|xf" + r"ail)|pytest\.(?:sk" + r"ip|xf" + r"ail|importor" + r"skip)\(")


def test_no_text_tells_of_a_workplace() -> None:
    this = Path(__file__).relative_to(ROOT)
    found = [
        f"{path}:{text[: match.start()].count(chr(10)) + 1}: {match.group()}"
        for path, text in texts()
        if path != this
        for match in WORKPLACE.finditer(text)
    ]
    assert found == []


def test_nothing_is_left_unfinished_unchecked_or_untested() -> None:
    for pattern in (UNFINISHED, BARE_IGNORE, LEFT_OUT):
        found = [
            f"{path}: {m.group()}" for path, text in texts() if path.suffix == ".py" for m in pattern.finditer(text)
        ]
        assert found == []


def test_locks_name_versions_and_hashes_and_no_host() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert locks
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "://" not in text, lock.name
        wanted = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?(\S*)", text, re.MULTILINE)
        assert wanted
        assert [name for name, version in wanted if not version.startswith("==")] == [], lock.name
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == [], lock.name


def test_no_two_test_files_share_a_name() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
