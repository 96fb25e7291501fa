"""Re-hash what is stored and check the catalogue: `proponent verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from backend.catalogue.database import open_catalogue
from backend.catalogue.integrity import check_catalogue
from backend.core.artifacts import FOLDERS, MANIFEST, Home, verify
from backend.core.errors import CorruptArtifact, MissingArtifact
from backend.settings import Settings


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


def verify_catalogue(settings: Settings, home: Home) -> list[str]:
    """Problems of the home's catalogue; none where there is no catalogue yet, which a command would make."""
    url = make_url(settings.catalogue_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return []
    engine = open_catalogue(settings)
    try:
        return check_catalogue(engine, home)
    finally:
        engine.dispose()
