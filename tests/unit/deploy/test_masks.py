"""``atmwatch masks``: data sets keep their shape, what can't be masked is told, and runs go on where they ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest
from command import run
from portraits import ALICE, BOB, CAROL, encoded, nobody, portrait, put

from deploy.masks.apply import MaskReport, Progress, apply_masks
from deploy.masks.plan import KINDS, OCCLUSIONS, MaskOptions, drawing_of
from deploy.settings import load_settings
from embedder.synthetic_masks import MaskKind, OcclusionKind
from ingest.errors import AtmwatchError, UsageError

SMALL = 200
TREE = ("alice/a 1.jpg", "alice/a_2.png", "bob/deep/b.bmp", "carol/c.JPG")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, and what is no face: a picture of nobody, a broken one, text, a hidden file."""
    folder = tmp_path_factory.mktemp("masks") / "faces"
    put(folder / TREE[0], portrait(ALICE, SMALL))
    put(folder / TREE[1], encoded(portrait(ALICE, SMALL), "PNG"))
    put(folder / TREE[2], encoded(portrait(BOB, SMALL), "BMP"))
    put(folder / TREE[3], portrait(CAROL, SMALL))
    put(folder / "bob" / "nobody.jpg", nobody(120))
    put(folder / "broken.jpg", encoded(portrait(ALICE, SMALL))[:900])
    put(folder / "notes.txt", b"no picture")
    put(folder / ".hidden.jpg", portrait(ALICE, SMALL))
    return folder


