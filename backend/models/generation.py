"""A model's own answers to the queries of a query set: greedy ones with their correctness, or samples."""

from __future__ import annotations

import math
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import InputError
from backend.core.files import read_jsonl, write_jsonl
from backend.core.metrics import BUCKETS, frequency_bucket, mean
from backend.core.records import Query
from backend.models.batching import equal_length_batches
from backend.models.decoding import Generated, Limits, decode, sampler, target_log_probabilities
from backend.models.loading import LoadedModel, load_model

Progress = Callable[[int, int, str], None]
"""(done, total, message), in queries."""

UNJUDGED = frozenset({"open-generation", "controls"})
"""Tasks in which no answer is right or wrong."""

SLACK_TOKENS = 6
"""A query with a right answer gets as many tokens more than its completion has."""


@dataclass(frozen=True)
class GenerationConfig:
    """How outputs are generated."""

    kind: str = "greedy"
    """greedy: one most probable answer a query; samples: ``count`` draws at temperature 1."""
    max_new_tokens: int = 40
    """Most tokens of an open generation; other queries get their completion's length and a few more at most.
    """
    count: int = 1
    """Samples of a query; 1 for greedy."""
    seed: int = 0
    """Of the samples; a query's samples depend on it and the query's id alone."""
    batch_rows: int = 64
    """Sequences that are generated together: part of the config, since it can move the last bits."""

    def __post_init__(self) -> None:
        if self.kind not in ("greedy", "samples"):
            raise InputError(f"There is no kind of outputs {self.kind!r}.", "Use greedy or samples.")
        if min(self.max_new_tokens, self.count, self.batch_rows) < 1:
            raise InputError("max_new_tokens, count and batch_rows must be at least 1.")
        if self.kind == "greedy" and self.count != 1:
            raise InputError("There is one greedy answer to a query.", "Leave count at 1, or ask for samples.")


def generate_outputs(
    home: Home,
    model: LoadedModel | str,
    query_set_id: str,
    queries: Sequence[Query],
    config: GenerationConfig,
    progress: Progress,
    *,
    device: str = "auto",
    command: str = "",
) -> str:
    """Generate the outputs of a model (loaded, or its id) for a query set; returns the outputs artifact's id.

    Killed, it goes on after the last whole batch. A no-op where it is finished.
    """
    model_id = model if isinstance(model, str) else model.id
    inputs: dict[str, str | None] = {"model": model_id, "queries": query_set_id}
    settings = asdict(config)
    outputs_id = artifact_id("outputs", inputs, settings)
    folder = home.folder("outputs", outputs_id)
    if is_finished(folder):
        return outputs_id
    started = time.monotonic()
    loaded = load_model(home, model, device) if isinstance(model, str) else model
    rows = _all_rows(loaded, folder / "parts", queries, config, progress)
    write_jsonl(folder / "outputs.jsonl", rows)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    seal(
        folder,
        kind="outputs",
        inputs=inputs,
        config=settings,
        facts={"queries": len(rows), **(_exact_match(queries, rows) if config.kind == "greedy" else {})},
        seconds=time.monotonic() - started,
        command=command,
    )
    return outputs_id


def greedy_answers(
    loaded: LoadedModel, queries: Sequence[Query], config: GenerationConfig | None = None
) -> list[Generated]:
    """The most probable continuation of each query's prompt, token by token, in order of the queries."""
    config = config or GenerationConfig()
    results: dict[int, Generated] = {}
    for batch in _batches(loaded, queries, config):
        answers = decode(loaded, *_prompts_and_limits(loaded, [queries[i] for i in batch], config))
        results.update(zip(batch.tolist(), answers, strict=True))
    return [results[index] for index in range(len(queries))]


def completion_probabilities(loaded: LoadedModel, queries: Sequence[Query]) -> list[float]:
    """Probability of each query's completion after its prompt (teacher forcing); 1 for an empty completion.

    Raises InputError where a completion has no token of its own or a query is longer than the context.
    """
    results = [1.0] * len(queries)
    indices, sequences = [], []
    for index, query in enumerate(queries):
        if query.completion:
            encoded = loaded.tokenizer.encode_query(query.prompt, query.completion)
            indices.append(index)
            sequences.append((encoded.ids, encoded.first_target))
    for index, total in zip(indices, target_log_probabilities(loaded, sequences), strict=True):
        results[index] = math.exp(total)
    return results


