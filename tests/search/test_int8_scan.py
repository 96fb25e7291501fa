"""The int8 scan: exact integers, the same bits in any company, what fits on a device, and the rankings it leads to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.artifacts import Home, read_manifest
from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.curvature.autocorrelation import rows_autocorrelation
from backend.curvature.preconditioner import Preconditioner
from backend.gradients.store import GradientStore
from backend.methods.bm25 import BM25
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import find_method
from backend.search.int8_rows import Int8Rows
from backend.search.int8_scan import (
    QUERY_LEVELS,
    Device,
    Int8Scan,
    _integer_products,
    approximate_scores,
    cuda_device,
    open_scan,
)
from backend.search.reduce import reduce_query, reduce_scores, ties_by_id
from backend.search.scoring import ProjectedScorer
from tests.synthetic_stores import DIMS, LAYERS, write_store

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def stored_rows(store: GradientStore, row_set: str) -> np.ndarray:
    return np.concatenate([block.astype(np.float64) for _, block in store.blocks(row_set)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rows = np.random.default_rng(11).standard_t(2, (1500, DIMS))
    rows[700] = 0
    return write_store(tmp_path_factory.mktemp("int8") / "store", rows)


@pytest.fixture(scope="module")
def vectors():
    made = np.random.default_rng(12).standard_t(3, (9, DIMS))
    made[4] = 0
    return made


def int8_scores(store: GradientStore, row_set: str, vectors: np.ndarray) -> np.ndarray:
    """What a scan would give if queries were not quantised, (Q, rows) float64."""
    shards = [shard for _, shard in Int8Rows(store, row_set)]
    rows = np.concatenate([rows * scales[:, None].astype(float) for rows, scales in shards])
    return vectors @ rows.T


def test_scores_are_close_to_products_and_the_query_adds_almost_no_error(store, vectors):
    scan = open_scan(store, "v")
    scores = scan.scores(vectors)
    assert scores.dtype == np.float32
    exact, rows_only = vectors @ stored_rows(store, "v").T, int8_scores(store, "v", vectors)
    of_rows, of_queries = np.abs(rows_only - exact).std(axis=1), np.abs(scores - rows_only).std(axis=1)
    assert (of_rows <= 0.02 * exact.std(axis=1)).all()
    assert (of_queries <= 0.05 * of_rows).all()
    assert not scores[4].any()
    assert not scores[:, 700].any()


def test_a_scan_says_how_far_it_is_and_what_it_read(store, vectors):
    scan = Int8Scan(Int8Rows(store, "raw"), row_block=256)
    done = []
    scan.scores(vectors, lambda rows, total: done.append((rows, total)))
    assert done == [(rows, 1500) for rows in (256, 500, 756, 1000, 1256, 1500)]
    assert scan.last is not None
    assert scan.last.bytes == 1500 * (DIMS + 4)
    assert scan.last.gigabytes_per_second > 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=20), st.sampled_from([16, 48, 512, 4096]))
def test_a_querys_scores_are_the_same_bits_in_any_company_and_any_blocks(store, vectors, chosen, row_block):
    alone = np.concatenate([open_scan(store, "v").scores(vectors[at : at + 1]) for at in range(9)])
    together = Int8Scan(Int8Rows(store, "v"), row_block=row_block).scores(vectors[chosen])
    assert together.tobytes() == alone[chosen].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_bit(store, vectors, threads):
    before = torch.get_num_threads()
    expected = open_scan(store, "v").scores(vectors)
    try:
        torch.set_num_threads(threads)
        assert open_scan(store, "v").scores(vectors).tobytes() == expected.tobytes()
    finally:
        torch.set_num_threads(before)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from([16, 48, 144]), st.sampled_from([16, 64, 1 << 17]))
def test_integer_products_are_exact_in_pieces_and_whole(seed, rows, dims, exact_dims):
    random = np.random.default_rng(seed)
    left = torch.from_numpy(random.choice([-127, 127], (max(32, rows), dims)).astype(np.int8))
    right = torch.from_numpy(random.choice([-QUERY_LEVELS, QUERY_LEVELS], (8, dims)).astype(np.int8))
    assert torch.equal(_integer_products(left, right, exact_dims).long(), left.long() @ right.long().T)


def test_sums_beyond_int32_are_exact():
    dims = 17_000_000 // 64
    left, right = torch.full((32, dims), 127, dtype=torch.int8), torch.full((8, dims), QUERY_LEVELS, dtype=torch.int8)
    assert dims * 127 * QUERY_LEVELS > 2**31
    assert (_integer_products(left, right) == dims * 127 * QUERY_LEVELS).all()


@pytest.mark.parametrize("instructions", ["AVX512_CORE", "AVX2", "SSE41"])
def test_older_processors_compute_the_same_integers(instructions):
    """Without VNNI int16 sums saturate where a query's parts are over 64."""
    program = (
        "import torch; from backend.search.int8_scan import QUERY_LEVELS, _integer_products as products\n"
        "for row in (127, -127):\n"
        "    for part in (QUERY_LEVELS, -QUERY_LEVELS):\n"
        "        left = torch.full((40, 64), row, dtype=torch.int8)\n"
        "        right = torch.full((8, 64), part, dtype=torch.int8)\n"
        "        assert (products(left, right) == 64 * row * part).all(), (row, part)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rows", [1, 5, 16, 17, 33])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_few_rows(tmp_path, rows, dtype):
    random = np.random.default_rng(rows)
    store = write_store(tmp_path / "few", random.standard_normal((rows, DIMS)), shards=1, dtype=dtype)
    vectors = random.standard_normal((2, DIMS))
    exact = vectors @ stored_rows(store, "v").T
    np.testing.assert_allclose(open_scan(store, "v").scores(vectors), exact, atol=0.05 * np.abs(exact).max())


