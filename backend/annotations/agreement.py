"""How far annotators agree, and how precise each method is by their labels beside the automatic entailment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from backend.catalogue.annotation_models import Annotation, Pool, PoolItem
from backend.catalogue.models import Entailment, Passage, Prompt, Run
from backend.core.labelling import Alpha, Counts, Sample, alpha, confusion, disagreement, mean_interval
from backend.core.labels import ORDINAL, Label

DEPTHS = (1, 3, 5, 10, 20, 50, 100)
"""The k of precision@k: those up to a pool's depth."""

MOST_DISPUTED, MOST_PAIRS = 30, 20
PLACE = {label.value: place for place, label in enumerate(ORDINAL)}
FACT = PLACE[Label.STATES_FACT]

Unit = tuple[str | None, str, str]
"""(pool id, query hash, content hash): what several annotators judge."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which judgements count."""

    pool: str | None = None
    """One pool; None for all."""
    task: str | None = None
    in_place: bool = False
    """Count annotations made in place too, which were not blind."""
    without: frozenset[str] = frozenset()
    """Pools that do not count."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a unit is, in words."""

    slug: str
    task: str
    passage_id: str
    corpus: str


@dataclass
class Judgements:
    """All judgements of a scope."""

    labels: dict[Unit, dict[int, str]] = field(default_factory=dict)
    """Unit -> user -> label."""
    subjects: dict[Unit, Subject] = field(default_factory=dict)

    def counts(self, task: str | None = None) -> Counts:
        """(units, labels in the order of ORDINAL), of a task or of all."""
        chosen = [unit for unit in self.labels if task is None or self.subjects[unit].task == task]
        return self.counts_of(chosen)

    def counts_of(self, units: Sequence[Unit]) -> Counts:
        """The same of some units."""
        found = np.zeros((len(units), len(ORDINAL)), dtype=np.int64)
        for row, unit in enumerate(units):
            for label in self.labels[unit].values():
                found[row, PLACE[label]] += 1
        return found


