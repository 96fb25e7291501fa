"""The stage of `evaluate checkpoints`: the same numbers at every kept checkpoint of a model, and of a smaller one.

What the paper claims is put to the test: that stating a fact and moving the model come closer to each other as models
train and grow ("Scalable Influence and Fact Tracing", arXiv 2410.17413, section 5).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any

import torch

from backend.core.artifacts import Manifest, read_manifest
from backend.core.errors import UserError
from backend.core.files import load_array, read_json, read_jsonl
from backend.core.metrics import mean, retrieval_metrics
from backend.core.records import fact_queries
from backend.evaluation.patches import PatchConfig, PatchedRun, PatchSubject, measure_runs
from backend.gradients.build import EncodeConfig
from backend.gradients.projections import RANDOM, ProjectionConfig
from backend.methods.protocol import looks_at_model, store_projection
from backend.methods.registry import find_method
from backend.models.checkpoint_models import TRAINING, checkpoint_model, kept_steps
from backend.models.generation import GenerationConfig
from backend.models.loading import load_model
from backend.models.training import TrainingConfig
from backend.pipeline import stages
from backend.pipeline.aside import Aside
from backend.pipeline.evaluated_runs import evaluated_runs, store_behind
from backend.pipeline.experiments import FOLDER
from backend.pipeline.measuring import kept, measured
from backend.pipeline.stages import SPOOL_BYTES, Report, Subject
from backend.pipeline.workspace import Workspace

STAGES = (
    ("evaluate/smaller-model", "Training a smaller model"),
    ("evaluate/checkpoints", "Measuring checkpoints"),
)
CHECKPOINTS, SCRATCH = "checkpoints", "scratch"
"""Folder of the experiments: a home of what is kept (the smaller model, numbers); in it, one of what is not."""

METHODS = ("trackstar", "gradient-cosine", "gradient-dot", "bm25")
LOSS_ROWS = 5
"""Rows of the learning curve over which a checkpoint's loss is averaged: steps differ much, their batches being of
passages of one length.
"""


@dataclass(frozen=True)
class CourseConfig:
    """What is measured at every checkpoint."""

    methods: tuple[str, ...] = METHODS
    queries: int | None = 60
    """Facts that are drawn for tail-patch; None: all that a passage states."""
    tail_patch: bool = True
    seed: int = 0
    """Of the sample, and of tail-patch's random passages."""
    k: int = 10
    """Passages of a list whose tail-patch is taken."""

    @property
    def command(self) -> str:
        """The command that measures this."""
        parts = ["proponent evaluate checkpoints", *(f"--method {slug}" for slug in self.methods)]
        if self.tail_patch and self.queries is not None:
            parts.append(f"--queries {self.queries}")
        return " ".join([*parts, *([] if self.tail_patch else ["--no-tail-patch"]), f"--seed {self.seed}"])

    @property
    def identity(self) -> dict[str, Any]:
        """Part of a measurement's configuration."""
        patched = {"k": self.k, "queries": self.queries, "seed": self.seed} if self.tail_patch else None
        methods = {slug: find_method(slug).config() for slug in self.methods}
        return {"methods": methods, "tail_patch": patched}


def smaller(config: TrainingConfig) -> TrainingConfig:
    """The same training of a model of about a fifth of the parameters: 3/8 as wide, with 3/4 of the blocks."""
    shape = config.architecture
    unit = 2 * shape.heads
    return replace(
        config,
        name=f"{config.name}, smaller",
        architecture=replace(
            shape,
            hidden=max(1, round(shape.hidden * 3 / 8 / unit)) * unit,
            intermediate=max(1, round(shape.intermediate * 3 / 64)) * 8,
            layers=max(1, round(shape.layers * 3 / 4)),
        ),
    )


def evaluate_checkpoints(work: Workspace, config: CourseConfig) -> dict[str, Any]:
    """Measure methods along the training of the model behind the current runs, and of a smaller one; the facts.

    Raises UserError where the model was not trained here, or a method is not known or reads another kind of store.
    """
    identity = config.identity
    elsewhere = [slug for slug in config.methods if store_projection(find_method(slug)) != RANDOM]
    if elsewhere:
        raise UserError(f"Checkpoints have random projections, not those of {elsewhere[0]!r}.", "Leave it out.")
    runs, model_id = evaluated_runs(work)
    model = read_manifest(work.folder("model", model_id))
    kept_steps(work.folder("model", model_id))
    store_id = store_behind(work, runs)
    subject = Subject(runs[0].corpus_id, runs[0].query_set_id)
    course = _Course(work, config, subject, model, read_manifest(work.folder("store", store_id)))
    work.reporter.plan(STAGES)
    return measured(
        work,
        "checkpoints",
        {"queries": subject.query_set_id, "corpus": subject.corpus_id, "model": model_id},
        {**identity, "encode": asdict(course.encode), "smaller": asdict(course.smaller)},
        course.measure,
        config.command,
    )


