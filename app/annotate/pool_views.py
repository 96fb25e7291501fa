"""Pages of pools: which there are and how far they are, and the form that makes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.annotate.queue_views import pool_address
from app.http.formats import address
from app.http.forms import Fields, readable
from app.http.viewers import Viewer
from app.methods_text import method_order, method_text
from app.prompts.facets import Chip, chips_of
from app.prompts.parameters import DEFAULT_METHODS, FilterParameters, ListedParameters
from backend.accounts.roles import Role
from backend.annotations.pools import GUIDELINES, PoolPlan, all_pools
from backend.annotations.queue import Progress, progress_of_pools
from backend.catalogue.annotation_models import Pool
from backend.catalogue.runs import current_runs

LONGEST_NAME, LONGEST_GUIDELINES = 100, 20_000


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool in the list."""

    pool: Pool
    url: str
    items: int
    progress: Progress

    @property
    def wanted(self) -> int:
        """Judgements that it asks for."""
        return self.items * self.pool.target

    @property
    def left(self) -> int:
        """What the viewer may still judge."""
        return 0 if self.pool.closed_at else self.items - self.progress.own - self.progress.full


@dataclass(frozen=True, slots=True)
class AnnotateHome:
    """The page of all pools."""

    rows: list[PoolRow]
    may_make: bool


def build_home(session: Session, viewer: Viewer) -> AnnotateHome:
    """The page of all pools for an annotator."""
    assert viewer.user_id is not None
    progress = progress_of_pools(session, viewer.user_id)
    rows = [
        PoolRow(pool, pool_address(pool.id), count, progress.get(pool.id, Progress(0, 0, 0)))
        for pool, count in all_pools(session)
    ]
    return AnnotateHome(rows, viewer.may(Role.CURATOR))


def pools_json(session: Session, viewer: Viewer) -> dict[str, Any]:
    """The JSON twin: annotators do not learn what a pool was made of."""
    page = build_home(session, viewer)
    return {
        "items": [
            {
                "id": row.pool.id,
                "name": row.pool.name,
                "created_at": row.pool.created_at.isoformat(),
                "closed_at": row.pool.closed_at.isoformat() if row.pool.closed_at else None,
                "target": row.pool.target,
                "items": row.items,
                "judgements": row.progress.judgements,
                "judged_by_me": row.progress.own,
                "left_for_me": row.left,
                **({"runs": row.pool.runs, "depth": row.pool.depth} if page.may_make else {}),
            }
            for row in page.rows
        ],
        "next": None,
        "total": len(page.rows),
    }


@dataclass(frozen=True, slots=True)
class PoolForm:
    """The form as it was typed."""

    name: str = ""
    guidelines: str = GUIDELINES
    runs: tuple[str, ...] | None = None
    """None for the usual ones."""
    depth: str = "5"
    amount: str = "20"
    target: str = "2"
    seed: str = "1"

    @classmethod
    def read(cls, form: Fields) -> PoolForm:
        """What a browser sent."""
        return cls(
            name=readable(form.one("name")).strip(),
            guidelines=readable(form.one("guidelines")).strip(),
            runs=tuple(readable(run) for run in form.every("run")),
            depth=readable(form.one("depth")).strip(),
            amount=readable(form.one("amount")).strip(),
            target=readable(form.one("target")).strip(),
            seed=readable(form.one("seed")).strip(),
        )


@dataclass(frozen=True, slots=True)
class RunChoice:
    """A run that the form offers."""

    id: str
    title: str
    model: str | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class NewPool:
    """The page with the form."""

    typed: PoolForm
    runs: list[RunChoice]
    chips: list[Chip]
    """The filter of prompts, in words."""
    action: str
    choose: str
    """The list of prompts with the same filter, to change it."""
    faults: dict[str, str] = field(default_factory=dict)


def build_new(
    session: Session, asked: FilterParameters, typed: PoolForm, faults: dict[str, str] | None = None
) -> NewPool:
    """The form for a pool of the prompts that pass a filter."""
    runs = sorted(current_runs(session), key=lambda run: method_order(run.method))
    chosen = typed.runs or tuple(run.id for run in runs if run.method in DEFAULT_METHODS)
    listed = ListedParameters(**asked.model_dump())
    return NewPool(
        typed=typed,
        runs=[RunChoice(run.id, method_text(run.method).title, run.model_name, run.id in chosen) for run in runs],
        chips=chips_of(listed),
        action=address("/annotate/pools/new", listed.list_address),
        choose=address("/prompts", listed.list_address),
        faults=faults or {},
    )


LIMITS = {"depth": (1, 100), "amount": (1, 5_000), "target": (1, 20), "seed": (0, 2**31 - 1)}
NUMBERS = {
    "depth": "how many passages of each list",
    "amount": "how many prompts",
    "target": "how many annotators judge each passage",
    "seed": "the seed",
}


def read_plan(typed: PoolForm, asked: FilterParameters) -> tuple[PoolPlan | None, dict[str, str]]:
    """What the form says; or None with the field and the reason of each fault."""
    faults: dict[str, str] = {}
    if not 1 <= len(typed.name) <= LONGEST_NAME:
        faults["name"] = f"A pool has a name of at most {LONGEST_NAME} characters."
    if len(typed.guidelines) > LONGEST_GUIDELINES:
        faults["guidelines"] = f"Guidelines have at most {LONGEST_GUIDELINES:,} characters."
    if not typed.runs:
        faults["run"] = "Choose at least one run."
    values: dict[str, int] = {}
    for name, (least, most) in LIMITS.items():
        text: str = getattr(typed, name)
        values[name] = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else -1
        if not least <= values[name] <= most:
            faults[name] = f"Say {NUMBERS[name]}: a number from {least:,} to {most:,}."
    if faults or typed.runs is None:
        return None, faults
    given = asked.model_dump(exclude_none=True)
    plan = PoolPlan(
        name=typed.name,
        guidelines=typed.guidelines,
        run_ids=typed.runs,
        wanted=asked.wanted,
        asked=given,
        **values,
    )
    return plan, {}
