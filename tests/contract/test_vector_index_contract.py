"""FAISS answers what plain arithmetic answers, after any writes, to the last bit; ties unordered."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clustering.codes import probe_codes, scores, template_codes
from clustering.index import GROWTH, FaissIndex, NumpyIndex, VectorIndex

DIM = 4
# Few directions, so that equal and opposite vectors are common; and arbitrary ones.
CORNERS = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=DIM, max_size=DIM).filter(any)
ANYWHERE = st.lists(st.floats(-1, 1, width=32), min_size=DIM, max_size=DIM).filter(lambda v: max(map(abs, v)) > 0.1)
VECTORS = st.one_of(CORNERS, ANYWHERE).map(lambda v: np.array(v, np.float32) / np.float32(np.linalg.norm(v)))
ROWS = st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(GROWTH - 2, GROWTH + 2))


class Congruence(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.oracle: VectorIndex = NumpyIndex(DIM)
        self.faiss: VectorIndex = FaissIndex(DIM)
        self.filled: dict[int, np.ndarray] = {}

    @rule(written=st.dictionaries(ROWS, VECTORS, max_size=6))
    def put(self, written: dict[int, np.ndarray]) -> None:
        rows = np.array(list(written), np.int64)
        vectors = np.array(list(written.values()), np.float32).reshape(len(written), DIM)
        for index in (self.oracle, self.faiss):
            index.put(rows, vectors)
        self.filled |= written

    @precondition(lambda self: self.filled)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(self.filled)), unique=True, max_size=4))
        for index in (self.oracle, self.faiss):
            index.clear(np.array(some, np.int64))
        for row in some:
            del self.filled[row]

    @rule(queries=st.lists(VECTORS, max_size=4), k=st.integers(1, 15))
    def search(self, queries: list[np.ndarray], k: int) -> None:
        asked = probe_codes(np.array(queries, np.float32).reshape(len(queries), DIM))
        expected, _ = self.oracle.search(asked, k)
        found_scores, rows = self.faiss.search(asked, k)
        assert found_scores.shape == rows.shape == (len(queries), k)
        assert found_scores.dtype == np.int32
        assert rows.dtype == np.int64
        np.testing.assert_array_equal(found_scores, expected)
        for probe, line, given in zip(asked, rows.tolist(), found_scores.tolist(), strict=True):
            found = [row for row in line if row >= 0]
            assert len(found) == len(set(found)) == min(k, len(self.filled))
            assert line == found + [-1] * (k - len(found))
            assert given[: len(found)] == sorted(given[: len(found)], reverse=True)
            if found:
                kept = template_codes(np.array([self.filled[row] for row in found], np.float32))
                assert scores(kept, probe).tolist() == given[: len(found)]
                for index in (self.oracle, self.faiss):
                    assert index.scores(np.array(found), probe).tolist() == given[: len(found)]

    @invariant()
    def holds_the_same(self) -> None:
        rows = np.array(sorted(self.filled), np.int64)
        expected = np.array([self.filled[row] for row in rows], np.float32).reshape(len(rows), DIM)
        for index in (self.oracle, self.faiss):
            np.testing.assert_array_equal(index.get(rows), expected)
            assert len(index) >= max(self.filled, default=-1) + 1


TestCongruence = Congruence.TestCase
TestCongruence.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
