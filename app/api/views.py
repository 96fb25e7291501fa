"""What the API answers beyond the JSON twins of pages: lists of passages, and methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from app.api.parameters import PassageListParameters
from app.http.errors import FieldError
from app.http.formats import address
from app.methods_text import METHOD_TEXTS, method_order, method_text
from app.runs.views import summary_json
from backend.catalogue import passages as catalogue
from backend.catalogue.models import Passage
from backend.catalogue.prompt_lists import MeanMetrics, PromptFilter, mean_metrics
from backend.catalogue.runs import RunSummary, current_runs


class UnknownName(Exception):
    """A parameter names something that is not there."""

    def __init__(self, error: FieldError) -> None:
        self.error = error
        super().__init__(error.message)


def passage_list_json(session: Session, asked: PassageListParameters, path: str) -> dict[str, Any]:
    """Passages of a corpus in its order; ``path`` is the address that ``next`` continues. Raises UnknownName."""
    corpus = asked.corpus or catalogue.newest_corpus_id(session)
    if corpus is None:
        return {"items": [], "next": None, "total": 0}
    if asked.corpus and not catalogue.corpus_exists(session, corpus):
        raise UnknownName(FieldError("corpus", "names no corpus of this installation"))
    after = None
    if asked.after is not None:
        after = catalogue.position_of(session, corpus, asked.after)
        if after is None:
            raise UnknownName(FieldError("after", f"names no passage of the corpus {corpus}"))
    found = catalogue.page_of_passages(session, corpus, asked.source, after, asked.limit + 1)
    more, found = len(found) > asked.limit, found[: asked.limit]
    rest = {"source": asked.source, "corpus": corpus, "limit": asked.limit}
    return {
        "items": [_passage_item(passage) for passage in found],
        "next": address(path, {**rest, "after": found[-1].passage_id}) if more else None,
        "total": catalogue.count_passages(session, corpus, asked.source),
    }


def _passage_item(passage: Passage) -> dict[str, Any]:
    return {
        "id": passage.passage_id,
        "corpus": passage.corpus_id,
        "position": passage.position,
        "source": passage.source,
        "title": passage.title,
        "url": passage.url,
        "license": passage.license,
        "group": passage.near_duplicates,
        "text": passage.text,
    }


def method_list_json(session: Session) -> dict[str, Any]:
    """Every method that is known or has a run, in the order of pages."""
    found = _methods(session)
    return {"items": list(found.values()), "next": None, "total": len(found)}


def method_json(session: Session, slug: str) -> dict[str, Any] | None:
    """One method; None if it is neither known nor has a run."""
    return _methods(session).get(slug)


def _methods(session: Session) -> dict[str, dict[str, Any]]:
    """Slug -> method."""
    runs: dict[str, list[RunSummary]] = {slug: [] for slug in METHOD_TEXTS}
    for run in current_runs(session):
        runs.setdefault(run.method, []).append(run)
    means = mean_metrics(session, PromptFilter(task="facts"), [run.id for some in runs.values() for run in some])
    return {slug: _method_item(slug, runs[slug], means) for slug in sorted(runs, key=method_order)}


def _method_item(slug: str, runs: list[RunSummary], means: Mapping[str, MeanMetrics]) -> dict[str, Any]:
    text = method_text(slug)
    return {
        "slug": slug,
        "title": text.title,
        "line": text.line,
        "caveat": text.caveat,
        "looks_at_model": text.looks_at_model,
        "runs": [summary_json(run) for run in runs],
        "metrics": {"facts": asdict(means[slug])} if slug in means else {},
    }
