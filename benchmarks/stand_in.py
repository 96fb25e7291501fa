"""A home like the demonstration's, made in two minutes: its corpus and queries, and a model that was never trained.

Everything takes as much time and room as with a trained one.
"""

from __future__ import annotations

from pathlib import Path

from backend.core.tokenizer import TextTokenizer, Tokenization
from backend.gradients.build import EncodeConfig
from backend.models.architecture import ArchitectureConfig, build_model
from backend.models.loading import register_model
from backend.models.tokenizer_training import save_tokenizer, train_tokenizer
from backend.pipeline import stages
from backend.pipeline.demo import STAGES, make_corpus
from backend.pipeline.stages import Subject
from backend.pipeline.workspace import Workspace
from backend.settings import Settings


def stand_in(folder: Path, threads: int) -> Path:
    """Make it under a folder: corpus, model, gradient store, a TrackStar run; returns the home."""
    home, untrained = folder / "home", folder / "untrained"
    architecture = ArchitectureConfig()
    with Workspace(Settings(home=home, threads=threads, device="cpu"), "benchmark") as work:
        work.reporter.plan(STAGES)
        corpus_id, query_set_id = make_corpus(work, tiny=False)
        definition = train_tokenizer(passage.text for passage in work.passages(corpus_id))
        tokenizer = TextTokenizer(definition, Tokenization(0, 0, architecture.context))
        model = build_model(architecture, tokenizer.vocabulary, tokenizer.tokenization, 0)
        model.save_pretrained(untrained)
        save_tokenizer(untrained, definition, architecture.context)
        model_id = register_model(work.home, untrained, name="untrained")
        work.catalogue("model", model_id)
        store_id = stages.encode_passages(work, model_id, corpus_id, EncodeConfig(), lambda *_: None)
        ranked = Subject(corpus_id, query_set_id, model_id, store_id)
        stages.rank_passages(work, "trackstar", ranked, lambda *_: None)
    return home
