"""Artifacts are whole or not there, and their bytes can be checked."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from backend.core.artifacts import Home, artifact_id, is_finished, read_manifest, seal, verify
from backend.core.errors import CorruptArtifact, MissingArtifact, UserError
from backend.core.files import atomic_file, canonical_json, load_array, read_json, save_array, write_json


def make(home: Home, name: str = "abc"):
    folder = home.folder("store", name)
    save_array(folder / "deep" / "a.npy", np.arange(5))
    seal(folder, kind="store", inputs={"model": "m"}, config={"p": 1}, facts={}, seconds=1.0, command="x")
    return folder


def test_id_depends_on_inputs_and_config_alone():
    base = artifact_id("run", {"a": "1", "b": None}, {"x": 1, "y": 2})
    assert base == artifact_id("run", {"b": None, "a": "1"}, {"y": 2, "x": 1})
    assert base != artifact_id("run", {"a": "1", "b": None}, {"x": 1, "y": 3})
    assert base != artifact_id("store", {"a": "1", "b": None}, {"x": 1, "y": 2})
    assert artifact_id("run", {}, {}, prefix="bm25").startswith("bm25-")


def test_sealed_folder_verifies_and_a_changed_one_does_not(tmp_path):
    home = Home(tmp_path)
    folder = make(home)
    assert verify(folder) == []
    assert home.finished("store") == ["abc"]
    assert read_manifest(folder).files["deep/a.npy"]["bytes"] == (folder / "deep/a.npy").stat().st_size
    (folder / "deep/a.npy").write_bytes(b"x" * (folder / "deep/a.npy").stat().st_size)
    assert "SHA-256" in verify(folder)[0]
    (folder / "deep/a.npy").write_bytes(b"x")
    assert "has 1 bytes" in verify(folder)[0]
    (folder / "deep/a.npy").unlink()
    assert "is missing" in verify(folder)[0]


def test_unfinished_or_damaged_manifests_are_refused(tmp_path):
    home = Home(tmp_path)
    with pytest.raises(MissingArtifact, match="no finished store 'nothing'"):
        home.find("store", "nothing")
    folder = make(home)
    (folder / "MANIFEST.json").write_text("{")
    with pytest.raises(CorruptArtifact, match="not valid JSON"):
        read_manifest(folder)
    (folder / "MANIFEST.json").write_text('{"kind": "store"}')
    with pytest.raises(CorruptArtifact, match="form of a manifest"):
        read_manifest(folder)


def test_an_error_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def write_half() -> None:
        with atomic_file(path) as stream:
            stream.write(b"half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_half()
    assert read_json(path) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_full_disk_is_said(tmp_path):
    with pytest.raises(UserError, match="disk is full"), atomic_file(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    assert not is_finished(tmp_path)


def test_a_really_full_disk_is_said(tmp_path):
    """/dev/full refuses every write, like a disk without space."""
    (tmp_path / "x.npy.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match="disk is full"):
        save_array(tmp_path / "x.npy", np.zeros(100_000))
    assert not (tmp_path / "x.npy").exists()


def test_object_arrays_are_refused(tmp_path):
    path = tmp_path / "evil.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptArtifact, match="not a readable array"):
        load_array(path)
    path.write_bytes(b"")
    with pytest.raises(CorruptArtifact):
        load_array(path)


def test_nan_is_not_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