def test_a_vector_that_is_not_finite_is_refused(store):
    with pytest.raises(UserError, match="not a finite number"):
        open_scan(store, "v").scores(np.full((1, DIMS), np.nan))


def test_blocks_that_would_not_be_aligned_are_refused(store):
    with pytest.raises(ValueError, match="multiple of 16"):
        Int8Scan(Int8Rows(store, "v"), row_block=100)


# --- devices


class Memory:
    """A device on the CPU that holds so many bytes of rows, and counts."""

    def __init__(self, said: int, true: int | None = None, largest: int = 1 << 40) -> None:
        self.said, self.left, self.largest = said, said if true is None else true, largest
        self.puts = self.released = 0

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.nbytes > min(self.left, self.largest):
            raise torch.OutOfMemoryError("no room")
        self.puts += 1
        return tensor

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        placed = self.put(tensor)
        self.left -= tensor.nbytes
        return placed

    def release(self) -> None:
        self.released += 1

    def device(self, put=None) -> Device:
        return Device(put or self.put, lambda: self.said, self.release)


def test_rows_that_fit_are_put_on_the_device_once(store, vectors):
    memory = Memory(1 << 30)
    scan = Int8Scan(Int8Rows(store, "v"), memory.device())
    expected = open_scan(store, "v").scores(vectors)
    assert not scan.resident
    assert (scan.scores(vectors) == expected).all()
    assert scan.resident
    placed = scan._resident
    assert (scan.scores(vectors) == expected).all()
    assert scan._resident is placed


def test_rows_that_do_not_fit_by_estimate_are_sent_in_blocks(store, vectors):
    scan = Int8Scan(Int8Rows(store, "v"), Memory(1500 * (DIMS + 4)).device())
    assert (scan.scores(vectors) == open_scan(store, "v").scores(vectors)).all()
    assert not scan.resident


def test_rows_that_run_out_of_memory_while_placed_are_sent_in_blocks(store, vectors):
    memory = Memory(1 << 30, true=60_000)
    placing = True

    def put(tensor):
        return memory.take(tensor) if placing else memory.put(tensor)

    def release():
        nonlocal placing
        placing = False
        memory.left = 1 << 20

    scan = Int8Scan(Int8Rows(store, "v"), Device(put, lambda: memory.said, release))
    assert (scan.scores(vectors) == open_scan(store, "v").scores(vectors)).all()
    assert not placing
    assert not scan.resident


