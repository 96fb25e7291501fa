"""A catalogue filled through its tables, for tests of pages: no artifacts, no engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from backend.catalogue import models as m
from backend.catalogue.database import open_catalogue, write_session
from backend.catalogue.prompt_summaries import summarize_prompts
from backend.catalogue.search import search_text_of
from backend.core.metrics import BUCKETS, frequency_bucket, retrieval_metrics
from backend.core.records import Passage, Query
from backend.core.text import join_query, slugify, words
from backend.settings import Settings
from tests.app.example_text import HOSTILE, hostile, passages_and_queries

MADE = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MODEL_METHODS = ("trackstar", "trackstar-general", "gradient-cosine", "gradient-dot")
ALL_METHODS = (*MODEL_METHODS, "bm25", "random", "house-blend")
LIFT = {"trackstar": 2.4, "trackstar-general": 2.0, "gradient-cosine": 1.7, "gradient-dot": 0.7, "bm25": 2.0}


def settings_for(home: Path) -> Settings:
    """Settings of a home, whatever the environment says."""
    return Settings(_env_file=None, home=home, database_url=None)  # type: ignore[call-arg]


def open_empty(home: Path) -> Engine:
    """A catalogue with its tables and nothing in them."""
    engine = open_catalogue(settings_for(home))
    m.Base.metadata.create_all(engine)
    return engine


def fill(engine: Engine, methods: tuple[str, ...] = ALL_METHODS, with_hostile: bool = False) -> None:
    """Fill a catalogue: one corpus, one model, queries of all tasks, a run of each method."""
    passages, queries = passages_and_queries()
    if with_hostile:
        extra = hostile()
        passages, queries = passages + extra[0], queries + extra[1]
    with write_session(engine) as session:
        corpus = _artifact(m.Corpus, "c0ffee000001", {}, {"name": "Demonstration"}, passages=len(passages))
        corpus.name, corpus.passage_count = "Demonstration", len(passages)
        session.add(corpus)
        model = _artifact(m.Model, "5eed00000001", {"corpus": corpus.id}, MODEL_CONFIG, parameters=1_412_096)
        model.name, model.corpus_id, model.parameter_count = "Small Llama", corpus.id, 1_412_096
        model.training = training()
        session.flush()
        session.add(model)
        session.flush()
        by_id = _add_passages(session, corpus.id, passages)
        query_set = _artifact(m.QuerySet, "9ae500000001", {"corpus": corpus.id}, {"name": "Demonstration"})
        query_set.name, query_set.corpus_id, query_set.model_id = "Demonstration", corpus.id, None
        session.add(query_set)
        session.flush()
        prompts = _add_prompts(session, query_set.id, queries, by_id)
        session.execute(insert(m.Output), [_output(p, q, model.id) for p, q in zip(prompts, queries, strict=True)])
        for number, method in enumerate(methods):
            add_run(session, method, number, corpus.id, query_set.id, model.id, passages, queries, prompts, by_id)
        answers = _artifact(m.OutputSet, "0a750e000001", {"model": model.id, "queries": query_set.id}, {})
        answers.query_set_id, answers.model_id, answers.kind = query_set.id, model.id, "greedy"
        session.add(answers)
        session.flush()
        summarize_prompts(session, query_set.id)


MODEL_CONFIG: dict[str, Any] = {
    "name": "Small Llama",
    "hidden_size": 128,
    "layers": 6,
    "optimizer": {"name": "adafactor", "learning_rate": 0.003},
    "epochs": 12,
}


def training() -> dict[str, Any]:
    """A training.json."""
    steps = range(1, 1201, 4)
    curve = [
        {
            "step": step,
            "epoch": step / 100,
            "tokens": step * 4096,
            "loss": 1.15 + 5.6 * float(np.exp(-step / 180)) + 0.08 * float(np.sin(step)),
            "learning_rate": 0.003 * min(1, step / 60) * (1 - step / 1300),
        }
        for step in steps
    ]
    rest = {
        "validation": [],
        "checkpoints": [400, 800, 1200],
        "steps": 1200,
        "tokens": 4_915_200,
    }
    return {"curve": curve, **rest}


def _artifact(kind: Any, artifact_id: str, inputs: dict[str, Any], config: dict[str, Any], **facts: Any) -> Any:
    manifest = {
        "kind": kind.__tablename__,
        "id": artifact_id,
        "inputs": inputs,
        "config": config,
        "facts": facts,
        "command": "proponent demo",
        "versions": {"python": "3.11.2", "torch": "2.13.0", "proponent": "0.1.0"},
        "created_at": MADE.isoformat(),
        "seconds": 48.25,
        "peak_memory_bytes": 812_000_000,
    }
    return kind(id=artifact_id, created_at=MADE, manifest=manifest)


def _add_passages(session: Session, corpus_id: str, passages: list[Passage]) -> dict[str, int]:
    rows = [
        {
            "pk": position + 1,
            "corpus_id": corpus_id,
            "position": position,
            "passage_id": passage.id,
            "text": passage.text,
            "source": passage.source,
            "title": passage.title,
            "url": passage.url,
            "license": passage.license,
            "content_hash": passage.content_hash,
            "near_duplicates": passage.group,
        }
        for position, passage in enumerate(passages)
    ]
    session.execute(insert(m.Passage), rows)
    return {row["passage_id"]: row["pk"] for row in rows}


def _add_prompts(session: Session, query_set_id: str, queries: list[Query], by_id: dict[str, int]) -> list[m.Prompt]:
    prompts = [
        m.Prompt(
            pk=position + 1,
            query_set_id=query_set_id,
            position=position,
            query_id=query.id,
            slug=slugify(query.id),
            task=query.task,
            prompt=query.prompt,
            completion=query.completion,
            relation=query.relation,
            subject=query.subject,
            object=query.object,
            aliases={"subject": list(query.aliases.subject), "object": list(query.aliases.object)},
            frequency=query.frequency,
            bucket=frequency_bucket(query.frequency),
            search_text=search_text_of(query.prompt, query.completion, query.subject, query.object, query.relation),
        )
        for position, query in enumerate(queries)
    ]
    session.add_all(prompts)
    session.flush()
    stated = [
        {"prompt_pk": prompt.pk, "passage_pk": by_id[passage_id]}
        for prompt, query in zip(prompts, queries, strict=True)
        for passage_id in query.entails or ()
    ]
    session.execute(insert(m.Entailment), stated)
    return prompts


def _output(prompt: m.Prompt, query: Query, model_id: str) -> dict[str, Any]:
    learnt = query.frequency is None or query.frequency > 1
    correct = learnt and prompt.pk % 5 != 0
    if query.task in ("open-generation", "controls"):
        answer, judged = " went down to the water and did not come back until spring.", None
    else:
        answer, judged = (query.completion if correct else " something else"), correct
    if query.id.startswith("hostile"):
        answer, judged = query.completion, False
    return {
        "prompt_pk": prompt.pk,
        "model_id": model_id,
        "text": answer,
        "probability": 0.97 - 0.002 * prompt.pk if correct else 0.21,
        "completion_probability": 0.97 - 0.002 * prompt.pk if correct else 0.0004,
        "correct": judged,
        "samples": [
            {"text": answer, "probability": 0.61},
            {"text": f"{HOSTILE[0]} a second try", "probability": 0.07},
        ]
        if prompt.pk % 2 or query.id.startswith("hostile")
        else [],
    }


def _scores(method: str, passages: list[Passage], queries: list[Query]) -> np.ndarray:
    """Scores (queries x passages): noise, shared words and the statements, in the method's proportions."""
    chance = np.random.default_rng([ord(letter) for letter in method])
    scores = chance.standard_normal((len(queries), len(passages))) * (0.5 if method == "bm25" else 1.0)
    if method == "random":
        return scores
    sets = [set(words(passage.text)) for passage in passages]
    place = {passage.id: index for index, passage in enumerate(passages)}
    for row, query in enumerate(queries):
        asked = set(words(join_query(query.prompt, query.completion)[0])) - {"the", "is", "of", "in", "a"}
        overlap = np.array([len(asked & held) for held in sets])
        scores[row] += overlap * (1.3 if method == "bm25" else 0.7)
        for passage_id in query.entails or ():
            scores[row, place[passage_id]] += LIFT.get(method, 1.0)
    return scores


