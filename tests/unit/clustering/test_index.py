"""What is FAISS's own: room that grows, rows written in place, and blank rows that must never be found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from templates import people

from clustering.codes import probe_codes, scores, template_codes
from clustering.index import GROWTH, NOTHING, FaissIndex, NumpyIndex, VectorIndex

INDEXES = pytest.mark.parametrize("make", [FaissIndex, NumpyIndex])
Make = Callable[[int], VectorIndex]


def vectors(count: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return people(count, dim, seed).astype(np.float32)


def probes(count: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return probe_codes(vectors(count, dim, seed))


def products(templates: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """What every one of ``asked`` (q, dim) scores with every template (n, dim): (q, n)."""
    return np.array([scores(template_codes(templates), probe) for probe in asked])


@INDEXES
def test_an_empty_index_finds_nothing(make: Make) -> None:
    index = make(4)
    assert len(index) == 0
    found, rows = index.search(probes(2), 3)
    assert (rows == -1).all()
    assert (found == NOTHING).all()
    assert rows.shape == found.shape == (2, 3)
    assert index.get(np.zeros(0, np.int64)).shape == (0, 4)
    index.put(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    assert len(index) == 0


@INDEXES
def test_no_query_has_no_answer(make: Make) -> None:
    index = make(4)
    index.put(np.arange(3), vectors(3))
    found, rows = index.search(probe_codes(np.zeros((0, 4), np.float32)), 2)
    assert rows.shape == found.shape == (0, 2)


@INDEXES
@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3, 5), (12,)])
def test_vectors_that_do_not_fit_their_rows_are_refused(make: Make, shape: tuple[int, ...]) -> None:
    index = make(4)
    with pytest.raises(ValueError, match=r"3 rows need vectors of shape \(3, 4\)"):
        index.put(np.arange(3), np.zeros(shape, np.float32))
    assert len(index) == 0


@INDEXES
def test_what_is_found_is_the_best_first_with_its_score(make: Make) -> None:
    index, known = make(4), vectors(50)
    index.put(np.arange(50), known)
    asked = probes(7, seed=1)
    found, rows = index.search(asked, 5)
    assert found.dtype == np.int32
    assert rows.dtype == np.int64
    exact = products(known, asked)
    np.testing.assert_array_equal(found, -np.sort(-exact, axis=1)[:, :5])
    np.testing.assert_array_equal(np.take_along_axis(exact, rows, axis=1), found)
    assert index.scores(rows[0], asked[0]).tolist() == found[0].tolist()


@INDEXES
def test_opposite_vectors_are_found_before_blank_rows(make: Make) -> None:
    """A blank row's score is 0, above that of every template that points away."""
    index, probe = make(2), probe_codes(np.array([[1, 0]], np.float32))
    index.put(np.array([5, 9]), np.array([[-1, 0], [-0.6, 0.8]], np.float32))
    found, rows = index.search(probe, 4)
    assert rows.tolist() == [[9, 5, -1, -1]]
    assert found.tolist() == [[-38 * 127, -63 * 127, NOTHING, NOTHING]]


@INDEXES
def test_a_row_is_replaced_in_place_and_forgotten(make: Make) -> None:
    index, old, new = make(4), vectors(3), vectors(1, seed=9)
    index.put(np.arange(3), old)
    index.put(np.array([1]), new)
    np.testing.assert_array_equal(index.get(np.array([0, 1, 2])), [old[0], new[0], old[2]])
    assert index.search(probe_codes(new), 1)[1].tolist() == [[1]]
    index.clear(np.array([1]))
    assert not index.get(np.array([1])).any()
    assert 1 not in index.search(probe_codes(new), 3)[1]
    index.put(np.array([1]), old[1:2])
    assert index.search(probe_codes(old[1:2]), 1)[1].tolist() == [[1]]


@INDEXES
def test_what_is_given_out_is_a_copy(make: Make) -> None:
    index, known = make(4), vectors(2)
    index.put(np.arange(2), known)
    index.get(np.arange(2))[:] = 7
    known_before = known.copy()
    known[:] = 3
    np.testing.assert_array_equal(index.get(np.arange(2)), known_before)


