"""The origin of the idea and ours on the same pictures in one run: a script to run by hand, not a test.

    .venv/bin/python tests/bench/peers.py DIR [--people 200] [--environment SCRATCH]

pyfacy finds faces by dlib's HOG, describes them by dlib's network, and clusters by Chinese Whispers.  This installs
dlib (``dlib-bin`` and ``face_recognition_models``, from the package index) into a scratch environment, draws masks onto
the pictures, gives the same files to dlib, to plain SFace and to the default model, and prints one Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clustering.evaluation import bcubed, contingency
from deploy.benchmarks.rows import rate
from deploy.benchmarks.tables import markdown
from deploy.evaluation.acquire import NONE, RANDOM, Acquired, Acquirer, SharedDetector, mask_of
from deploy.evaluation.clustering import evaluate_stream, stream_order
from deploy.evaluation.pictures import Labelled, labelled_pictures
from deploy.settings import Settings, load_settings
from embedder.comparisons import TemplateSet
from embedder.evaluation import Acquisition, verification
from embedder.quality import main_face
from embedder.synthetic_masks import draw_mask
from ingest.claim_check import read_file
from ingest.errors import BadRecord
from ingest.images import decode

PACKAGES = ("dlib-bin==20.0.1.post1", "face_recognition_models==0.3.0", f"numpy=={np.__version__}")
"""dlib hands out its arrays as NumPy's, and does not bring it."""
WORKER = Path(__file__).with_name("dlib_worker.py")
SIDES = ("bare", "masked")
CONDITIONS = (
    ("bare", "bare", "bare"),
    ("masked probe, bare gallery", "masked", "bare"),
    ("both masked", "masked", "masked"),
)
"""What is compared: its name, the probes' side, the gallery's."""
PEER = "dlib: HOG, descriptor, Chinese Whispers"


@dataclass(frozen=True, slots=True)
class Column:
    """One system's figures: found faces, error rates by condition, BCubed F, seconds a picture."""

    found: dict[str, float]
    errors: dict[str, tuple[float, float]]
    bcubed_f: float
    seconds: float


def euclidean_sets(
    first: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
    second: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]],
) -> tuple[TemplateSet, TemplateSet]:
    """Probes and gallery whose cosines rank pairs exactly as the negative Euclidean distance of the vectors does.

    Each side is vectors (n, d), people and images (n,).  From -|x - y|² = 2xy - |x|² - |y|²: the squares go into two
    more dimensions, and two others make all lengths equal.
    """
    (x, *_), (y, *_) = first, second
    squares, other_squares = (x**2).sum(axis=1), (y**2).sum(axis=1)
    probes = np.column_stack([2 * x, -squares, -np.ones(len(x))])
    gallery = np.column_stack([y, np.ones(len(y)), other_squares])
    length = max(float((side**2).sum(axis=1).max(initial=1e-12)) for side in (probes, gallery))
    rest, other_rest = (np.sqrt(np.maximum(0, length - (side**2).sum(axis=1))) for side in (probes, gallery))
    nothing, other_nothing = np.zeros(len(x)), np.zeros(len(y))
    scale = np.sqrt(length)
    return (
        TemplateSet((np.column_stack([probes, rest, nothing]) / scale).astype(np.float32), *first[1:]),
        TemplateSet((np.column_stack([gallery, other_nothing, other_rest]) / scale).astype(np.float32), *second[1:]),
    )


def sample(pictures: Sequence[Labelled], people: int, seed: int) -> list[Labelled]:
    """The pictures of so many ``people``, drawn by the seed among those with two pictures, numbered anew from 0."""
    by_person: dict[str, list[Labelled]] = {}
    for picture in pictures:
        by_person.setdefault(picture.person, []).append(picture)
    names = sorted(name for name, own in by_person.items() if len(own) > 1)
    chosen = sorted(np.random.default_rng(seed).permutation(names)[:people].tolist())
    kept = [picture for name in chosen for picture in by_person[name]]
    return [Labelled(picture.person, picture.path, number) for number, picture in enumerate(kept)]


def dlib_column(result: dict[str, Any], people: NDArray[np.int64]) -> Column:
    """The figures of what the worker wrote; ``people`` (N,) says whom each picture shows."""
    sides = {}
    for side in SIDES:
        descriptors = result[side]["descriptors"]
        rows = np.array([row for row, vector in enumerate(descriptors) if vector is not None], np.int64)
        vectors = np.array([descriptors[row] for row in rows], np.float64).reshape(len(rows), -1)
        sides[side] = vectors, people[rows], rows
    errors = {}
    for name, probe, gallery in CONDITIONS:
        report = verification(*euclidean_sets(sides[probe], sides[gallery]), acquisition=Acquisition(0))
        errors[name] = report.eer, report.frr_at_fmr["1e-3"]
    clusters = result["clusters"]
    usable = [place for place, cluster in enumerate(clusters) if cluster is not None]
    table = contingency(people[usable], np.array([clusters[place] for place in usable], np.int64))
    seconds = sum(result[side]["seconds"] for side in SIDES) / (2 * len(people))
    found = {side: len(sides[side][2]) / len(people) for side in SIDES}
    return Column(found, errors, bcubed(table).f, seconds)