@pytest.fixture(scope="module")
def masked(faces: Path) -> Iterator[tuple[Path, MaskReport]]:
    """The faces with a mask each, and what the run told."""
    out = faces.parent / "masked"
    outcome = run("masks", "apply", faces, out, "--kind", "black", "--threads", 2, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    yield out, MaskReport.model_validate_json(outcome.out)
    shutil.rmtree(out)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def applied(source: Path, out: Path, **options: Any) -> MaskReport:
    given = {name: options.pop(name) for name in ("overwrite", "on_progress", "stop") if name in options}
    return apply_masks(source, out, MaskOptions(**options), load_settings(threads=1), **given)


def test_people_keep_their_folders_and_names(faces: Path, masked: tuple[Path, MaskReport]) -> None:
    out, report = masked
    assert {path for path in files(out) if "/" in path} == {*TREE[:2], "bob/deep/b.bmp.png", TREE[3]}
    assert (report.pictures, report.drawn, report.copied, report.kept, report.rejected) == (6, 4, 0, 0, 2)
    assert report.finished
    assert report.images_per_second > 0
    for name in TREE:
        before = pixels(faces / name)
        after = pixels(out / (name if name in files(out) else f"{name}.png"))
        assert after.shape == before.shape
        assert (np.abs(after.astype(int) - before).max(axis=2) > 40).mean() > 0.01


def test_what_has_no_face_or_cant_be_read_is_refused_and_told(masked: tuple[Path, MaskReport]) -> None:
    out, report = masked
    assert report.rejected_by_reason == {"no_face": 1, "truncated_image": 1}
    rejected = lines(out / "rejected.jsonl")
    assert {(line["source"], line["reason"], line["stage"]) for line in rejected} == {
        ("bob/nobody.jpg", "no_face", "masks"),
        ("broken.jpg", "truncated_image", "masks"),
    }
    assert not (out / "bob" / "nobody.jpg").exists()
    assert [line.source for line in report.rejections] == [line["source"] for line in rejected]


def test_it_tells_what_is_drawn_on_what(masked: tuple[Path, MaskReport]) -> None:
    drawn = lines(masked[0] / "drawn.jsonl")
    assert [line["path"] for line in drawn] == [TREE[0], TREE[1], "bob/deep/b.bmp.png", TREE[3]]
    assert {(line["mask"], line["occlusion"]) for line in drawn} == {("black", None)}
    assert len({line["seed"] for line in drawn}) == 4


def test_a_second_run_keeps_what_is_there_and_tells_the_same(faces: Path, masked: tuple[Path, MaskReport]) -> None:
    out, first = masked
    before = files(out)
    (out / TREE[1]).unlink()
    outcome = run("masks", "apply", faces, out, "--kind", "black", "--threads", 1)
    assert outcome.code == 0
    assert "6 pictures: 1 drawn on, 0 copied, 3 kept from before, 2 refused." in outcome.out
    assert "1 no_face: No face was found." in outcome.out
    assert "refused: bob/nobody.jpg: No face was found, so there is nothing to draw on." in outcome.err
    assert files(out) == before
    assert first.options == MaskOptions(kind="black")


def test_other_options_need_another_folder_or_overwrite(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    applied(faces, out, kind="n95")
    with pytest.raises(UsageError, match="other options"):
        applied(faces, out, kind="n95", seed=2)
    before = files(out)
    report = applied(faces, out, kind="n95", seed=2, overwrite=True)
    assert (report.drawn, report.kept) == (4, 0)
    assert all(before[name] != after for name, after in files(out).items() if name in TREE)


def test_a_stopped_run_goes_on_to_the_same_result(
    faces: Path, masked: tuple[Path, MaskReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.masks.apply.BATCH", 2)
    stop, seen = Event(), list[Progress]()

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.fresh == 1:
            stop.set()

    first = applied(faces, tmp_path, kind="black", on_progress=watch, stop=stop)
    assert (first.finished, first.drawn, first.rejected) == (False, 1, 1)
    assert [progress.done for progress in seen] == [0, 1, 2]
    assert lines(tmp_path / "drawn.jsonl") == lines(masked[0] / "drawn.jsonl")[:1]
    second = applied(faces, tmp_path, kind="black", on_progress=seen.append)
    assert (second.finished, second.kept, second.drawn, second.rejected) == (True, 1, 3, 2)
    assert seen[-1] == Progress(6, 6, 5, 2)
    assert files(tmp_path) == files(masked[0])


def test_every_second_one_is_copied_byte_for_byte(faces: Path, tmp_path: Path) -> None:
    report = applied(faces, tmp_path, kind="half")
    drawn = {line["path"]: line["mask"] for line in lines(tmp_path / "drawn.jsonl")}
    assert (report.drawn, report.copied) == (2, 2)
    copied = [name for name, mask in drawn.items() if mask is None]
    assert len(copied) == 2
    assert all((tmp_path / name).read_bytes() == (faces / name).read_bytes() for name in copied)


def test_one_picture_goes_into_a_file_or_a_folder(faces: Path, tmp_path: Path) -> None:
    single = faces / TREE[0]
    for target, made in (("x/y.png", "x/y.png"), ("z", "z/a 1.jpg")):
        outcome = run("masks", "apply", single, tmp_path / target, "--kind", "none", "--occlusion", "sunglasses")
        assert outcome.code == 0
        assert pixels(tmp_path / made).shape == pixels(single).shape
    assert (tmp_path / "x" / "y.png").read_bytes().startswith(b"\x89PNG")
    again = run("masks", "apply", single, tmp_path / "x" / "y.png")
    assert again.code == 2
    assert "exists: --overwrite replaces it" in again.err
    assert run("masks", "apply", single, tmp_path / "x" / "y.png", "--overwrite").code == 0


@pytest.mark.parametrize("name", ["bob/nobody.jpg", "broken.jpg"])
def test_one_picture_without_a_face_fails(faces: Path, tmp_path: Path, name: str) -> None:
    outcome = run("masks", "apply", faces / name, tmp_path / "out.jpg")
    assert outcome.code == 1
    assert "refused: " in outcome.err
    assert not (tmp_path / "out.jpg").exists()


def test_a_face_of_a_few_pixels_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in" / "a.jpg", portrait(ALICE, SMALL))
    monkeypatch.setattr("deploy.masks.apply.SMALLEST_EYE_DISTANCE", 500.0)
    assert applied(tmp_path / "in", tmp_path / "out").rejected_by_reason == {"face_too_small": 1}


def test_what_cant_be_is_told_before_anything_is_written(faces: Path, tmp_path: Path) -> None:
    empty, full, foreign = tmp_path / "empty", tmp_path / "full", tmp_path / "foreign"
    empty.mkdir()
    put(full / "mine.txt", b"mine")
    put(foreign / "masks.json", b"{}[")
    out = tmp_path / "out"
    cases: list[tuple[Path, Path, tuple[str, ...], str]] = [
        (faces, out, ("--kind", "beard"), "mask 'beard' is not one of none, surgical_blue"),
        (faces, out, ("--occlusion", "veil"), "occlusion 'veil' is not one of none, sunglasses"),
        (faces, out, ("--kind", "none"), "there is nothing to draw"),
        (tmp_path / "absent", out, (), "is neither a picture nor a folder"),
        (empty, out, (), "holds no pictures"),
        (faces, faces, (), "is the input: choose another folder"),
        (faces, full, (), "holds other files"),
        (faces, foreign, (), "is not of this program"),
        (faces, full / "mine.txt" / "out", (), "can't be used"),
        (faces / TREE[0], faces / TREE[0], (), "is the input: choose another name"),
        (faces / TREE[0], tmp_path / "x.webp", (), "name it .jpg or .png"),
    ]
    before = files(tmp_path)
    for source, target, more, text in cases:
        outcome = run("masks", "apply", source, target, *more)
        assert outcome.code == 2, text
        assert text in outcome.err.replace("\n", " ")
    assert files(tmp_path) == before
    assert not out.exists()


def test_an_output_below_the_input_is_no_input(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", portrait(ALICE, SMALL))
    for _ in range(2):
        report = applied(tmp_path, tmp_path / "out")
        assert report.pictures == 1
    assert report.kept == 1


def test_two_pictures_that_would_have_one_name_have_two(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.bmp", encoded(portrait(ALICE, SMALL), "BMP"))
    put(tmp_path / "in" / "a.bmp.png", encoded(portrait(BOB, SMALL), "PNG"))
    assert applied(tmp_path / "in", tmp_path / "out").drawn == 2
    assert {"a.bmp.png", "a.bmp.png.png"} <= set(files(tmp_path / "out"))


def test_too_many_pictures_are_refused(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.masks.plan.MOST", 3)
    with pytest.raises(UsageError, match="more than 3 pictures"):
        applied(faces, tmp_path / "out")


def test_a_folder_that_cant_be_opened_is_told(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(folder: Path, onerror: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        onerror(PermissionError(13, "Permission denied", str(folder / "locked")))
        yield str(folder), [], ["broken.jpg"]

    monkeypatch.setattr("os.walk", walk)
    report = applied(faces, tmp_path)
    assert report.rejected_by_reason == {"unreadable": 1, "truncated_image": 1}
    assert report.rejections[0].source == "locked"


@pytest.mark.parametrize("full_at", [".jpg", ".jsonl"])
def test_a_full_disk_ends_the_run(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.suffix == full_at:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("deploy.masks.apply.write_atomically", write)
    with pytest.raises(AtmwatchError, match="can't be written: No space left on device"):
        applied(faces, tmp_path)


def test_what_a_picture_gets_follows_from_seed_and_path() -> None:
    paths = [f"p{number % 20}/{number}.jpg" for number in range(400)]
    every = MaskOptions(occlusion="random", occluded=0.25)
    drawings = [drawing_of(path, 0, every) for path in paths]
    assert drawings == [drawing_of(path, 7, every) for path in paths]
    assert {drawing.mask for drawing in drawings} == set(MaskKind)
    occluded = [drawing.occlusion for drawing in drawings if drawing.occlusion]
    assert set(occluded) == set(OcclusionKind)
    assert 60 < len(occluded) < 145
    assert drawings != [drawing_of(path, 0, every.model_copy(update={"seed": 2})) for path in paths]
    alike = {(path.split("/")[0], drawing_of(path, 0, MaskOptions(per_person=True))) for path in paths}
    assert len(alike) == 20
    assert len({drawing for _, drawing in alike}) == 20
    assert [drawing_of("a/b.jpg", number, MaskOptions(kind="half")).mask is None for number in range(4)] == [
        True,
        False,
        True,
        False,
    ]
    assert drawing_of("a", 0, MaskOptions(kind="cloth", occlusion="hand"))[:2] == (MaskKind.CLOTH, OcclusionKind.HAND)


def test_the_list_tells_every_kind() -> None:
    told = json.loads(run("masks", "list", "--json").out)
    assert told == {"masks": list(KINDS[1:-2]), "occlusions": list(OCCLUSIONS[1:-1])}
    shown = run("masks", "list").out
    assert all(kind in shown for kind in (*MaskKind, *OcclusionKind))


def test_a_sheet_shows_all_kinds_on_one_face(faces: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert run("masks", "sheet", faces / TREE[0], sheet, "--rows", 2).code == 0
    shown = pixels(sheet)
    tiles = 1 + 2 * (len(MaskKind) + len(OcclusionKind))
    assert shown.shape == (-(-tiles // 6) * 262, 6 * 240, 3)
    told = json.loads(run("masks", "sheet", faces / TREE[0], tmp_path / "other.png", "--json").out)
    assert told == {"out": str(tmp_path / "other.png")}
    for source, target, text in (
        (faces / "bob" / "nobody.jpg", sheet, "No face was found"),
        (faces / TREE[0], sheet / "x.png", "can't be written"),
    ):
        outcome = run("masks", "sheet", source, target)
        assert outcome.code == 2
        assert text in outcome.err


def test_a_run_that_is_told_to_stop_says_how_to_go_on(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Event()
    stopped.set()
    monkeypatch.setattr("deploy.masks.apply.Event", lambda: stopped)
    real = apply_masks
    monkeypatch.setattr(
        "deploy.cli.masks.apply_masks", lambda *given, **more: real(*given, **{**more, "stop": stopped})
    )
    outcome = run("masks", "apply", faces, tmp_path / "out", "--threads", 1)
    assert outcome.code == 1
    assert "the same command goes on from there" in outcome.err.replace("\n", " ")
