"""Write a run in the format of the TrackStar paper's result viewer: one JSON object a prompt, with its lists.

A run that was imported from such a file gives back that file's records, field by field and in their order. Every other
run is described in the format's own terms (docs/reference/formats.md).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from backend.catalogue.database import read_session
from backend.catalogue.loading_runs import IMPORTED, LINE
from backend.catalogue.models import (
    Entailment,
    Output,
    OutputSet,
    Passage,
    Prompt,
    QuerySet,
    RankedPassage,
    Ranking,
    Run,
)
from backend.catalogue.withheld import whole_text
from backend.core.errors import MissingArtifact
from backend.core.metrics import BUCKETS

FIELDS, LACKS = "fields", "lacks"
"""Facts of a query in an imported run: its record's own fields, and names of fields that this record did not have."""

Listed = Sequence[tuple[str, str, float]]
"""(id, text, score) of passages, best (for opponents worst) first."""

BATCH = 200
"""Prompts that are read together: bounds memory, and the number of statements."""

ANSWER_FIELDS = ("8b_generations", "8b_confidence", "is_8b_correct")
WRONG = "-wrong"
"""What the id of a wrong prediction ends in, after that of the query that was answered wrongly."""


def core_fields(prompt: str, completion: str, proponents: Listed, opponents: Listed) -> dict[str, Any]:
    """The fields that come from the catalogue's own tables: texts, ids and scores."""
    found: dict[str, Any] = {"inputs_plaintext": prompt, "targets_plaintext": completion}
    for side, listed in (("proponent", proponents), ("opponent", opponents)):
        found[f"{side}s"] = [text for _, text, _ in listed]
        found[f"{side}_ids"] = [passage_id for passage_id, _, _ in listed]
        found[f"{side}_scores"] = [score for _, _, score in listed]
    return found


CORE_FIELDS = tuple(core_fields("", "", (), ()))