def our_column(acquired: dict[str, Acquired], acquirer: Acquirer, model: str, people: NDArray[np.int64]) -> Column:
    """The figures of one model over the same files; ``seconds`` is measured apart, on one core."""
    sides = {}
    for side, look in acquired.items():
        rows = np.array([picture.number for picture in look.usable], np.int64)
        vectors = np.stack([look.probes[row].vector for row in rows.tolist()])
        sides[side] = TemplateSet(vectors, people[rows], rows)
    errors = {}
    for name, probe, gallery in CONDITIONS:
        report = verification(sides[probe], sides[gallery], acquisition=Acquisition(0))
        errors[name] = report.eer, report.frr_at_fmr["1e-3"]
    mixed = half_masked(acquired)
    card = acquirer.embedders[model].model.card
    order = stream_order(mixed, 1)
    stream = evaluate_stream(mixed, card, acquirer.settings, order, on_progress=_silent, draws=0)
    found = {side: len(look.probes) / len(look.pictures) for side, look in acquired.items()}
    return Column(found, errors, stream.bcubed.f, _seconds_a_picture(acquirer, model, acquired["masked"].pictures))


def half_masked(acquired: dict[str, Acquired]) -> Acquired:
    """Every second picture masked, the others bare."""
    looks = [acquired[side] for side in SIDES]
    pictures = looks[0].pictures
    chosen = [looks[place % 2] for place in range(len(pictures))]
    mixed = Acquired(pictures)
    for picture, look in zip(pictures, chosen, strict=True):
        number = picture.number
        if number in look.probes:
            mixed.probes[number] = look.probes[number]
        else:
            mixed.failures[number] = look.failures[number]
    return mixed


def table(columns: dict[str, Column]) -> str:
    """The columns side by side, in Markdown."""
    lines: list[tuple[str, ...]] = []
    for side in SIDES:
        shown = [f"{100 * column.found[side]:.1f} %" for column in columns.values()]
        lines.append((f"{side} faces with a usable face", *shown))
    for name, _, _ in CONDITIONS:
        lines.append((f"{name}: EER", *(rate(column.errors[name][0]) for column in columns.values())))
        lines.append((f"{name}: FNMR at FMR 1e-3", *(rate(column.errors[name][1]) for column in columns.values())))
    lines.append(("every second picture masked: BCubed F", *(rate(column.bcubed_f) for column in columns.values())))
    lines.append(("one core, a picture", *(f"{1000 * column.seconds:.0f} ms" for column in columns.values())))
    return markdown(("", *columns), lines)


def write_pictures(pictures: Sequence[Labelled], folder: Path, settings: Settings, seed: int) -> dict[str, list[str]]:
    """Every picture bare and masked as PNG files below ``folder``; the paths by side, in order.

    A picture in which no face is found to draw on is the same on both sides.
    """
    detector = SharedDetector(settings.detector)
    paths: dict[str, list[str]] = {side: [] for side in SIDES}
    for picture in pictures:
        image = decode(read_file(picture.path, settings.limits), settings.limits)
        masked, faces, kind = image, detector.detect(image), mask_of(RANDOM, picture, seed)
        if faces and kind is not None:
            face = detector.refined(image, faces[main_face(faces, image.shape)])
            masked = draw_mask(image, face.landmarks, kind, seed + picture.number)
        for side, pixels in zip(SIDES, (image, masked), strict=True):
            path = folder / side / f"{picture.number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
            paths[side].append(str(path))
    return paths


def prepare(environment: Path) -> Path:
    """The Python of a scratch environment with dlib in it."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def compare(folder: Path, people: int, seed: int, python: Path, scratch: Path) -> str:
    """The table for so many people of ``folder``."""
    settings = load_settings(threads=1)
    pictures = sample(labelled_pictures(folder), people, seed)
    names = {name: number for number, name in enumerate(sorted({picture.person for picture in pictures}))}
    who = np.array([names[picture.person] for picture in pictures], np.int64)
    paths = write_pictures(pictures, scratch, settings, seed)
    listing, result = scratch / "pictures.json", scratch / "result.json"
    listing.write_text(json.dumps(paths), "utf-8")
    subprocess.run([python, WORKER, listing, result], check=True)
    columns = {PEER: dlib_column(json.loads(result.read_text("utf-8")), who)}
    acquirer = Acquirer(settings, list(dict.fromkeys(("sface", settings.model))))
    acquired = {}
    for side in SIDES:
        files = [Labelled(p.person, Path(path), p.number) for p, path in zip(pictures, paths[side], strict=True)]
        acquired[side] = acquirer.acquire(files, [NONE], seed, _silent)
    for model in acquirer.embedders:
        ours = {side: looks[model, NONE] for side, looks in acquired.items()}
        columns[f"atmwatch, {model}"] = our_column(ours, acquirer, model, who)
    return table(columns)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, prepare, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder with one sub-folder of pictures per person")
    parser.add_argument("--people", type=int, default=200, help="so many of them, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--environment", type=Path, help="the scratch environment, to keep it for the next run")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="atmwatch-peers-") as name:
        scratch = Path(name)
        python = prepare((given.environment or scratch / "environment").absolute())
        sys.stdout.write(compare(given.folder, given.people, given.seed, python, scratch) + "\n")


def _seconds_a_picture(acquirer: Acquirer, model: str, pictures: Sequence[Labelled], most: int = 100) -> float:
    """Decoding, detection, alignment and embedding of one picture after another."""
    embedder, limits = acquirer.embedders[model], acquirer.settings.limits
    start = perf_counter()
    for picture in pictures[:most]:
        with suppress(BadRecord):
            embedder.embed(decode(read_file(picture.path, limits), limits))
    return (perf_counter() - start) / len(pictures[:most])


def _silent(_: int) -> None:
    """No progress is shown."""


if __name__ == "__main__":
    main()
