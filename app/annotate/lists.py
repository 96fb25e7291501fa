"""Lists of annotations, one with its history, and their files.

Annotators see their own; while a pool is open, not whose lists its passages stood in. Curators see everybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.annotate.in_place import form_address
from app.annotate.queue_views import pool_address
from app.http.formats import address, prompt_address
from app.http.parameters import Parameters, one_of
from app.http.viewers import Viewer
from app.labels_text import LABELS, LabelText, label_text
from app.prompts.highlight import prompt_pieces
from backend.accounts.roles import Role
from backend.annotations.exchange import annotation_lines, lines, table_rows
from backend.annotations.queue import item_of
from backend.annotations.reading import Wanted, listed, names_of, words_of
from backend.annotations.writing import history
from backend.catalogue.account_models import User
from backend.catalogue.annotation_models import Annotation, AnnotationChange, Pool
from backend.core.labels import Label

LIMIT = 50


class ListedAnnotationParameters(Parameters):
    """What narrows a list of annotations."""

    label: Annotated[str, one_of(*Label)] | None = None
    pool: Annotated[str, Field(max_length=64)] | None = None
    """A pool's id, or ``none`` for those made in place."""
    user: Annotated[str, Field(max_length=40)] | None = None
    """An annotator's name; among one's own it changes nothing."""

    def wanted(self, viewer: Viewer, *, own: bool, deleted: bool = False) -> Wanted:
        """The filter of the list."""
        return Wanted(
            user_id=viewer.user_id if own else None,
            user=None if own else self.user,
            pool=self.pool,
            label=self.label,
            deleted=deleted,
        )


class AnnotationParameters(ListedAnnotationParameters):
    """A page of the list: behind the annotation ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = LIMIT


@dataclass(frozen=True, slots=True)
class Row:
    """An annotation in a list."""

    annotation: Annotation
    author: str
    about: dict[str, Any]
    label: LabelText
    pieces: tuple[str, str, str]
    prompt_url: str
    pool: str | None
    """The name of the pool that it was made in."""

    @property
    def url(self) -> str:
        """Address of its own page."""
        return f"/annotations/{self.annotation.id}"


@dataclass(frozen=True, slots=True)
class AnnotationList:
    """A page of annotations."""

    own: bool
    rows: list[Row]
    asked: AnnotationParameters
    labels: tuple[LabelText, ...]
    pools: list[tuple[str, str]]
    """(id, name) of the pools that the list may be narrowed to."""
    next: str | None
    exports: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Version:
    """What an annotation said at a time."""

    change: AnnotationChange
    label: LabelText
    by: str


@dataclass(frozen=True, slots=True)
class OnePage:
    """One annotation with its history, the newest version first."""

    row: Row
    own: bool
    edit: str | None
    """Where it is changed; None for somebody else's."""
    settled: bool
    """Its pool is closed."""
    versions: list[Version]


def build_list(session: Session, asked: AnnotationParameters, viewer: Viewer, *, own: bool) -> AnnotationList:
    """A page of one's own annotations, or of everybody's."""
    found, more = listed(session, asked.wanted(viewer, own=own), asked.limit, asked.after)
    pools = {pool_id: name for pool_id, name in session.execute(select(Pool.id, Pool.name).order_by(Pool.name))}
    path = "/annotate/mine" if own else "/annotations"
    given = asked.model_dump(include={"label", "pool", "user"}, exclude_none=True)
    return AnnotationList(
        own=own,
        rows=[_row(annotation, author, pools) for annotation, author in found],
        asked=asked,
        labels=LABELS,
        pools=list(pools.items()),
        next=address(path, {**given, "after": found[-1][0].id, "limit": _limit(asked)}) if more else None,
        exports=[(kind, address(f"{path}.{kind.lower()}", given)) for kind in ("JSON", "CSV", "JSONL")],
    )