def add_run(
    session: Session,
    method: str,
    number: int,
    corpus_id: str,
    query_set_id: str,
    model_id: str,
    passages: list[Passage],
    queries: list[Query],
    prompts: list[m.Prompt],
    by_id: dict[str, int],
) -> str:
    """A run with its rankings, ranked passages and metrics; returns its id."""
    uses_model = method not in ("bm25", "random")
    run_id = f"{method}-{0xABC000000000 + number:012x}"
    inputs = {"model": model_id if uses_model else None, "corpus": corpus_id, "queries": query_set_id}
    run = _artifact(m.Run, run_id, inputs, {"method": method, "damping": 0.1}, mean_lambda=0.9)
    run.created_at = MADE + timedelta(minutes=number)
    run.method, run.corpus_id, run.query_set_id = method, corpus_id, query_set_id
    run.model_id, run.store_id = inputs["model"], "570e00000001" if uses_model else None
    session.add(run)
    session.flush()
    scores = _scores(method, passages, queries)
    pks = np.array([by_id[passage.id] for passage in passages])
    rankings, ranked, cells = [], [], {}
    for row, (prompt, query) in enumerate(zip(prompts, queries, strict=True)):
        values = scores[row]
        order = np.argsort(-values, kind="stable")
        metrics = retrieval_metrics([passages[i].id for i in order[:100]], query.entails)
        pk = number * 10_000 + row + 1
        for name in RETRIEVAL if metrics else ():
            for bucket in ("", prompt.bucket):
                cells.setdefault((query.task, bucket, name), []).append(getattr(metrics, RETRIEVAL[name]))
        rankings.append(
            {
                "pk": pk,
                "run_id": run_id,
                "prompt_pk": prompt.pk,
                "scored": len(values),
                "minimum": float(values.min()),
                "maximum": float(values.max()),
                "histogram": np.histogram(values, 64)[0].tolist(),
                "facts": {"lambda": 0.9, "k": 63, "r_eval": {"n": 56, "query_set": query_set_id}}
                if method == "trackstar"
                else {},
                **{column: getattr(metrics, column) if metrics else None for column in RETRIEVAL.values()},
            }
        )
        sides = [(order[:100], 1), (order[::-1][:20], -1)]
        for side, sign in sides:
            for place, position in enumerate(side, start=1):
                ranked.append(
                    {
                        "ranking_pk": pk,
                        "rank": sign * place,
                        "passage_pk": int(pks[position]),
                        "score": float(values[position]),
                        "percentile": 100.0
                        * (len(values) - 0.5 - int(np.where(order == position)[0][0]))
                        / len(values),
                        "tail_patch": 1.25 / place if method == "trackstar" and place < 4 and sign > 0 else None,
                    }
                )
    session.execute(insert(m.Ranking), rankings)
    session.execute(insert(m.RankedPassage), ranked)
    rows = [
        {
            "run_id": run_id,
            "task": task,
            "bucket": bucket,
            "name": name,
            "value": sum(v) / len(v),
            "n": len(v),
        }
        for (task, bucket, name), v in cells.items()
        if bucket in ("", *BUCKETS)
    ]
    session.execute(insert(m.Metric), rows)
    return run_id


RETRIEVAL = {
    "mrr": "reciprocal_rank",
    "recall_at_10": "recall_at_10",
    "precision_at_1": "precision_at_1",
    "precision_at_10": "precision_at_10",
}


def add_stages(engine: Engine, states: dict[str, str], pipeline: str = "demo") -> None:
    """Stages of a pipeline in the given states (title -> state), as if their process had just written."""
    now = datetime.now(UTC)
    with write_session(engine) as session:
        for sequence, (title, state) in enumerate(states.items()):
            session.merge(
                m.Stage(
                    name=f"{pipeline}/{sequence}",
                    title=title,
                    state="running" if state == "stopped" else state,
                    sequence=sequence,
                    pipeline=pipeline,
                    done=4310.0 if state == "running" else 0.0,
                    total=9612.0,
                    unit="passages",
                    message="The disk is full." if state == "failed" else "",
                    host=None,
                    process_id=None,
                    started_at=now if state != "waiting" else None,
                    updated_at=now - timedelta(minutes=5) if state == "stopped" else now,
                )
            )
