"""Annotations as files: lines of JSON that a fresh installation imports to the same, and rows for tables.

A line is an object with ``kind``: ``pool`` (with its items, which say whose lists a passage stood in) or ``annotation``
(with every version of it). Users are known by their names, queries and passages by the hashes of their texts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.accounts.roles import Role
from backend.accounts.users import NAME
from backend.annotations.reading import Wanted, in_batches, names_of, words_of
from backend.catalogue.account_models import User
from backend.catalogue.annotated import count_annotations
from backend.catalogue.annotation_models import Annotation, AnnotationChange, Pool, PoolItem
from backend.catalogue.models import Prompt
from backend.core.errors import InputError
from backend.core.labels import Label

COLUMNS = (
    "id",
    "annotator",
    "label",
    "quote",
    "start",
    "end",
    "note",
    "task",
    "slug",
    "prompt",
    "completion",
    "passage_id",
    "corpus",
    "runs",
    "pool",
    "query_hash",
    "content_hash",
    "version",
    "created_at",
    "updated_at",
    "deleted_at",
)
"""Columns of the table; ``runs`` is run id -> rank."""


def table_rows(session: Session, wanted: Wanted, blind: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Annotations as rows of a table, from the oldest.

    Of those made in a pool of ``blind`` it does not say whose lists the passage stood in; so in the functions below.
    """
    for batch in in_batches(session, wanted):
        for annotation, author in batch:
            yield _table_row(annotation, author, blind)


def _table_row(annotation: Annotation, author: str, blind: Collection[str]) -> dict[str, Any]:
    about, span = words_of(annotation), annotation.span or {}
    return {
        "id": annotation.id,
        "annotator": author,
        "label": annotation.label,
        "quote": span.get("quote"),
        "start": span.get("start"),
        "end": span.get("end"),
        "note": annotation.note,
        **{name: about[name] for name in ("task", "slug", "prompt", "completion", "passage_id", "corpus")},
        "runs": None if annotation.pool_id in blind else json.dumps(about["runs"]),
        "pool": annotation.pool_id,
        "query_hash": annotation.query_hash,
        "content_hash": annotation.content_hash,
        "version": annotation.version,
        "created_at": _moment(annotation.created_at),
        "updated_at": _moment(annotation.updated_at),
        "deleted_at": _moment(annotation.deleted_at),
    }