class _Course:
    def __init__(
        self, work: Workspace, config: CourseConfig, subject: Subject, model: Manifest, store: Manifest
    ) -> None:
        self.work, self.config, self.subject, self.model, self.store = work, config, subject, model, store
        self.aside = Aside(work, work.home.root / FOLDER / CHECKPOINTS)
        self.scratch = Aside(self.aside, self.aside.home.root / SCRATCH, quiet=True)
        self.smaller = smaller(TrainingConfig.of_model(model.config))
        self.encode = EncodeConfig(
            projection=ProjectionConfig(rank=store.config["rank"], seed=store.config["seed"]),
            max_batch_tokens=store.config["max_batch_tokens"],
            shard_tokens=store.config["shard_tokens"],
            dtype=store.config["dtype"],
        )

    def measure(self) -> dict[str, Any]:
        """Train the smaller model, then measure every checkpoint of both; finished checkpoints are read."""
        self._check_disk()
        with self.work.reporter.stage(STAGES[0][0], "tokens") as report:
            small_id = stages.train_model(self.aside, str(self.model.inputs["corpus"]), self.smaller, report)
        # Both models side by side, so that what an interrupted measurement has kept can be compared.
        steps = {model_id: kept_steps(self.aside.folder("model", model_id)) for model_id in (self.model.id, small_id)}
        points = [
            (model_id, step)
            for of_place in zip_longest(*([(model_id, step) for step in of] for model_id, of in steps.items()))
            for model_id, step in filter(None, of_place)
        ]
        found: dict[tuple[str, int], dict[str, Any]] = {}
        with self.work.reporter.stage(STAGES[1][0], "checkpoints") as report:
            self._say_estimate(points)
            for number, (model_id, step) in enumerate(points):
                name = "the model" if model_id == self.model.id else "the smaller model"
                started = time.monotonic()
                progress = _within(report, number, len(points), f"{name}, step {step}")
                found[model_id, step] = self._kept(model_id, step, progress)
                taken = time.monotonic() - started
                self.work.reporter.say(f"{number + 1} of {len(points)}: {name} at step {step}, {taken:.0f} s.")
        shutil.rmtree(self.aside.home.root / "runs", ignore_errors=True)
        in_order = [found[model_id, step] for model_id, of_model in steps.items() for step in of_model]
        return {
            "models": [self._about(model_id) for model_id in (self.model.id, small_id)],
            "rows": [row for facts in in_order for row in facts["rows"]],
            "baselines": [row for facts in in_order for row in facts["baselines"]],
            "tail_patch_queries": max(facts["tail_patch_queries"] for facts in in_order),
        }

    def _kept(self, model_id: str, step: int, report: Report) -> dict[str, Any]:
        """A checkpoint's numbers, kept as an artifact; what they were made of is deleted."""
        folder = kept(
            self.aside.home,
            "checkpoint",
            {"queries": self.subject.query_set_id, "corpus": self.subject.corpus_id, "model": model_id},
            {**self.config.identity, "encode": asdict(self.encode), "step": step},
            lambda: self._at(model_id, step, report),
            self.config.command,
        )
        shutil.rmtree(self.scratch.home.root, ignore_errors=True)
        return read_manifest(folder).facts

    def _at(self, model_id: str, step: int, report: Report) -> dict[str, Any]:
        """Answers, rankings and tail-patch of one checkpoint, all of it made in the scratch home."""
        scratch, query_set_id = self.scratch, self.subject.query_set_id
        checkpoint_id = checkpoint_model(self.aside.folder("model", model_id), step, scratch.home)
        training = read_json(scratch.folder("model", checkpoint_id) / TRAINING)
        queries = self.work.queries(query_set_id)
        facts = fact_queries(queries)
        outputs_id = stages.answer_queries(
            scratch, checkpoint_id, query_set_id, GenerationConfig(kind="greedy"), report
        )
        answers = list(read_jsonl(scratch.folder("outputs", outputs_id) / "outputs.jsonl"))
        runs = self._rank(checkpoint_id, report)
        patched = self._patch(checkpoint_id, runs, report) if self.config.tail_patch else {}
        means = {row["method"]: row["tail_patch"] for row in patched.get("means", ()) if _is_whole(row)}
        common = {"model": model_id, "step": step}
        about = {
            **common,
            "tokens": training["tokens"],
            "loss": mean(row["loss"] for row in training["curve"][-LOSS_ROWS:]),
            "learning_rate": training["curve"][-1]["learning_rate"],
            "exact_match": mean(bool(answers[row]["correct"]) for row in facts),
        }
        methods = {run.method for run in runs}
        return {
            "rows": [
                {**about, "method": run.method, **self._retrieval(run, facts), "tail_patch": means.get(run.method)}
                for run in runs
            ],
            "baselines": [
                {**common, "method": method, "tail_patch": value}
                for method, value in means.items()
                if method not in methods
            ],
            "tail_patch_queries": patched.get("queries", 0),
        }

    def _rank(self, checkpoint_id: str, report: Report) -> list[PatchedRun]:
        """A run of each method; those about texts alone are made once, beside the scratch home."""
        subject = self.subject
        methods = [find_method(slug) for slug in self.config.methods]
        if any(looks_at_model(method) for method in methods):
            subject = replace(subject, model_id=checkpoint_id)
        if any(method.row_set is not None for method in methods):
            store_id = stages.encode_passages(self.scratch, checkpoint_id, subject.corpus_id, self.encode, report)
            subject = replace(subject, store_id=store_id)
        runs = []
        for slug, method in zip(self.config.methods, methods, strict=True):
            place = self.scratch if looks_at_model(method) else self.aside
            run_id = stages.rank_passages(place, slug, subject, report)
            runs.append(PatchedRun(run_id, slug, load_array(place.folder("run", run_id) / "proponents.i32.npy")))
        return runs

    def _retrieval(self, run: PatchedRun, facts: Sequence[int]) -> dict[str, Any]:
        """MRR and Recall@10 over the facts that some passage states, as the catalogue works them out."""
        queries, passages = self.work.queries(self.subject.query_set_id), self.work.passages(self.subject.corpus_id)
        found = []
        for row in facts:
            ranked = [passages[position].id for position in run.proponents[row] if position >= 0]
            metrics = retrieval_metrics(ranked, queries[row].entails)
            if metrics is not None:
                found.append(metrics)
        return {
            "n": len(found),
            "mrr": mean(metrics.reciprocal_rank for metrics in found),
            "recall_at_10": mean(metrics.recall_at_10 for metrics in found),
        }

    def _patch(self, checkpoint_id: str, runs: Sequence[PatchedRun], report: Report) -> dict[str, Any]:
        """Tail-patch by the checkpoint's own next step: its optimizer state, its learning rate; on one thread."""
        torch.set_num_threads(1)
        subject = PatchSubject(
            loaded=load_model(self.scratch.home, checkpoint_id, device=self.work.settings.device),
            corpus_id=self.subject.corpus_id,
            query_set_id=self.subject.query_set_id,
            passages=self.work.passages(self.subject.corpus_id),
            queries=self.work.queries(self.subject.query_set_id),
            runs=runs,
        )
        config = PatchConfig(self.config.k, self.config.seed, self.config.queries)
        patches_id = measure_runs(self.scratch.home, subject, config, report, self.scratch.reporter.say)
        return read_manifest(self.scratch.folder("patches", patches_id)).facts

    def _about(self, model_id: str) -> dict[str, Any]:
        model = read_manifest(self.aside.folder("model", model_id))
        facts = model.facts
        return {
            "model": model_id,
            "name": model.config["name"],
            "parameters": facts["parameters"],
            "steps": facts["steps"],
        }

    def _check_disk(self) -> None:
        """Room for one checkpoint at a time: a store, and a run of each method."""
        scores = len(self.work.passages(self.subject.corpus_id)) * len(self.work.queries(self.subject.query_set_id))
        store_bytes = sum(file["bytes"] for file in self.store.files.values())
        self.work.require_disk(store_bytes + scores * (2 * len(self.config.methods) + SPOOL_BYTES))

    def _say_estimate(self, points: Sequence[tuple[str, int]]) -> None:
        own = sum(model_id == self.model.id for model_id, _ in points)
        self.work.reporter.say(
            f"{len(points)} checkpoints of two models; each encodes the whole corpus, ranks it and is deleted again. "
            f"Encoding alone takes about {own * self.store.seconds:,.0f} s for the model's own {own}, as long as its "
            "store took once; less for the smaller one's. Finished checkpoints are kept."
        )


def _is_whole(row: dict[str, Any]) -> bool:
    return row["task"] == "facts" and row["bucket"] == ""


def _within(report: Report, number: int, count: int, name: str) -> Report:
    """Progress of one checkpoint as part of all of them."""

    def told(done: float, total: float, message: str) -> None:
        report(number, count, f"{name}: {message} {100 * done / total:.0f}%" if total else f"{name}: {message}")

    return told
