"""The demonstration's stages from BM25 on: those that need the numerical libraries."""

from __future__ import annotations

from dataclasses import replace

from backend.gradients.build import EncodeConfig
from backend.models.architecture import ArchitectureConfig
from backend.models.generation import GenerationConfig
from backend.models.training import TrainingConfig
from backend.pipeline import stages
from backend.pipeline.demo import LATER_METHODS
from backend.pipeline.proponent_kinds import measure_kinds
from backend.pipeline.stages import Subject
from backend.pipeline.workspace import Workspace

TRAINING = TrainingConfig(epochs=3, batch_passages=16, peak_learning_rate=0.03)
TINY_TRAINING = TrainingConfig(
    name="demonstration (tiny)",
    architecture=ArchitectureConfig(hidden=32, layers=2, heads=2, intermediate=64),
    vocabulary=600,
    epochs=12,
    batch_tokens=512,
)
GREEDY = GenerationConfig(kind="greedy")
SAMPLES = GenerationConfig(kind="samples", count=5)


def run(work: Workspace, corpus_id: str, query_set_id: str, tiny: bool) -> None:
    """Rank by BM25, train, answer, store gradients, rank by every other method, sample."""
    stage = work.reporter.stage
    base = Subject(corpus_id, query_set_id)
    with stage("demo/bm25", "scores") as report:
        runs = [stages.rank_passages(work, "bm25", base, report)]
    with stage("demo/model", "tokens") as report:
        model_id = stages.train_model(work, corpus_id, TINY_TRAINING if tiny else TRAINING, report)
    with stage("demo/answers", "prompts") as report:
        outputs_id = stages.answer_queries(work, model_id, query_set_id, GREEDY, report)
    subjects = [base]
    with stage("demo/wrong") as report:
        wrong_set_id = stages.make_wrong_predictions(work, outputs_id)
        if wrong_set_id is not None:
            subjects.append(Subject(corpus_id, wrong_set_id))
            stages.answer_queries(work, model_id, wrong_set_id, GREEDY, report)
            stages.rank_passages(work, "bm25", subjects[-1], report)
    with stage("demo/store", "tokens") as report:
        store_id = stages.encode_passages(work, model_id, corpus_id, EncodeConfig(), report)
    subjects = [replace(subject, model_id=model_id, store_id=store_id) for subject in subjects]
    for slug in ("trackstar", *LATER_METHODS):
        with stage(f"demo/{slug}", "scores") as report:
            of_method = [stages.rank_passages(work, slug, subject, report) for subject in subjects]
            runs.append(of_method[0])
    with stage("demo/kinds"):
        measure_kinds(work, runs)
    with stage("demo/samples", "prompts") as report:
        for subject in subjects:
            stages.answer_queries(work, model_id, subject.query_set_id, SAMPLES, report)
