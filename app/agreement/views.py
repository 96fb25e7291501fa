"""The page of agreement: what its template shows and what its JSON twin holds.

Everybody who reads the site sees it of closed pools, and of open ones only curators do: whoever judges one passage and
then looks at what has changed would learn whose list it stood in and what the others said. Curators see names too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_uppercase
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.agreement.parameters import AgreementParameters
from app.http.formats import address
from app.http.viewers import Viewer
from app.labels_text import LabelText, label_text
from app.methods_text import method_order, method_text
from app.tasks_text import task_order, task_text
from backend.accounts.roles import Role
from backend.annotations.agreement import (
    Agreed,
    Crossed,
    Disputed,
    PairAgreement,
    Precision,
    alphas,
    confused,
    disputed,
    pairs,
    precisions,
    read_judgements,
)
from backend.annotations.reading import names_of
from backend.catalogue.annotation_models import Pool
from backend.core.labels import ORDINAL
from backend.core.records import TASKS


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """A pool to choose."""

    id: str
    name: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class MethodPrecision:
    """A run's precision at each k."""

    run: str
    title: str
    cells: list[Precision]


@dataclass(frozen=True, slots=True)
class AgreementPage:
    """Everything that the page shows."""

    asked: AgreementParameters
    pools: list[PoolChoice]
    tasks: list[tuple[str, str]]
    everything: Agreed
    by_task: list[Agreed]
    by_label: list[Agreed]
    labels: list[LabelText]
    """In the ordinal order, as the rows and columns of the confusion."""
    confusion: list[list[int]]
    pairs: list[PairAgreement]
    disputed: list[Disputed]
    open_pools: int
    """Pools that do not count for the viewer, since people still judge them."""
    names: dict[int, str]
    """User -> what the page calls them."""
    precisions: list[MethodPrecision]
    crossed: Crossed
    twin: str

    @property
    def annotators(self) -> int:
        """How many people judged."""
        return len(self.names)


def build_page(session: Session, asked: AgreementParameters, viewer: Viewer) -> AgreementPage | None:
    """The page for a viewer; None where the chosen pool is not there."""
    pools = session.scalars(select(Pool).order_by(Pool.created_at.desc(), Pool.id)).all()
    if asked.pool is not None and all(pool.id != asked.pool for pool in pools):
        return None
    curates = viewer.may(Role.CURATOR)
    being_judged = frozenset(pool.id for pool in pools if pool.closed_at is None and not curates)
    scope = replace(asked.scope, without=being_judged)
    judgements = read_judgements(session, scope)
    everything, by_task, by_label = alphas(judgements)
    users = sorted({user for labels in judgements.labels.values() for user in labels})
    measured, crossed = precisions(session, judgements, scope)
    given = asked.model_dump(exclude_none=True)
    return AgreementPage(
        asked=asked,
        pools=[PoolChoice(pool.id, pool.name, pool.closed_at is None) for pool in pools],
        tasks=[(task, task_text(task).title) for task in TASKS],
        everything=everything,
        by_task=sorted(by_task, key=lambda one: task_order(one.name or "")),
        by_label=by_label,
        labels=[label_text(label.value) for label in ORDINAL],
        confusion=confused(judgements),
        pairs=pairs(judgements),
        disputed=disputed(judgements),
        open_pools=len(being_judged if asked.pool is None else being_judged & {asked.pool}),
        names=names_of(session, users) if curates else dict(zip(users, map(letter, range(len(users))), strict=True)),
        precisions=_by_run(measured),
        crossed=crossed,
        twin=address("/agreement.json", given),
    )


def letter(place: int) -> str:
    """A, B, ... Z, AA, AB, ...: what an annotator is called before those who need no names."""
    name = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, len(ascii_uppercase))
        name = ascii_uppercase[rest] + name
    return f"annotator {name}"


def _by_run(measured: Sequence[Precision]) -> list[MethodPrecision]:
    runs: dict[str, list[Precision]] = {}
    for cell in measured:
        runs.setdefault(cell.run, []).append(cell)
    ordered = sorted(runs.items(), key=lambda item: (item[1][0].method is None, method_order(item[1][0].method or "")))
    return [
        MethodPrecision(run, method_text(cells[0].method).title if cells[0].method else "a run that is gone", cells)
        for run, cells in ordered
    ]


def agreement_json(page: AgreementPage) -> dict[str, Any]:
    """The JSON twin."""
    return {
        "annotators": page.annotators,
        "alpha": asdict(page.everything),
        "by_task": [asdict(one) for one in page.by_task],
        "by_label": [asdict(one) for one in page.by_label],
        "confusion": {"labels": [label.slug for label in page.labels], "pairs": page.confusion},
        "pairs": [
            {
                "one": page.names[pair.one],
                "other": page.names[pair.other],
                "shared": pair.shared,
                "same": pair.same,
                "nominal": asdict(pair.nominal),
            }
            for pair in page.pairs
        ],
        "disputed": [
            {
                "pool": one.unit[0],
                **asdict(one.subject),
                "labels": {page.names[user]: label for user, label in one.labels.items()},
                "disagreement": one.disagreement,
            }
            for one in page.disputed
        ],
        "open_pools": page.open_pools,
        "precision": [asdict(cell) for row in page.precisions for cell in row.cells],
        "entailment": asdict(page.crossed),
    }
