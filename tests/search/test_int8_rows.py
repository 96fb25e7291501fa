"""The int8 rows beside a shard: what they are, that they come back, and that a store is none the worse for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.artifacts import verify
from backend.core.errors import CorruptArtifact
from backend.gradients.store import GradientStore, missing_shards, shard_folder
from backend.search import int8_rows
from backend.search.int8_rows import Int8Rows, quantise
from tests.synthetic_stores import DIMS, write_store


@pytest.fixture
def store(tmp_path):
    rows = np.random.default_rng(5).standard_t(2, (90, DIMS))
    rows[40] = 0
    return write_store(tmp_path / "store", rows)


def files(store: GradientStore) -> dict[str, str]:
    """The int8 files of a store -> SHA-256."""
    return {
        path.relative_to(store.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("*.i8.npy", "*.scale.f32.npy")
        for path in sorted(store.folder.rglob(pattern))
    }


def first_files(store: GradientStore) -> tuple[Path, Path]:
    folder = shard_folder(store.folder, 0)
    return folder / "v.i8.npy", folder / "v.scale.f32.npy"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["float16", "float32"]), st.floats(-6, 4))
def test_a_row_is_its_scale_times_int8_to_half_a_step(seed, dtype, exponent):
    rows = (np.random.default_rng(seed).standard_t(2, (7, 19)) * 10**exponent).clip(-6e4, 6e4).astype(dtype)
    made = quantise(rows)
    assert (made.rows.dtype, made.scales.dtype) == (np.int8, np.float32)
    assert np.abs(made.rows.astype(int)).max(axis=1).tolist() == [127 if row.any() else 0 for row in rows]
    error = np.abs(made.rows * made.scales[:, None].astype(float) - rows)
    assert (error <= made.scales[:, None] * 0.5001).all()


def test_a_row_of_zeros_has_scale_zero(store):
    rows, scales = Int8Rows(store, "v").shard(1)
    assert scales[10] == 0
    assert not rows[10].any()
    assert np.count_nonzero(scales) == 29


def test_rows_are_made_once_and_mapped(store, monkeypatch):
    asked = []
    made = Int8Rows(store, "v")
    made.prepare(lambda done, rows: asked.append((done, rows)))
    assert asked == [(30, 90), (60, 90), (90, 90)]
    assert len(files(store)) == 6
    monkeypatch.setattr(Int8Rows, "_make", None)
    for start, shard in Int8Rows(store, "v"):
        assert isinstance(shard.rows, np.memmap)
        expected = quantise(store.shard(start // 30, "v"))
        assert (shard.rows == expected.rows).all()
        assert (shard.scales == expected.scales).all()


def test_rows_that_are_made_again_have_the_same_bytes(store):
    Int8Rows(store, "v").prepare()
    before = files(store)
    for name in before:
        (store.folder / name).unlink()
    Int8Rows(store, "v").prepare()
    assert files(store) == before


def test_a_store_stays_whole_with_int8_rows_in_it(store):
    for row_set in ("raw", "v"):
        Int8Rows(store, row_set).prepare()
    assert len(files(store)) == 12
    assert verify(store.folder) == []
    assert missing_shards(store.folder, store.plan) == []


def damage_truncated(rows: Path, scales: Path) -> None:
    rows.write_bytes(rows.read_bytes()[:-5])


def damage_text(rows: Path, scales: Path) -> None:
    scales.write_text("no array")


def damage_empty(rows: Path, scales: Path) -> None:
    rows.write_bytes(b"")


def damage_shape(rows: Path, scales: Path) -> None:
    np.save(rows, np.zeros((30, DIMS + 1), np.int8))


def damage_type(rows: Path, scales: Path) -> None:
    np.save(scales, np.zeros(30, np.float64))


def damage_missing(rows: Path, scales: Path) -> None:
    scales.unlink()


def damage_objects(rows: Path, scales: Path) -> None:
    np.save(rows, np.array([{}], dtype=object), allow_pickle=True)


def damage_of_other_rows(rows: Path, scales: Path) -> None:
    np.save(rows, np.ones((30, DIMS), np.int8))


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncated,
        damage_text,
        damage_empty,
        damage_shape,
        damage_type,
        damage_missing,
        damage_objects,
        damage_of_other_rows,
    ],
)
def test_damaged_int8_rows_are_made_again(store, damage):
    Int8Rows(store, "v").prepare()
    before = files(store)
    damage(*first_files(store))
    rows = Int8Rows(store, "v")
    assert (rows.shard(0).rows == quantise(store.shard(0, "v")).rows).all()
    assert files(store) == before
    assert rows.in_memory == set()


def test_rows_that_cannot_be_written_are_kept_in_memory(store, monkeypatch):
    def refuse(path, array):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(int8_rows, "save_array", refuse)
    rows = Int8Rows(store, "v")
    rows.prepare()
    assert files(store) == {}
    assert rows.in_memory == {0, 1, 2}
    assert (rows.shard(2).rows == quantise(store.shard(2, "v")).rows).all()
    assert rows.shard(2) is rows.shard(2)


def test_a_stored_row_that_is_not_finite_is_named(tmp_path):
    rows = np.ones((40, DIMS))
    rows[27, 3] = np.inf
    store = write_store(tmp_path / "damaged", rows, shards=2)
    with pytest.raises(CorruptArtifact, match="Row 27 of store damaged"):
        Int8Rows(store, "raw").prepare()
    assert len(files(store)) == 2