@INDEXES
def test_everything_stays_where_it_is_when_room_is_made(make: Make) -> None:
    index, known = make(16), vectors(2 * GROWTH, 16)
    for start in range(0, len(known), 700):
        rows = np.arange(start, min(start + 700, len(known)))
        index.put(rows, known[rows])
    assert len(index) >= len(known)
    np.testing.assert_array_equal(index.get(np.arange(len(known))), known)
    wanted = np.array([0, 1, GROWTH - 1, GROWTH, GROWTH + 1, 2 * GROWTH - 1])
    assert index.search(probe_codes(known[wanted]), 1)[1][:, 0].tolist() == wanted.tolist()


@INDEXES
def test_all_can_be_forgotten(make: Make) -> None:
    index = make(4)
    index.put(np.arange(5), vectors(5))
    index.clear(np.arange(5))
    assert (index.search(probes(1), 2)[1] == -1).all()


@INDEXES
def test_more_can_be_asked_for_than_a_full_index_holds(make: Make) -> None:
    index, known = make(4), vectors(GROWTH)
    index.put(np.arange(GROWTH), known)
    found, rows = index.search(probe_codes(known[:2]), GROWTH + 3)
    assert rows.shape == found.shape == (2, GROWTH + 3)
    assert (rows[:, -3:] == -1).all()
    assert (found[:, -3:] == NOTHING).all()
    assert (np.sort(rows[:, :-3]) == np.arange(GROWTH)).all()


@pytest.mark.parametrize("k", [1, 5, 40, 100])
def test_rows_that_are_clear_are_never_among_the_best(k: int) -> None:
    """Rows that were never written or forgotten stand among the others, and few or many rows are wanted."""
    index, oracle, known = FaissIndex(6), NumpyIndex(6), vectors(2500, 6)
    written = np.random.default_rng(1).permutation(4000)[: len(known)]
    for one in (index, oracle):
        one.put(written, known)
        one.clear(written[:300])
    asked = probes(21, 6, seed=2)
    found, rows = index.search(asked, k)
    expected, _ = oracle.search(asked, k)
    np.testing.assert_array_equal(found, expected)
    for probe, line, given in zip(asked, rows, found, strict=True):
        assert len(set(line.tolist())) == len(line)
        np.testing.assert_array_equal(oracle.scores(line, probe), given)


def test_where_nobody_is_near_the_least_far_are_found() -> None:
    """All scores are below those of clear rows, in a gallery of many rows."""
    index, oracle = FaissIndex(3), NumpyIndex(3)
    known = vectors(3000, 3)
    known[:, 0] = -np.abs(known[:, 0]) - 2
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    for one in (index, oracle):
        one.put(np.arange(0, 6000, 2), known)
    asked = probe_codes(np.array([[1, 0, 0], [-1, 0, 0]], np.float32))
    found, rows = index.search(asked, 4)
    np.testing.assert_array_equal(found, oracle.search(asked, 4)[0])
    assert found[0, 0] < 0 < found[1, -1]
    assert not (rows % 2).any()


def test_a_search_may_go_on_while_rows_are_written() -> None:
    """It finds, with the right score, every row that was not written meanwhile, however much the index grows."""
    index, known = FaissIndex(16), vectors(3000, 16)
    index.put(np.arange(len(known)), known)
    asked = probe_codes(known[1000:1032])
    right = np.diagonal(products(known[1000:1032], asked))
    with ThreadPoolExecutor(1) as other:
        searches = [other.submit(index.search, asked, 1) for _ in range(40)]
        for row in range(len(known), len(known) + 3 * GROWTH, 64):
            index.put(np.arange(row, row + 64), -known[:64])
            index.put(np.array([row % 1000]), known[:1])
    for search in searches:
        found, rows = search.result()
        assert rows[:, 0].tolist() == list(range(1000, 1032))
        np.testing.assert_array_equal(found[:, 0], right)