def test_a_device_that_fills_up_later_gives_its_rows_back(store, vectors):
    memory = Memory(1 << 30)
    scan = Int8Scan(Int8Rows(store, "v"), memory.device())
    expected = scan.scores(vectors)
    assert scan.resident
    memory.largest = 300 * 48
    assert (scan.scores(vectors) == expected).all()
    assert not scan.resident
    assert scan._row_block == 256
    assert memory.released == 1 + 4


def test_a_device_without_room_for_a_block_says_so(store, vectors):
    memory = Memory(1 << 30, largest=1)
    with pytest.raises(torch.OutOfMemoryError):
        Int8Scan(Int8Rows(store, "v"), memory.device()).scores(vectors)


@pytest.mark.cuda
@needs_cuda
def test_scores_on_cuda_are_the_bits_of_the_cpu(store, vectors):
    scan = open_scan(store, "v", "cuda")
    assert scan.scores(vectors).tobytes() == open_scan(store, "v").scores(vectors).tobytes()
    assert scan.resident
    in_blocks = Int8Scan(Int8Rows(store, "v"), Device(lambda rows: rows.cuda(), lambda: 0), row_block=256)
    assert in_blocks.scores(vectors[:1]).tobytes() == open_scan(store, "v").scores(vectors[:1]).tobytes()
    assert not in_blocks.resident


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize(("rows", "dims", "columns"), [(32, 16, 8), (33, 48, 8), (4095, 4032, 16), (4096, 144, 128)])
def test_integer_products_on_cuda(rows, dims, columns):
    random = np.random.default_rng(rows)
    left = torch.from_numpy(random.integers(-127, 128, (rows, dims)).astype(np.int8))
    right = torch.from_numpy(random.integers(-QUERY_LEVELS, QUERY_LEVELS + 1, (columns, dims)).astype(np.int8))
    for exact_dims in (1 << 17, 32):
        on_cuda = _integer_products(left.cuda(), right.cuda(), exact_dims).cpu()
        assert torch.equal(on_cuda.long(), left.long() @ right.long().T)


@pytest.mark.cuda
@needs_cuda
def test_a_full_cuda_device_falls_back_to_blocks(store, vectors):
    full = Device(
        lambda rows: torch.empty(1 << 50, dtype=torch.int8, device="cuda") if len(rows) == 500 else rows.cuda(),
        lambda: 1 << 60,
        cuda_device("cuda").release,
    )
    scan = Int8Scan(Int8Rows(store, "v"), full, row_block=256)
    assert scan.scores(vectors).tobytes() == open_scan(store, "v").scores(vectors).tobytes()
    assert not scan.resident


# --- rankings


def heavy_tailed(random: np.random.Generator, count: int) -> np.ndarray:
    """Rows with heavy tails and few strong directions, as gradients have them."""
    strong = random.standard_t(3, (count, 8)) @ np.random.default_rng(1).standard_normal((8, DIMS))
    return (strong + random.standard_t(3, (count, DIMS))).clip(-3e4, 3e4)


def test_four_times_the_candidates_hold_the_true_best(tmp_path):
    random = np.random.default_rng(2)
    store = write_store(tmp_path / "tails", heavy_tailed(random, 20_000), shards=4)
    rows = stored_rows(store, "raw")
    whiten = Preconditioner(rows_autocorrelation(rows, LAYERS), LAYERS)
    vectors, norms = whiten.apply(heavy_tailed(random, 20)), whiten.norms(rows)
    exact = vectors @ rows.T / norms
    approximate = open_scan(store, "raw").scores(vectors) / norms
    for query in range(20):
        best = set(np.argsort(-exact[query])[:100].tolist())
        assert best <= set(np.argsort(-approximate[query])[:400].tolist())


