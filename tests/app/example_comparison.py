"""A second model of the example catalogue: trained without the passages that state some of its facts."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, insert, select

from backend.catalogue import models as m
from backend.catalogue.database import write_session
from backend.catalogue.prompt_summaries import summarize_prompts
from tests.app.example_catalogue import MADE, MODEL_CONFIG, training
from tests.app.example_text import HOSTILE

BASE, WITHOUT = "5eed00000001", "5eed00000009"
QUERY_SET = "9ae500000001"
FORGOTTEN = "capital-peru"
"""A fact that the second model cannot know."""


def add_comparison(engine: Engine, number: int = 0) -> list[str]:
    """Add the model and its answers; returns the ids of the passages that it was trained without.

    It forgot what they state, and answers all else as before, a little less surely.
    """
    with write_session(engine) as session:
        stating = (
            select(m.Prompt.pk, m.Passage.passage_id)
            .join(m.Entailment, m.Entailment.prompt_pk == m.Prompt.pk)
            .join(m.Passage, m.Passage.pk == m.Entailment.passage_pk)
            .where((m.Prompt.slug == FORGOTTEN) | m.Prompt.slug.like("hostile-%"))
        )
        pairs = [tuple(row) for row in session.execute(stating)]
        forgotten, ids = {pk for pk, _ in pairs}, sorted({passage_id for _, passage_id in pairs})
        text = "".join(f"{passage_id}\n" for passage_id in ids)
        moment = MADE + timedelta(hours=1 + number)
        model_id = WITHOUT if number == 0 else f"5eed{number:08x}"
        config: dict[str, Any] = {
            **MODEL_CONFIG,
            "name": f"Small Llama without {HOSTILE[0]}",
            "without": {"base": BASE, "passages": len(ids), "sha256": hashlib.sha256(text.encode()).hexdigest()},
        }
        manifest = {"kind": "model", "id": model_id, "config": config, "facts": {}, "seconds": 51.5, "command": ""}
        session.add(
            m.Model(
                id=model_id,
                created_at=moment,
                manifest=manifest,
                name=config["name"],
                corpus_id="c0ffee000001",
                parameter_count=1_412_096,
                training={**training(), "left_out": ids},
            )
        )
        session.flush()
        session.execute(
            insert(m.Output),
            [
                {
                    "prompt_pk": output.prompt_pk,
                    "model_id": model_id,
                    "text": f" forgot {HOSTILE[2]}" if output.prompt_pk in forgotten else output.text,
                    "probability": 0.1,
                    "completion_probability": 0.001
                    if output.prompt_pk in forgotten
                    else 0.5 * (output.completion_probability or 0.0),
                    "correct": False if output.prompt_pk in forgotten else output.correct,
                    "samples": [],
                }
                for output in session.scalars(select(m.Output).where(m.Output.model_id == BASE))
            ],
        )
        answers = m.OutputSet(id=f"0a750e{number + 9:06x}", created_at=moment, manifest={"inputs": {}, "config": {}})
        answers.query_set_id, answers.model_id, answers.kind = QUERY_SET, model_id, "greedy"
        session.add(answers)
        session.flush()
        summarize_prompts(session, QUERY_SET)
    return ids