@dataclass(frozen=True, slots=True)
class Agreed:
    """Alpha of some judgements; ``name`` is a task's or a label's slug, None for all."""

    name: str | None
    nominal: Alpha
    ordinal: Alpha | None
    """None for one label against all others, which has no order."""


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two annotators on what both have judged."""

    one: int
    other: int
    shared: int
    same: int
    nominal: Alpha


@dataclass(frozen=True, slots=True)
class Disputed:
    """A unit on which annotators differ."""

    unit: Unit
    subject: Subject
    labels: dict[int, str]
    disagreement: float


@dataclass(frozen=True, slots=True)
class Precision:
    """A method's precision@k over the prompts of its pools."""

    run: str
    method: str | None
    """None where the run is gone."""
    k: int
    prompts: int
    """Prompts with a judged passage among the first k."""
    judged: float
    """The share of the first k of these prompts' pooled passages that somebody has judged."""
    labels: float
    """Mean over the prompts: the share of the judged passages that state the fact."""
    interval: tuple[float, float] | None
    compared: int
    """Prompts of which the corpus says which passages state the fact."""
    labels_there: float | None
    """The same mean over those prompts."""
    entailment: float | None
    """The automatic entailment's mean over the same passages of those prompts."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """Passages by what people and the automatic entailment say; where people are split in halves they are left out."""

    both: int
    people_only: int
    entailment_only: int
    neither: int


def read_judgements(session: Session, scope: Scope) -> Judgements:
    """The standing judgements of a scope, in one query."""
    words = [Annotation.subject[name].as_string().label(name) for name in ("slug", "task", "passage_id", "corpus")]
    statement = (
        select(
            Annotation.pool_id,
            Annotation.query_hash,
            Annotation.content_hash,
            Annotation.user_id,
            Annotation.label,
            *words,
        )
        .where(Annotation.deleted_at.is_(None), Annotation.label.in_(list(PLACE)))
        .order_by(Annotation.created_at, Annotation.id)
    )
    if scope.pool is not None:
        statement = statement.where(Annotation.pool_id == scope.pool)
    elif not scope.in_place:
        statement = statement.where(Annotation.pool_id.is_not(None))
    found = Judgements()
    for row in session.execute(statement):
        if row.pool_id in scope.without or (scope.task is not None and row.task != scope.task):
            continue
        unit = (row.pool_id, row.query_hash, row.content_hash)
        found.labels.setdefault(unit, {})[row.user_id] = row.label
        found.subjects[unit] = Subject(row.slug or "", row.task or "", row.passage_id or "", row.corpus or "")
    return found


def alphas(judgements: Judgements) -> tuple[Agreed, list[Agreed], list[Agreed]]:
    """Alpha of all judgements, of each task, and of each label against all others."""
    sample = Sample(judgements.counts())
    everything = Agreed(None, sample.alpha("nominal"), sample.alpha("ordinal"))
    labels = [Agreed(label, sample.of_value(PLACE[label]), None) for label in Label]
    names = sorted({subject.task for subject in judgements.subjects.values()})
    tasks = []
    for task in names:
        of_task = sample if len(names) == 1 else Sample(judgements.counts(task))
        tasks.append(Agreed(task, of_task.alpha("nominal"), of_task.alpha("ordinal")))
    return everything, tasks, labels


def confused(judgements: Judgements) -> list[list[int]]:
    """Pairs of judgements of one passage, label by label in the order of ORDINAL; symmetric."""
    return [[int(count) for count in row] for row in confusion(judgements.counts())]


def pairs(judgements: Judgements) -> list[PairAgreement]:
    """Two annotators who have judged the same, those with most in common first, at most MOST_PAIRS."""
    shared: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    for labels in judgements.labels.values():
        users = sorted(labels)
        for place, one in enumerate(users):
            for other in users[place + 1 :]:
                shared[one, other].append((labels[one], labels[other]))
    found = []
    ordered = sorted(shared.items(), key=lambda item: (-len(item[1]), item[0]))
    for (one, other), both in ordered[:MOST_PAIRS]:
        counts = np.zeros((len(both), len(ORDINAL)), dtype=np.int64)
        for row, given in enumerate(both):
            for label in given:
                counts[row, PLACE[label]] += 1
        same = sum(first == second for first, second in both)
        found.append(PairAgreement(one, other, len(both), same, alpha(counts, "nominal")))
    return found


def disputed(judgements: Judgements) -> list[Disputed]:
    """Units on which annotators differ: the most first, of equal ones those that more have judged."""
    units = list(judgements.labels)
    shares = disagreement(judgements.counts_of(units))
    found = [
        Disputed(unit, judgements.subjects[unit], judgements.labels[unit], float(share))
        for unit, share in zip(units, shares, strict=True)
        if share > 0
    ]
    return sorted(found, key=lambda one: (-one.disagreement, -len(one.labels), one.unit[1:]))[:MOST_DISPUTED]


def precisions(session: Session, judgements: Judgements, scope: Scope) -> tuple[list[Precision], Crossed]:
    """Precision@k of each run of the pools in scope, and what people and entailment say of the same passages.

    A passage states the fact by people where more than half of its judgements say so; at exactly half it counts one
    half. Items that nobody has judged are left out of a prompt's share; how many were judged is said beside.
    """
    statement = (
        select(PoolItem.pool_id, PoolItem.query_hash, PoolItem.content_hash, PoolItem.ranks, Pool.depth)
        .join(Pool, Pool.id == PoolItem.pool_id)
        .order_by(PoolItem.pool_id, PoolItem.query_hash, PoolItem.content_hash)
    )
    if scope.pool is not None:
        statement = statement.where(PoolItem.pool_id == scope.pool)
    items = session.execute(statement).all()
    tasks = {unit[1]: subject.task for unit, subject in judgements.subjects.items()}
    items = [item for item in items if item.query_hash in tasks and item.pool_id not in scope.without]
    votes = {unit: _vote(labels) for unit, labels in judgements.labels.items()}
    stating, meaningful = _entailed(session, scope)
    methods = {run: method for run, method in session.execute(select(Run.id, Run.method))}
    of_run: dict[str, dict[str, list[tuple[int, float | None, bool | None]]]] = defaultdict(lambda: defaultdict(list))
    depth: dict[str, int] = {}
    cells = {"both": 0, "people_only": 0, "entailment_only": 0, "neither": 0}
    for item in items:
        vote = votes.get((item.pool_id, item.query_hash, item.content_hash))
        pair = (item.query_hash, item.content_hash)
        states = pair in stating if item.query_hash in meaningful else None
        for run, rank in item.ranks.items():
            of_run[run][item.query_hash].append((rank, vote, states))
            depth[run] = max(depth.get(run, 0), item.depth)
        if vote in (0.0, 1.0) and states is not None:
            cells[_CELLS[vote == 1.0, states]] += 1
    found = [
        precision
        for run, queries in of_run.items()
        for k in DEPTHS
        if k <= depth[run] and (precision := _precision(run, methods.get(run), queries, k)) is not None
    ]
    return found, Crossed(**cells)


_CELLS = {
    (True, True): "both",
    (True, False): "people_only",
    (False, True): "entailment_only",
    (False, False): "neither",
}


def _precision(
    run: str, method: str | None, queries: dict[str, list[tuple[int, float | None, bool | None]]], k: int
) -> Precision | None:
    """One cell of the table; None where nothing among the first k is judged."""
    means, there, automatic = [], [], []
    judged, pooled = 0, 0
    for rows in queries.values():
        top = [(vote, states) for rank, vote, states in rows if 1 <= rank <= k]
        votes = [vote for vote, _ in top if vote is not None]
        if not votes:
            continue
        judged, pooled = judged + len(votes), pooled + len(top)
        means.append(sum(votes) / len(votes))
        both = [(vote, states) for vote, states in top if vote is not None and states is not None]
        if both:
            there.append(sum(vote for vote, _ in both) / len(both))
            automatic.append(sum(states for _, states in both) / len(both))
    if not means:
        return None
    return Precision(
        run=run,
        method=method,
        k=k,
        prompts=len(means),
        judged=judged / pooled,
        labels=sum(means) / len(means),
        interval=mean_interval(means),
        compared=len(there),
        labels_there=sum(there) / len(there) if there else None,
        entailment=sum(automatic) / len(automatic) if automatic else None,
    )


def _vote(labels: dict[int, str]) -> float:
    stating = sum(PLACE[label] == FACT for label in labels.values())
    return 0.5 if 2 * stating == len(labels) else float(2 * stating > len(labels))


def _entailed(session: Session, scope: Scope) -> tuple[set[tuple[str, str]], set[str]]:
    """(query hash, content hash) of the pooled pairs that the corpus says state the fact, and the queries it knows."""
    of_pool = [] if scope.pool is None else [PoolItem.pool_id == scope.pool]
    pairs_found = session.execute(
        select(PoolItem.query_hash, PoolItem.content_hash)
        .join(Prompt, Prompt.query_hash == PoolItem.query_hash)
        .join(Entailment, Entailment.prompt_pk == Prompt.pk)
        .join(Passage, and_(Passage.pk == Entailment.passage_pk, Passage.content_hash == PoolItem.content_hash))
        .where(*of_pool)
        .distinct()
    )
    known = session.scalars(
        select(PoolItem.query_hash)
        .join(Prompt, Prompt.query_hash == PoolItem.query_hash)
        .where(Prompt.frequency.is_not(None), *of_pool)
        .distinct()
    )
    return {(query, content) for query, content in pairs_found}, set(known)