def test_rankings_are_exact_where_int8_rows_are_poor(tmp_path):
    """Queries that live in dims where rows are hardly more than a step of int8."""
    random = np.random.default_rng(2)
    spread = random.standard_t(2, (1, DIMS)) ** 2
    store = write_store(tmp_path / "poor", (heavy_tailed(random, 20_000) * spread).clip(-3e4, 3e4), shards=4)
    vectors = random.standard_normal((12, DIMS)) / spread
    scorer = ProjectedScorer(store, "raw", vectors, np.ones((1, 20_000)), np.zeros(12, int))
    ties = ties_by_id([f"{row:05d}" for row in range(20_000)])
    for query, scores in enumerate(approximate_scores([scorer], open_scan)):
        exact = scorer.exact(query, np.arange(20_000))
        asked = []

        def counted(at, query=query, asked=asked):
            asked.append(len(at))
            return scorer.exact(query, at)

        ranking = reduce_query(scores, counted, ties, proponents=100, opponents=20, approximate=True)
        assert ranking.proponents.tolist() == np.argsort(-exact, kind="stable")[:100].tolist()
        assert ranking.opponents.tolist() == np.argsort(exact, kind="stable")[:20].tolist()
        assert ranking.range == (np.float32(exact.min()), np.float32(exact.max()))
        assert max(asked) <= 1024


@pytest.mark.parametrize("method", ["trackstar", "gradient-dot", "gradient-cosine-v", "logra-relatif", "trak"])
def test_rankings_of_a_real_store_are_those_of_its_fp16_rows(tiny_demo, method):
    home = Home(tiny_demo)
    run = next(
        manifest
        for run_id in home.finished("run")
        if (manifest := read_manifest(home.folder("run", run_id))).config["method"] == "trackstar"
    )
    store, asked = (GradientStore.open(home, str(run.inputs[name])) for name in ("store", "query_store"))
    chosen = find_method(method)
    evaluation = EvaluationQueries("set", asked, np.arange(asked.rows // 2))
    tasks = ["facts"] * (asked.rows // 2) + ["controls"] * (asked.rows - asked.rows // 2)
    queries = [Query(str(at), task, "a", "b") for at, task in enumerate(tasks)]
    inputs = MethodInputs([Passage(str(row), "") for row in range(store.rows)], store, evaluation)
    scorer = chosen.prepare(inputs).score(queries, asked.values(str(chosen.row_set))).scorer
    ids = [f"p{row:04d}" for row in range(store.rows)]
    full = reduce_scores(scorer, len(queries), ids, proponents=10, opponents=5)
    scores = approximate_scores([scorer], open_scan)
    for query in range(len(queries)):
        ranking = reduce_query(
            scores[query],
            lambda at, query=query: scorer.exact(query, at),
            ties_by_id(ids),
            proponents=10,
            opponents=5,
            approximate=True,
        )
        for kept, wanted in (
            (ranking.proponents, full.proponents),
            (ranking.opponents, full.opponents),
            (ranking.proponent_scores, full.proponent_scores),
            (ranking.opponent_scores, full.opponent_scores),
        ):
            assert kept.tolist() == wanted[query][: len(kept)].tolist()
        np.testing.assert_allclose(
            ranking.proponent_percentiles, full.proponent_percentiles[query][: len(ranking.proponents)], atol=0.4
        )
        assert ranking.range == pytest.approx(full.range[query].tolist(), rel=1e-5)


def test_approximate_scores_divide_by_each_groups_norms(store, vectors):
    norms = np.random.default_rng(3).uniform(0.5, 2, (2, 1500))
    norms[1, 5] = 0
    group = np.arange(9) % 2
    scores = approximate_scores([ProjectedScorer(store, "v", vectors, norms, group)], open_scan)
    with np.errstate(divide="ignore"):
        inverse = np.where(norms > 0, 1 / norms, 0).astype(np.float32)
    assert (scores == open_scan(store, "v").scores(vectors) * inverse[group]).all()
    assert not scores[1::2, 5].any()


def test_approximate_scores_of_other_methods_are_their_own():
    passages = [Passage(str(at), text) for at, text in enumerate(["the cat", "a dog", "the dog and the cat"])]
    queries = [Query("q", "facts", "The", "cat"), Query("r", "facts", "A", "dog")]
    scorer = BM25().prepare(MethodInputs(passages)).score(queries, None).scorer
    scores = approximate_scores([scorer], lambda store, row_set: pytest.fail("there is no store"))
    assert scores.dtype == np.float32
    assert scores.tolist() == [scorer.exact(query, np.arange(3)).astype(np.float32).tolist() for query in range(2)]
