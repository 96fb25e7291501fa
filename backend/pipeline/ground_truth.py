"""`evaluate lds` and `evaluate removal`: a small model on a part of the corpus, trained again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import read_manifest
from backend.core.errors import InputError, UserError
from backend.core.files import load_array
from backend.core.metrics import by_task_and_bucket, frequency_bucket
from backend.core.records import Query
from backend.corpora.artifact import build_corpus, build_query_set
from backend.evaluation.lds import ceiling, lds, mean_with_interval, random_halves
from backend.evaluation.part import PartConfig, choose_part
from backend.evaluation.removal import RemovalConfig, kept_without, loss_changes, query_groups
from backend.evaluation.retraining import Leave, Retrained, log_probabilities
from backend.gradients.build import EncodeConfig
from backend.gradients.projections import ProjectionConfig
from backend.methods.protocol import store_projection
from backend.methods.registry import find_method
from backend.models.architecture import ArchitectureConfig
from backend.models.loading import resolve_device
from backend.models.training import TrainingConfig
from backend.pipeline import stages
from backend.pipeline.evaluated_runs import evaluated_runs
from backend.pipeline.experiments import open_experiments
from backend.pipeline.measuring import measured
from backend.pipeline.stages import Report
from backend.pipeline.workspace import Workspace

SMALL_MODEL = TrainingConfig(
    name="small model on a part of the corpus",
    architecture=ArchitectureConfig(hidden=48, layers=2, heads=4, intermediate=128),
    vocabulary=2048,
    epochs=8,
    checkpoints=1,
)
"""0.15M parameters: learns part of what a few thousand passages state, in some seconds."""

REMOVED_METHODS = ("trackstar", "logra-relatif", "gradient-cosine", "gradient-dot", "trak", "bm25", "random")
"""Methods whose passages are removed unless others are asked for; each has trainings of its own."""


@dataclass(frozen=True)
class SmallConfig:
    """The part of the corpus, and the model that is trained on it and on parts of it."""

    part: PartConfig = field(default_factory=PartConfig)
    training: TrainingConfig = SMALL_MODEL


LDS_ROW = ("method", "task", "bucket", "n", "lds", "low", "high")
REMOVAL_ROW = ("method", "n", "removed", "loss_change", "low", "high")
"""Keys of printed rows, in their order."""


def small_training(epochs: int, seed: int) -> TrainingConfig:
    """The small model's training, with so many epochs and this seed."""
    return replace(SMALL_MODEL, epochs=epochs, seed=seed)


@dataclass(frozen=True)
class LdsConfig:
    """How much is trained for LDS."""

    subsets: int = 32
    """Random halves of the part (M)."""
    seeds: int = 2
    """Trainings of each half (R)."""

    def __post_init__(self) -> None:
        if self.subsets < 3 or self.seeds < 2:
            raise InputError(
                "A rank correlation needs at least 3 subsets, and its ceiling 2 seeds.", "Give larger numbers."
            )


@dataclass(frozen=True)
class _Small:
    """The small model and its runs, in the experiments' home."""

    retrained: Retrained
    runs: dict[str, Path]
    """Method -> folder of its run."""
    facts: dict[str, Any]
    """What is said of the model beside every measurement."""


def evaluate_lds(
    work: Workspace, methods: Sequence[str], config: LdsConfig, small: SmallConfig, command: str
) -> list[dict[str, Any]]:
    """LDS of methods, by default of those with a current run; the rows of `evaluate lds --json`, the ceiling first."""

    def measure(made: _Small, report: Report) -> dict[str, Any]:
        kept = random_halves(len(made.retrained.passages), config.subsets, small.part.seed)
        trainings = [Leave(half, small.part.seed + seed) for half in kept for seed in range(config.seeds)]
        found = _train(work, made, trainings, report).reshape(config.subsets, config.seeds, -1)
        queries = made.retrained.queries
        limit = _cells(queries, ceiling(found), small.part.seed)
        rows = [
            {"method": method, **row}
            for method, folder in made.runs.items()
            for row in _cells(queries, lds(kept, _scores(folder), found), small.part.seed)
        ]
        for row in rows:
            row["lds"] = row.pop("value")
        return {"subsets": config.subsets, "seeds": config.seeds, "ceiling": limit, "rows": rows}

    facts = _stage(work, "lds", "Measuring LDS", methods, asdict(config), small, measure, command)
    limits = [{**row, "method": "ceiling", "lds": row["value"]} for row in facts["ceiling"]]
    return [
        {key: row[key] or None if key == "bucket" else row[key] for key in LDS_ROW}
        for row in (*limits, *facts["rows"])
        if row["task"]
    ]


