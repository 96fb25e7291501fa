"""`proponent annotations`: from one home to another and back."""

from __future__ import annotations

import json
from pathlib import Path

from backend.catalogue.database import migrate, open_catalogue
from tests.app.example_annotations import add_annotations
from tests.app.example_catalogue import fill, settings_for
from tests.command import proponent


def test_export_and_import(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        engine = open_catalogue(settings_for(home))
        migrate(engine)
        fill(engine, with_hostile=True)
        if home is one:
            add_annotations(engine, home)
        engine.dispose()
    file = tmp_path / "annotations.jsonl"
    assert proponent(one, "annotations", "export", str(file)).returncode == 0
    done = proponent(other, "annotations", "import", str(file), "--json")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert (counts["pools"], counts["known"], counts["users"]) == (2, 0, 3)
    assert counts["annotations"] == len(file.read_text().splitlines()) - 2
    assert proponent(other, "annotations", "export").stdout == file.read_text()
    file.write_text(file.read_text() + "{}\n")
    refused = proponent(other, "annotations", "import", str(file))
    assert refused.returncode != 0
    assert f"Line {counts['annotations'] + 3}" in refused.stderr
    assert "Traceback" not in refused.stderr