def lines(
    session: Session, wanted: Wanted, *, pools: bool = True, blind: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The pools (without a filter: all of them), then the annotations with their history, from the oldest."""
    if pools:
        chosen = select(Pool).order_by(Pool.created_at, Pool.id)
        if wanted.pool is not None:
            chosen = chosen.where(Pool.id == wanted.pool)
        for pool in session.scalars(chosen).all():
            yield _pool_line(session, pool)
    for batch in in_batches(session, wanted):
        yield from annotation_lines(session, batch, blind)


def annotation_lines(
    session: Session, rows: Sequence[tuple[Annotation, str]], blind: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Annotations, given with their authors' names, with their histories."""
    changes: dict[str, list[dict[str, Any]]] = {annotation.id: [] for annotation, _ in rows}
    of_them = AnnotationChange.annotation_id.in_(list(changes))
    joined = select(AnnotationChange, User.name).join(User, User.id == AnnotationChange.user_id).where(of_them)
    for change, by in session.execute(joined.order_by(AnnotationChange.version)):
        changes[change.annotation_id].append(
            {
                "version": change.version,
                "action": change.action,
                "label": change.label,
                "span": change.span,
                "note": change.note,
                "by": by,
                "at": _moment(change.at),
            }
        )
    for annotation, author in rows:
        hidden = {"runs"} if annotation.pool_id in blind else set()
        yield {
            "kind": "annotation",
            "id": annotation.id,
            "annotator": author,
            "pool": annotation.pool_id,
            "query_hash": annotation.query_hash,
            "content_hash": annotation.content_hash,
            "subject": {name: value for name, value in annotation.subject.items() if name not in hidden},
            "label": annotation.label,
            "span": annotation.span,
            "note": annotation.note,
            "version": annotation.version,
            "created_at": _moment(annotation.created_at),
            "updated_at": _moment(annotation.updated_at),
            "deleted_at": _moment(annotation.deleted_at),
            "history": changes[annotation.id],
        }


def _pool_line(session: Session, pool: Pool) -> dict[str, Any]:
    items = session.scalars(
        select(PoolItem).where(PoolItem.pool_id == pool.id).order_by(PoolItem.query_hash, PoolItem.content_hash)
    )
    return {
        "kind": "pool",
        "id": pool.id,
        "name": pool.name,
        "guidelines": pool.guidelines,
        "runs": pool.runs,
        "depth": pool.depth,
        "target": pool.target,
        "seed": pool.seed,
        "prompts": pool.prompts,
        "created_at": _moment(pool.created_at),
        "created_by": names_of(session, {pool.created_by})[pool.created_by],
        "closed_at": _moment(pool.closed_at),
        "items": [
            {name: getattr(item, name) for name in ("query_hash", "content_hash", "slug", "passage_id", "ranks")}
            for item in items
        ],
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Hash = Field(pattern=r"^[0-9a-f]{64}$")
Name = Field(pattern=rf"^{NAME.pattern}$")
Id = Field(pattern=r"^[0-9a-f]{8,64}$")
Known = Field(pattern=f"^({'|'.join(Label)})$")
MOST = 2**31 - 1
Count = Field(ge=1, le=MOST)


class _SpanLine(_Line):
    quote: str
    prefix: str
    suffix: str
    start: int
    end: int


class _Change(_Line):
    version: int = Count
    action: str = Field(pattern="^(create|edit|delete|restore)$")
    label: str | None = Known
    span: _SpanLine | None
    note: str
    by: str = Name
    at: AwareDatetime


class _AnnotationLine(_Line):
    kind: str
    id: str = Id
    annotator: str = Name
    pool: str | None
    query_hash: str = Hash
    content_hash: str = Hash
    subject: dict[str, Any]
    label: str | None = Known
    span: _SpanLine | None
    note: str
    version: int = Count
    created_at: AwareDatetime
    updated_at: AwareDatetime
    deleted_at: AwareDatetime | None
    history: list[_Change] = Field(min_length=1)


class _ItemLine(_Line):
    query_hash: str = Hash
    content_hash: str = Hash
    slug: str
    passage_id: str
    ranks: dict[str, int]


class _PoolLine(_Line):
    kind: str
    id: str = Id
    name: str
    guidelines: str
    runs: list[str]
    depth: int = Count
    target: int = Count
    seed: int = Field(ge=0, le=MOST)
    prompts: dict[str, Any]
    created_at: AwareDatetime
    created_by: str = Name
    closed_at: AwareDatetime | None
    items: list[_ItemLine]


@dataclass
class Imported:
    """What an import did."""

    pools: int = 0
    annotations: int = 0
    known: int = 0
    """Lines that were here already, in this version or a later one."""
    users: int = 0
    """Users that were added for their names; nobody can sign in as them until their password is set."""


def import_lines(session: Session, actor: Actor, text: Iterable[str]) -> Imported:
    """Store pools and annotations of another installation, all or (on an error) none.

    An annotation that is here already is replaced where the file's version is later, with its history. Raises
    InputError, naming the line.
    """
    done = Imported()
    importer = _Importer(session, done)
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            if not isinstance(given, dict) or given.get("kind") not in ("pool", "annotation"):
                raise InputError("it is no object whose kind is pool or annotation")
            if _unstorable(given):
                raise InputError("it holds a NUL character or half a character")
            if given["kind"] == "pool":
                importer.pool(_PoolLine.model_validate(given))
            else:
                importer.annotation(_AnnotationLine.model_validate(given))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise _refused(number, f"{where}: {first['msg']}") from error
        except ValueError as error:
            raise _refused(number, f"it is no JSON ({error})") from error
        except InputError as error:
            raise _refused(number, error.message) from error
    session.flush()
    for query_hash in sorted(importer.queries):
        count_annotations(session, Prompt.query_hash == query_hash)
    note(session, actor, "annotations.import", "", pools=done.pools, annotations=done.annotations, users=done.users)
    return done


def _unstorable(value: Any) -> bool:
    """True where some text is one that no database holds."""
    if isinstance(value, dict):
        return _unstorable([*value, *value.values()])
    if isinstance(value, list):
        return any(_unstorable(part) for part in value)
    return isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def _refused(number: int, reason: str) -> InputError:
    return InputError(
        f"Line {number}: {reason}.", "Import a file that `proponent annotations export` wrote. Nothing was imported."
    )


class _Importer:
    """Stores one line after the other."""

    def __init__(self, session: Session, done: Imported) -> None:
        self._session, self._done = session, done
        self._users: dict[str, int] = {name: pk for pk, name in session.execute(select(User.id, User.name))}
        self.queries: set[str] = set()

    def pool(self, line: _PoolLine) -> None:
        """Store a pool; one that is here already stays as it is."""
        if self._session.get(Pool, line.id) is not None:
            self._done.known += 1
            return
        if len({(item.query_hash, item.content_hash) for item in line.items}) < len(line.items):
            raise InputError(f"the pool {line.id} holds an item twice")
        values = line.model_dump(exclude={"kind", "items", "created_by"})
        self._session.add(Pool(**values, created_by=self._user(line.created_by, Role.CURATOR)))
        self._session.flush()
        self._session.add_all([PoolItem(pool_id=line.id, **item.model_dump()) for item in line.items])
        self._session.flush()
        self._done.pools += 1

    def annotation(self, line: _AnnotationLine) -> None:
        """Store an annotation with its history, unless a version as late is here."""
        here = self._session.get(Annotation, line.id)
        if here is not None and here.version >= line.version:
            self._done.known += 1
            return
        if line.pool is not None and self._session.get(Pool, line.pool) is None:
            raise InputError(f"it was made in the pool {line.pool}, which is neither here nor in a line before")
        if [change.version for change in line.history] != list(range(1, line.version + 1)):
            raise InputError("its history does not hold each version once, in order")
        author = self._user(line.annotator, Role.ANNOTATOR)
        if here is None:
            self._refuse_second(line, author)
            here = Annotation(id=line.id)
        elif here.user_id != author:
            raise InputError(f"the annotation {line.id} is somebody else's here")
        values = line.model_dump(exclude={"kind", "annotator", "pool", "history"})
        for name, value in {**values, "user_id": author, "pool_id": line.pool}.items():
            setattr(here, name, value)
        self._session.add(here)
        self._session.flush()
        for change in line.history:
            values = change.model_dump(exclude={"by"})
            by = self._user(change.by, Role.ANNOTATOR)
            self._session.merge(AnnotationChange(annotation_id=line.id, user_id=by, **values))
        self.queries.add(line.query_hash)
        self._done.annotations += 1

    def _refuse_second(self, line: _AnnotationLine, author: int) -> None:
        pool = Annotation.pool_id.is_(None) if line.pool is None else Annotation.pool_id == line.pool
        same = select(Annotation.id).where(
            Annotation.user_id == author,
            Annotation.query_hash == line.query_hash,
            Annotation.content_hash == line.content_hash,
            pool,
        )
        other = self._session.scalar(same)
        if other is not None:
            raise InputError(f"{line.annotator} has another annotation of the same passage and prompt here ({other})")

    def _user(self, name: str, role: Role) -> int:
        """The user of a name, added where there is none."""
        if name not in self._users:
            made = User(name=name, role=role.value, password_hash=None, created_at=datetime.now(UTC), disabled_at=None)
            self._session.add(made)
            self._session.flush()
            self._users[name] = made.id
            self._done.users += 1
        return self._users[name]
