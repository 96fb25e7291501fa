"""Re-hash what is stored: `proponent verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.core.artifacts import FOLDERS, MANIFEST, Home, verify
from backend.core.errors import CorruptArtifact, MissingArtifact


def verify_home(home: Home, ids: Sequence[str]) -> dict[str, Any]:
    """Verify some artifacts, or all; ``{"verified", "problems", "unfinished"}``.

    Raises MissingArtifact for an id that the home does not hold.
    """
    folders = {
        path.name: path for name in FOLDERS.values() for path in sorted((home.root / name).glob("*")) if path.is_dir()
    }
    unknown = sorted(set(ids) - folders.keys())
    if unknown:
        raise MissingArtifact(
            f"There is no artifact {unknown[0]!r} in {home.root}.", "`proponent verify` without ids verifies all."
        )
    problems, unfinished, verified = [], [], 0
    for name in ids or folders:
        folder = folders[name]
        if not (folder / MANIFEST).exists():
            unfinished.append(str(folder.relative_to(home.root)))
            continue
        try:
            problems += verify(folder)
        except CorruptArtifact as error:
            problems.append(str(error))
        verified += 1
    return {"verified": verified, "problems": problems, "unfinished": unfinished}
