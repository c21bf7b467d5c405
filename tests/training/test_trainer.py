"""A run of training: it learns, and goes on from where it was stopped as if it had not been."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch

from embedder.cards import WEIGHTS
from embedder.training.nets.network import WIDTHS
from embedder.training.nets.trainer import CHECKPOINT, Progress, Training, TrainingOptions
from embedder.training.pool import NOBODY, Pool
from embedder.training.samples import SampleOptions
from ingest.errors import UsageError

SFACE = WEIGHTS / "sface" / "sface.onnx"
QUICK = TrainingOptions(
    steps=3,
    samples=2,
    rows=32,
    widths=WIDTHS,
    warm_up=1,
    early=2,
    workers=0,
    every=1,
    sampling=SampleOptions(masked=(0, 0)),
)


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Not faces, but shapes: what is tested is the run."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (6, 144, 144, 3), dtype=np.uint8)
    landmarks = np.tile(np.array([[54, 68], [90, 67], [72, 88], [58, 108], [87, 108]], np.float32), (6, 1, 1))
    teacher = rng.normal(size=(6, 128)).astype(np.float32)
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    return Pool(canvas, landmarks, teacher, np.array([0, 0, 1, 1, NOBODY, NOBODY], np.int32))


def run(folder: Path, pool: Pool, options: TrainingOptions, until: int = 99) -> tuple[Training, list[Progress]]:
    training, heard = Training(folder, pool, SFACE, options), list[Progress]()
    training.run(heard.append, lambda: training.step >= until)
    return training, heard


def test_a_stopped_run_ends_where_an_undisturbed_one_does(tmp_path: Path, pool: Pool) -> None:
    whole, heard = run(tmp_path / "whole", pool, QUICK)
    assert [word.step for word in heard] == [1, 2, 3]
    assert [point["step"] for point in whole.curves] == [1, 2, 3]
    assert heard[0].left_s > heard[-1].left_s == 0
    _, heard = run(tmp_path / "part", pool, QUICK, until=2)
    assert heard[-1].step == 2
    again, heard = run(tmp_path / "part", pool, replace(QUICK, every=5))
    assert [word.step for word in heard] == [3]
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(again.average.state_dict()[name], value, msg=name)
    assert again.curves[:2] == whole.curves[:2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_the_workers_at_work(
    tmp_path: Path, pool: Pool, number: signal.Signals
) -> None:
    options = replace(QUICK, steps=20, workers=1)
    training, told = Training(tmp_path, pool, SFACE, options), set[int | None]()

    def ask(_: Progress) -> None:
        if not told:
            told.update(child.pid for child in active_children())
            for child in told:
                assert child is not None
                os.kill(child, number)

    training.run(ask)
    assert len(told) == 1
    assert training.step == 20


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path, pool: Pool) -> None:
    run(tmp_path, pool, replace(QUICK, steps=1))
    _, heard = run(tmp_path, pool, replace(QUICK, steps=1))
    assert heard == []


def test_early_layers_stay_once_they_are_frozen(tmp_path: Path, pool: Pool) -> None:
    training, _ = run(tmp_path, pool, replace(QUICK, early=0, steps=1))
    start = Training(tmp_path / "other", pool, SFACE, QUICK)
    torch.testing.assert_close(training.network.trunk[0][0].weight, start.network.trunk[0][0].weight)
    assert not torch.equal(training.network.head.weight, start.network.head.weight)


def test_the_network_is_thinned_once(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedder.training.nets.trainer.THINNING", 2)
    thin = replace(QUICK, steps=2, widths=(*WIDTHS[:12], 1008, 992))
    heard: list[int] = []
    first = Training(tmp_path, pool, SFACE, thin, thinning=heard.append)
    assert heard == list(range(1, len(WIDTHS) + 1))
    assert first.network.widths == first.average.widths == thin.widths
    first.run(lambda _: None, lambda: True)
    again = Training(tmp_path, pool, SFACE, thin, thinning=heard.append)
    assert len(heard) == len(WIDTHS)  # what was begun is gone on with
    assert again.step == 1
    for name, value in first.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("blend", [0.0, 0.75, 1.0])
def test_what_ships_is_a_blend_of_the_end_and_the_start(blend: float, tmp_path: Path, pool: Pool) -> None:
    options = replace(QUICK, steps=2, early=0, blend=blend)
    start = Training(tmp_path, pool, SFACE, options).network.head.weight.clone()
    training, _ = run(tmp_path, pool, options, until=1)
    training, _ = run(tmp_path, pool, options)  # gone on with, and it still knows what it began with
    learnt = training.average.head.weight
    assert not torch.equal(learnt, start)
    shipped = training._blended()
    torch.testing.assert_close(shipped.head.weight, start + blend * (learnt - start))
    assert not shipped.training


def test_what_ships_has_a_head_of_its_own(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedder.training.nets.trainer.WHITENING", 40)
    training, _ = run(tmp_path, pool, replace(QUICK, steps=1))
    shipped, blended = training.finished(), training._blended()
    assert not torch.equal(shipped.head.weight, blended.head.weight)
    torch.testing.assert_close(shipped.trunk.state_dict(), blended.trunk.state_dict())
    torch.testing.assert_close(training.finished().state_dict(), shipped.state_dict())


@pytest.mark.parametrize("widths", [WIDTHS[:3], (*WIDTHS[:13], 1025)])
def test_a_network_can_not_be_made_wider(widths: tuple[int, ...], tmp_path: Path, pool: Pool) -> None:
    with pytest.raises(UsageError, match="widths are 14 numbers up to"):
        Training(tmp_path, pool, SFACE, replace(QUICK, widths=widths))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, pool: Pool) -> None:
    run(tmp_path, pool, replace(QUICK, steps=1))
    with pytest.raises(UsageError, match="a checkpoint of another architecture"):
        Training(tmp_path, pool, SFACE, replace(QUICK, steps=1, rows=48))
    with pytest.raises(UsageError, match="of a run with other settings"):
        Training(tmp_path, pool, SFACE, replace(QUICK, steps=1, rate=1.0))
    (tmp_path / CHECKPOINT).write_bytes(b"no tensors here")
    with pytest.raises(UsageError, match="no checkpoint of a training run"):
        Training(tmp_path, pool, SFACE, QUICK)