def evaluate_removal(
    work: Workspace, methods: Sequence[str], config: RemovalConfig, small: SmallConfig, command: str
) -> list[dict[str, Any]]:
    """How much removing what methods rank first hurts; the rows of `evaluate removal --json`.

    Methods are by default those of ``REMOVED_METHODS`` that have a current run.
    """

    def measure(made: _Small, report: Report) -> dict[str, Any]:
        passages, queries = len(made.retrained.passages), len(made.retrained.queries)
        groups = query_groups(queries, config)
        kept = [np.ones(passages, bool)]
        for folder in made.runs.values():
            lists = load_array(folder / "proponents.i32.npy")
            kept += [kept_without(lists, group, config.k, passages) for group in groups]
        seeds = [config.seed + seed for seed in range(config.seeds)]
        trainings = [Leave(one, seed) for one in kept for seed in seeds]
        whole, *found = _train(work, made, trainings, report).reshape(len(kept), config.seeds, queries)
        rows = []
        for place, method in enumerate(made.runs):
            span = slice(place * len(groups), (place + 1) * len(groups))
            change = mean_with_interval(loss_changes(groups, whole, found[span]), config.seed)
            rows.append(
                {
                    "method": method,
                    "n": change.n,
                    "removed": float(np.mean([(~one).sum() for one in kept[1:][span]])),
                    "loss_change": change.value,
                    "low": change.low,
                    "high": change.high,
                }
            )
        drawn = np.concatenate(groups)
        return {
            "k": config.k,
            "group": config.group,
            "seeds": config.seeds,
            "base_log_probability": float(whole[:, drawn].mean()),
            "rows": rows,
        }

    default = methods or [slug for slug in REMOVED_METHODS if slug in {run.method for run in evaluated_runs(work)[0]}]
    facts = _stage(work, "removal", "Removing and training again", default, asdict(config), small, measure, command)
    return [{key: row[key] for key in REMOVAL_ROW} for row in facts["rows"]]


def _stage(
    work: Workspace,
    what: str,
    title: str,
    methods: Sequence[str],
    settings: dict[str, Any],
    small: SmallConfig,
    measure: Callable[[_Small, Report], dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """The facts of a measurement, which is made now where it is not there yet."""
    runs, _ = evaluated_runs(work)
    chosen = sorted({find_method(slug).slug for slug in methods or [run.method for run in runs]})
    inputs = {"corpus": runs[0].corpus_id, "queries": runs[0].query_set_id, "model": None}
    name = f"evaluate/{what}"
    work.reporter.plan([(name, title)])
    with work.reporter.stage(name, "trainings") as report:

        def facts() -> dict[str, Any]:
            with open_experiments(work) as lab:
                made = _small_model(work, lab, inputs, chosen, small, report)
                return {**made.facts, **measure(made, report)}

        return measured(work, what, inputs, {**settings, **asdict(small), "methods": chosen}, facts, command)


def _small_model(
    work: Workspace,
    lab: Workspace,
    inputs: dict[str, str | None],
    methods: Sequence[str],
    config: SmallConfig,
    report: Report,
) -> _Small:
    """Part, model, store and runs: ordinary artifacts of the experiments' home, made where they are not there yet."""
    passages, queries = choose_part(
        work.passages(str(inputs["corpus"])), work.queries(str(inputs["queries"])), config.part
    )
    name = f"part of {read_manifest(work.folder('corpus', str(inputs['corpus']))).config['name']}"
    corpus_id = build_corpus(lab.home, passages, name=name, command="proponent evaluate lds")
    query_set_id = build_query_set(lab.home, corpus_id, queries, name, command="proponent evaluate lds")
    for kind, artifact_id in (("corpus", corpus_id), ("queries", query_set_id)):
        lab.catalogue(kind, artifact_id)
    model_id = stages.train_model(lab, corpus_id, config.training, report)
    runs = {}
    for place, slug in enumerate(methods):
        projection = ProjectionConfig(kind=store_projection(find_method(slug)))
        store_id = stages.encode_passages(lab, model_id, corpus_id, EncodeConfig(projection), report)
        subject = stages.Subject(corpus_id, query_set_id, model_id, store_id)
        report(place, len(methods), f"ranking by {slug}")
        run_id = stages.rank_passages(lab, slug, subject, lambda done, total, message: None)
        runs[slug] = lab.folder("run", run_id)
    found = read_manifest(lab.folder("model", model_id)).facts
    retrained = Retrained(
        home=lab.home,
        model_id=model_id,
        corpus_id=corpus_id,
        query_set_id=query_set_id,
        passages=lab.passages(corpus_id),
        queries=lab.queries(query_set_id),
        config=config.training,
        device=str(resolve_device(work.settings.device)),
    )
    facts = {
        "passages": len(passages),
        "tokens": found["tokens"],
        "queries": len(queries),
        "parameters": found["parameters"],
        "epochs": config.training.epochs,
    }
    return _Small(retrained, runs, facts)


def _train(work: Workspace, small: _Small, trainings: Sequence[Leave], report: Report) -> np.ndarray:
    return log_probabilities(small.retrained, trainings, work.threads, report, work.reporter.say)


def _scores(run: Path) -> np.ndarray:
    """All scores of a run, (queries, passages) float64; raises UserError where it was too large to keep them."""
    path = run / "scores.f16.npy"
    if not path.exists():
        raise UserError(f"Run {run.name} keeps no score matrix: the part is too large.", "Give fewer --passages.")
    return load_array(path).astype(np.float64) * load_array(run / "score_scales.f32.npy")[:, None]


def _cells(queries: Sequence[Query], values: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Means by task and bucket ("": all) with their intervals."""
    cells = by_task_and_bucket(
        (query.task, frequency_bucket(query.frequency), value)
        for query, value in zip(queries, values.tolist(), strict=True)
    )
    return [
        {"task": task, "bucket": bucket, **asdict(mean_with_interval(np.array(found), seed))}
        for (task, bucket), found in cells.items()
    ]