def is_correct(query: Query, answer: str) -> bool | None:
    """Exact match of a greedy answer; None for tasks without right and wrong, or without a completion.

    A wrong prediction's completion is a wrong answer, so an answer that agrees with it is wrong, and of another
    nothing is known.

    Both are brought to NFC and lower case, white space to single spaces, and a full stop at the completion's
    end is left out; then the answer must begin with the completion as whole words (and whole numbers).
    """
    completion = _normalise(query.completion).rstrip(".!?").rstrip()
    if query.task in UNJUDGED or not completion:
        return None
    agrees = re.match(re.escape(completion) + r"(?!\w|[.,]\d)", _normalise(answer)) is not None
    if query.task == "wrong-predictions":
        return False if agrees else None
    return agrees


def limits_of(loaded: LoadedModel, query: Query, config: GenerationConfig) -> Limits:
    """How far to generate for a query: open generation to the end of the line, anything else one sentence."""
    if query.task == "open-generation" or not query.completion:
        return Limits(config.max_new_tokens, one_sentence=False)
    encoded = loaded.tokenizer.encode_query(query.prompt, query.completion)
    own = len(encoded.ids) - encoded.first_target
    return Limits(max(own + SLACK_TOKENS, 1), one_sentence=True)


def _all_rows(
    loaded: LoadedModel, parts: Path, queries: Sequence[Query], config: GenerationConfig, progress: Progress
) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for number, batch in enumerate(_batches(loaded, queries, config)):
        part = parts / f"{number:05d}.jsonl"
        chosen = [queries[index] for index in batch]
        if not part.exists():
            write_jsonl(part, _rows(loaded, chosen, config))
        rows.update(zip(batch.tolist(), read_jsonl(part), strict=True))
        progress(len(rows), len(queries), "greedy answers" if config.kind == "greedy" else "samples")
    return [rows[index] for index in range(len(queries))]


def _rows(loaded: LoadedModel, queries: Sequence[Query], config: GenerationConfig) -> list[dict[str, Any]]:
    prompts, limits = _prompts_and_limits(loaded, queries, config)
    if config.kind == "samples":
        keys = [f"{query.id}/{draw}" for query in queries for draw in range(config.count)]
        draws = decode(
            loaded,
            [prompt for prompt in prompts for _ in range(config.count)],
            [limit for limit in limits for _ in range(config.count)],
            sampler(config.seed, keys, max(limit.max_new_tokens for limit in limits)),
        )
        samples = [{"text": draw.text, "probability": draw.probability} for draw in draws]
        return [
            {"id": query.id, "samples": samples[i * config.count : (i + 1) * config.count]}
            for i, query in enumerate(queries)
        ]
    answers = decode(loaded, prompts, limits)
    return [
        {
            "id": query.id,
            "text": answer.text,
            "probability": answer.probability,
            "completion_probability": probability,
            "correct": is_correct(query, answer.text),
            "samples": [],
        }
        for query, answer, probability in zip(queries, answers, completion_probabilities(loaded, queries), strict=True)
    ]


def _batches(loaded: LoadedModel, queries: Sequence[Query], config: GenerationConfig) -> list[np.ndarray]:
    """Indices of queries whose prompts have as many tokens."""
    lengths = [len(loaded.tokenizer.encode_prompt(query.prompt)) for query in queries]
    rows = max(1, config.batch_rows // config.count)
    return equal_length_batches(lengths, max_tokens=rows * loaded.context, max_rows=rows)


def _prompts_and_limits(
    loaded: LoadedModel, queries: Sequence[Query], config: GenerationConfig
) -> tuple[list[list[int]], list[Limits]]:
    prompts = [loaded.tokenizer.encode_prompt(query.prompt) for query in queries]
    return prompts, [limits_of(loaded, query, config) for query in queries]


def _exact_match(queries: Iterable[Query], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Share of right answers: for facts by frequency bucket, and for every task that has right answers."""
    judged = [(query, row["correct"]) for query, row in zip(queries, rows, strict=True) if row["correct"] is not None]
    of_facts = [(frequency_bucket(query.frequency), right) for query, right in judged if query.task == "facts"]
    by_bucket = {bucket: mean(right for of, right in of_facts if of == bucket) for bucket in BUCKETS}
    tasks = sorted({query.task for query, _ in judged})
    return {
        "exact_match": {bucket: share for bucket, share in by_bucket.items() if share is not None},
        "exact_match_by_task": {task: mean(right for query, right in judged if query.task == task) for task in tasks},
    }


def _normalise(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())