def _limit(asked: AnnotationParameters) -> int | None:
    return None if asked.limit == LIMIT else asked.limit


def _row(annotation: Annotation, author: str, pools: dict[str, str]) -> Row:
    about = words_of(annotation)
    return Row(
        annotation=annotation,
        author=author,
        about=about,
        label=label_text(annotation.label),
        pieces=prompt_pieces(str(about["prompt"]), str(about["completion"])),
        prompt_url=prompt_address(str(about["slug"])),
        pool=None if annotation.pool_id is None else pools.get(annotation.pool_id, annotation.pool_id),
    )


def list_json(session: Session, asked: AnnotationParameters, viewer: Viewer, *, own: bool) -> dict[str, Any]:
    """The JSON twin of a list."""
    found, more = listed(session, asked.wanted(viewer, own=own), asked.limit, asked.after)
    blind = blind_pools(session, viewer)
    path = "/annotate/mine.json" if own else "/annotations.json"
    given = asked.model_dump(include={"label", "pool", "user"}, exclude_none=True)
    return {
        "items": list(annotation_lines(session, found, blind)),
        "next": address(path, {**given, "after": found[-1][0].id, "limit": _limit(asked)}) if more else None,
        "total": None,
    }


def export_lines(
    session: Session, asked: ListedAnnotationParameters, viewer: Viewer, *, own: bool
) -> Iterator[dict[str, Any]]:
    """Lines that another installation imports; pools only for curators."""
    wanted = asked.wanted(viewer, own=own, deleted=not own)
    return lines(session, wanted, pools=not own, blind=blind_pools(session, viewer))


def export_table(
    session: Session, asked: ListedAnnotationParameters, viewer: Viewer, *, own: bool
) -> Iterator[dict[str, Any]]:
    """Rows of a table."""
    return table_rows(session, asked.wanted(viewer, own=own), blind=blind_pools(session, viewer))


def blind_pools(session: Session, viewer: Viewer) -> Collection[str]:
    """Pools of which a viewer may not know whose lists a passage stood in."""
    if viewer.may(Role.CURATOR):
        return ()
    return set(session.scalars(select(Pool.id).where(Pool.closed_at.is_(None))))


def _find(session: Session, viewer: Viewer, annotation_id: str) -> tuple[Annotation, str] | None:
    wanted = select(Annotation, User.name).join(User, User.id == Annotation.user_id)
    if not viewer.may(Role.CURATOR):
        wanted = wanted.where(Annotation.user_id == viewer.user_id)
    row = session.execute(wanted.where(Annotation.id == annotation_id)).one_or_none()
    return None if row is None else (row[0], row[1])


def annotation_json(session: Session, viewer: Viewer, annotation_id: str) -> dict[str, Any] | None:
    """One annotation with its history; None where the viewer has none of this id."""
    found = _find(session, viewer, annotation_id)
    return None if found is None else next(annotation_lines(session, [found], blind_pools(session, viewer)))


def build_one(session: Session, viewer: Viewer, annotation_id: str) -> OnePage | None:
    """The page of one annotation; None where the viewer has none of this id."""
    found = _find(session, viewer, annotation_id)
    if found is None:
        return None
    annotation, author = found
    changes = history(session, annotation.id)
    names = names_of(session, {change.user_id for change in changes})
    pool = None if annotation.pool_id is None else session.get(Pool, annotation.pool_id)
    row = _row(annotation, author, {pool.id: pool.name} if pool else {})
    own = annotation.user_id == viewer.user_id
    edit = None
    if own and pool is None:
        edit = form_address(row.about["slug"], row.about["passage_id"], row.url, edit=True)
    elif own and pool is not None and (item := item_of(session, annotation)) is not None:
        edit = pool_address(pool.id, item)
    versions = [Version(change, label_text(change.label), names[change.user_id]) for change in reversed(changes)]
    settled = pool is not None and pool.closed_at is not None
    return OnePage(row, own, edit, settled, versions)