def write_viewer_file(engine: Engine, run_id: str, stream: BinaryIO) -> int:
    """Write a run's records, a line each, to a stream; returns their number. Raises MissingArtifact."""
    count = 0
    with read_session(engine) as session:
        for record in viewer_records(session, run_id):
            line = json.dumps(_in_order(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            stream.write(line.encode() + b"\n")
            count += 1
    return count


def viewer_records(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    """A run's records, read a few hundred prompts at a time; raises MissingArtifact for an unknown run."""
    run = session.get(Run, run_id)
    if run is None:
        raise MissingArtifact(
            f"There is no run {run_id!r} in the catalogue.", "`proponent status` lists the runs that there are."
        )
    imported = IMPORTED in run.manifest["config"]
    order = _imported_order(session, run_id) if imported else _order(session, run_id)
    describe = _Native(session, run)
    for start in range(0, len(order), BATCH):
        batch = _read(session, order[start : start + BATCH])
        if imported:
            yield from (_original(ranked) for ranked in batch)
        else:
            yield from describe.records(batch)


def _in_order(record: dict[str, Any]) -> dict[str, Any]:
    """What identifies a record first and its long lists last, for eyes that read a line."""
    first = ("example_id", "query_set", "task", *CORE_FIELDS[:2])
    last = tuple(name for name in record if name.startswith(("proponent", "opponent")))
    between = (name for name in record if name not in first and name not in last)
    return {name: record[name] for name in (*first, *between, *last) if name in record}


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A prompt with its lists in a run."""

    prompt: Prompt
    facts: dict[str, Any]
    proponents: Listed
    opponents: Listed

    def core(self) -> dict[str, Any]:
        return core_fields(self.prompt.prompt, self.prompt.completion, self.proponents, self.opponents)


def _order(session: Session, run_id: str) -> list[int]:
    """Rankings in the order of the query set; readers' questions are not of it."""
    statement = select(Ranking.pk).join(Prompt, Prompt.pk == Ranking.prompt_pk)
    statement = statement.where(Ranking.run_id == run_id, Prompt.asked.is_(False))
    return list(session.scalars(statement.order_by(Prompt.position)))


def _imported_order(session: Session, run_id: str) -> list[int]:
    """Rankings in the order of the file that was imported, without those for prompts that it lacked."""
    statement = select(Ranking.pk, Ranking.facts).where(Ranking.run_id == run_id)
    rows = session.execute(statement.execution_options(yield_per=BATCH))
    lines = {facts[LINE]: pk for pk, facts in rows if LINE in facts}
    return [lines[line] for line in sorted(lines)]


def _read(session: Session, ranking_pks: Sequence[int]) -> list[_Ranked]:
    """Prompts and lists of some rankings, in the given order."""
    statement = select(Ranking.pk, Ranking.facts, Prompt).join(Prompt, Prompt.pk == Ranking.prompt_pk)
    found = {pk: (prompt, facts) for pk, facts, prompt in session.execute(statement.where(Ranking.pk.in_(ranking_pks)))}
    lists: dict[tuple[int, bool], list[tuple[str, str, float]]] = defaultdict(list)
    passages = (
        select(RankedPassage.ranking_pk, RankedPassage.rank, Passage.passage_id, whole_text(), RankedPassage.score)
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .where(RankedPassage.ranking_pk.in_(ranking_pks))
    )
    rows = sorted(session.execute(passages).all(), key=lambda row: (row[0], abs(row[1])))
    for ranking_pk, rank, passage_id, text, score in rows:
        lists[ranking_pk, rank > 0].append((passage_id, text, score))
    return [_Ranked(*found[pk], lists[pk, True], lists[pk, False]) for pk in ranking_pks]


def _original(ranked: _Ranked) -> dict[str, Any]:
    """The record that an imported run was made of."""
    record = {**ranked.core(), **(ranked.prompt.extra or {}), **ranked.facts.get(FIELDS, {})}
    lacks = set(ranked.facts.get(LACKS, ()))
    return {name: value for name, value in record.items() if name not in lacks}


class _Native:
    """Describes the rankings of a run that was made here."""

    def __init__(self, session: Session, run: Run) -> None:
        self._session, self._model_id = session, run.model_id
        query_set = session.get_one(QuerySet, run.query_set_id)
        self._query_set = query_set.name
        outputs_id = query_set.manifest["inputs"].get("outputs")
        answered = None if outputs_id is None else session.get(OutputSet, outputs_id)
        self._answered_set = None if answered is None else answered.query_set_id
        """The query set whose wrong answers this one is made of."""

    def records(self, batch: Sequence[_Ranked]) -> Iterator[dict[str, Any]]:
        """A record for each of some rankings."""
        prompts = [ranked.prompt for ranked in batch]
        outputs, stating, truths = self._outputs(prompts), self._stating(prompts), self._truths(prompts)
        for ranked in batch:
            prompt = ranked.prompt
            yield {
                "example_id": prompt.query_id,
                "query_set": self._query_set,
                "task": prompt.task,
                **_lists(ranked),
                **_frequency(ranked, stating[prompt.pk]),
                **_answer(outputs.get(prompt.pk)),
                **({} if prompt.relation is None else {"relation": prompt.relation}),
                **({"groundtruth": truths[prompt.query_id]} if prompt.query_id in truths else {}),
                # A prompt that was imported keeps what its file said of it, but not what its model answered.
                **{name: value for name, value in (prompt.extra or {}).items() if name not in ANSWER_FIELDS},
            }

    def _outputs(self, prompts: Sequence[Prompt]) -> dict[int, Output]:
        """Answers of the run's model, else of the model whose answer stands for the prompt."""
        found = {
            (output.prompt_pk, output.model_id): output
            for output in self._session.scalars(
                select(Output).where(Output.prompt_pk.in_([prompt.pk for prompt in prompts]))
            )
        }
        chosen = {}
        for prompt in prompts:
            output = found.get((prompt.pk, self._model_id or "")) or found.get(
                (prompt.pk, prompt.output_model_id or "")
            )
            if output is not None:
                chosen[prompt.pk] = output
        return chosen

    def _stating(self, prompts: Sequence[Prompt]) -> dict[int, set[str]]:
        """Ids of the passages that state each prompt's fact."""
        statement = (
            select(Entailment.prompt_pk, Passage.passage_id)
            .join(Passage, Passage.pk == Entailment.passage_pk)
            .where(Entailment.prompt_pk.in_([prompt.pk for prompt in prompts]))
        )
        found: dict[int, set[str]] = defaultdict(set)
        for prompt_pk, passage_id in self._session.execute(statement):
            found[prompt_pk].add(passage_id)
        return found

    def _truths(self, prompts: Sequence[Prompt]) -> dict[str, str]:
        """Of wrong predictions, by their id, the completion that would have been right."""
        if self._answered_set is None:
            return {}
        of_wrong = {prompt.query_id.removesuffix(WRONG): prompt.query_id for prompt in prompts}
        statement = select(Prompt.query_id, Prompt.completion).where(
            Prompt.query_set_id == self._answered_set, Prompt.query_id.in_(of_wrong)
        )
        return {of_wrong[query_id]: completion for query_id, completion in self._session.execute(statement)}


def _lists(ranked: _Ranked) -> dict[str, Any]:
    core = ranked.core()
    return core if ranked.opponents else {name: core[name] for name in core if not name.startswith("opponent")}


def _frequency(ranked: _Ranked, stating: set[str]) -> dict[str, Any]:
    prompt = ranked.prompt
    if prompt.frequency is None and not stating:
        return {}
    counted = {}
    if prompt.frequency is not None and prompt.bucket is not None:
        counted = {"c4_frequency": prompt.frequency, "c4_frequency_bucket": BUCKETS.index(prompt.bucket)}
    return {**counted, "proponent_correct": [passage_id in stating for passage_id, _, _ in ranked.proponents]}


def _answer(output: Output | None) -> dict[str, Any]:
    if output is None:
        return {}
    said = {
        "8b_generations": [sample["text"] for sample in output.samples] or [output.text],
        "8b_confidence": output.probability,
        "is_8b_correct": output.correct,
    }
    return {name: value for name, value in said.items() if value is not None}
