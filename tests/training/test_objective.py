"""What training strives for is reached where it should be, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from embedder.training.nets.objective import Objective, ObjectiveOptions

DIM = 16


def vectors(count: int, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


def unit(*rows: list[float]) -> Tensor:
    return functional.normalize(torch.tensor(rows))


def test_the_objective_is_least_where_the_teacher_put_the_face() -> None:
    teacher = unit([1.0, 0, 0], [0.9, 0.1, 0], [0, 1.0, 0], [0, 0, 1.0])
    person = torch.tensor([0, 0, -1, -1])
    rows = torch.tensor([[2, 2], [3, 3]])
    right = teacher[rows]
    wrong = torch.stack([teacher[[3, 2]], teacher[[2, 3]]])
    good, bad = (Objective(teacher, person, ObjectiveOptions())(views, rows) for views in (right, wrong))
    assert good.distil == pytest.approx(0, abs=1e-6)
    assert all(getattr(good, part) < getattr(bad, part) for part in ("total", "distil", "teacher", "pair"))


def test_pictures_of_one_person_are_no_impostors_and_share_a_target() -> None:
    teacher = unit([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0])
    person = torch.tensor([0, 0, -1])
    views, rows = teacher[[0, 1]].unsqueeze(0), torch.tensor([[0, 1]])
    alone = Objective(teacher[:2], person[:2], ObjectiveOptions())(views, rows)
    assert alone.pair == 0  # nobody else is there to be taken for them
    both = Objective(teacher, person, ObjectiveOptions(person=1.0))(views, rows)
    assert both.distil == pytest.approx(1 - 0.5**0.5, abs=1e-6)


def test_the_memory_holds_the_latest_vectors_and_no_more() -> None:
    objective = Objective(unit([1.0, 0], [0, 1.0]), torch.tensor([-1, -1]), ObjectiveOptions(memory=3))
    views, rows = unit([1.0, 0.1], [1.0, -0.1]).unsqueeze(0), torch.tensor([[0, 0]])
    first = objective(views, rows)
    objective(unit([1.0, 0], [1.0, 0]).unsqueeze(0), torch.tensor([[1, 1]]))
    assert first.pair == 0
    assert objective(views, rows).pair > 1  # an impostor remembered where the face is
    assert len(objective._memory) == 3


def test_who_may_be_the_same_person_is_no_impostor() -> None:
    """Rows 0 and 1 are alike for the teacher, rows 2 and 3 are one person by their label."""
    teacher = vectors(5)
    teacher[1] = functional.normalize(teacher[0] + 0.1 * teacher[1], dim=0)
    objective = Objective(teacher, torch.tensor([-1, -1, 0, 0, -1]), ObjectiveOptions(stranger=0.9))
    alike = objective._alike(torch.arange(5), torch.arange(5))
    expected = torch.eye(5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = True
    assert torch.equal(alike, expected)


def test_what_it_remembers_goes_through_a_checkpoint() -> None:
    teacher, person = vectors(20), torch.full((20,), -1)
    options = ObjectiveOptions(memory=5)
    before, after = Objective(teacher, person, options), Objective(teacher, person, options)
    rows = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3]])
    before(vectors(8, 1).view(4, 2, DIM), rows)
    assert len(before.state()["rows"]) == options.memory
    after.restore(before.state())
    views = vectors(8, 2).view(4, 2, DIM)
    assert before(views, rows + 4).total == after(views, rows + 4).total
