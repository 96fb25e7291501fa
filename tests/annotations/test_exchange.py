"""What one installation exports another imports to the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.accounts.audit import COMMAND_LINE
from backend.annotations.exchange import Imported, import_lines, lines, table_rows
from backend.annotations.pools import make_pool
from backend.annotations.queue import read_queue
from backend.annotations.reading import Wanted
from backend.annotations.subjects import pair_of_hashes
from backend.annotations.writing import Judgement, delete, save
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Annotation, Prompt, User
from backend.core.errors import InputError
from backend.core.labels import Label
from backend.core.spans import span_at
from tests.annotations.conftest import Site
from tests.annotations.test_pools import PLAN
from tests.app.example_catalogue import fill, open_empty

EVERYTHING = Wanted(deleted=True)


def judge_some(site: Site) -> None:
    with write_session(site.engine) as session:
        pool = make_pool(session, site.ada, PLAN)
        for actor in (site.ada, site.ben):
            for number, item in enumerate(read_queue(session, pool, actor.user_id or 0, actor.name).items[:5]):
                pair = pair_of_hashes(session, item.query_hash, item.content_hash)
                assert pair is not None
                span = span_at(pair.passage.text, 1, 5) if number % 2 else None
                place = pair.about(pool.id if number < 3 else None, {"some-run": number + 1})
                made = save(session, actor, place, Judgement(list(Label)[number], span, f"=note {number}"), 0)
                if number == 1:
                    save(session, actor, place, Judgement(Label.TEMPLATE, None, "on second thought"), 1)
                if number == 4:
                    delete(session, actor, made.id, 1)


def exported(engine: Engine) -> list[str]:
    with read_session(engine) as session:
        return [json.dumps(line) for line in lines(session, EVERYTHING)]


def imported(engine: Engine, text: list[str]) -> Imported:
    with write_session(engine) as session:
        return import_lines(session, COMMAND_LINE, text)


def test_a_fresh_installation_holds_the_same_afterwards(any_site: Site, tmp_path: Path) -> None:
    judge_some(any_site)
    text = exported(any_site.engine)
    fresh = open_empty(tmp_path / "fresh")
    fill(fresh, methods=("trackstar", "bm25"))
    done = imported(fresh, text)
    assert (done.pools, done.annotations, done.known, done.users) == (1, 10, 0, 2)
    assert exported(fresh) == text
    with read_session(fresh) as one, read_session(any_site.engine) as other:
        assert list(table_rows(one, EVERYTHING)) == list(table_rows(other, EVERYTHING))
        counted = select(Prompt.slug, Prompt.annotation_count).where(Prompt.annotation_count > 0).order_by(Prompt.slug)
        assert one.execute(counted).all() == other.execute(counted).all() != []
        assert set(one.scalars(select(User.password_hash))) == {None}
    again = imported(fresh, text)
    assert (again.pools, again.annotations, again.known, again.users) == (0, 0, 11, 0)
    assert exported(fresh) == text
    fresh.dispose()


def test_a_later_version_replaces_an_earlier_one_and_never_the_other_way(site: Site, tmp_path: Path) -> None:
    judge_some(site)
    early = exported(site.engine)
    with write_session(site.engine) as session:
        standing = session.scalars(select(Annotation).where(Annotation.deleted_at.is_(None))).first()
        assert standing is not None
        delete(session, site.ada if standing.user_id == site.ada.user_id else site.ben, standing.id, standing.version)
    late = exported(site.engine)
    fresh = open_empty(tmp_path / "fresh")
    imported(fresh, early)
    assert imported(fresh, late).annotations == 1
    assert exported(fresh) == late
    assert imported(fresh, early).annotations == 0
    assert exported(fresh) == late
    fresh.dispose()


def damaged(**changes: Any) -> str:
    line = {
        "kind": "annotation",
        "id": "ab" * 12,
        "annotator": "ada",
        "pool": None,
        "query_hash": "0" * 64,
        "content_hash": "1" * 64,
        "subject": {},
        "label": "template",
        "span": None,
        "note": "",
        "version": 1,
        "created_at": "2026-03-01T09:30:00+00:00",
        "updated_at": "2026-03-01T09:30:00+00:00",
        "deleted_at": None,
        "history": [
            {
                "version": 1,
                "action": "create",
                "label": "template",
                "span": None,
                "note": "",
                "by": "ada",
                "at": "2026-03-01T09:30:00+00:00",
            }
        ],
    }
    return json.dumps({**line, **changes})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "it is no JSON"),
        ("[]", "no object whose kind"),
        ('{"kind": "flag"}', "no object whose kind"),
        (damaged(label="nonsense"), "label"),
        (damaged(annotator="Robert'); --"), "annotator"),
        (damaged(created_at="2026-03-01T09:30:00"), "created_at"),
        (damaged(version=2), "each version once"),
        (damaged(version=2**40), "version"),
        (damaged(pool="abcdef0123"), "neither here nor in a line before"),
        (damaged(note="a\0b"), "NUL"),
        (damaged(note="\ud800"), "half a character"),
        (damaged(extra=1), "extra"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_is_imported(tmp_path: Path, line: str, reason: str) -> None:
    engine = open_empty(tmp_path)
    with pytest.raises(InputError, match=rf"Line 2: .*{reason}"):
        imported(engine, [damaged(id="0f" * 12, query_hash="2" * 64), line])
    with read_session(engine) as session:
        assert session.scalars(select(Annotation)).all() == []
        assert session.scalars(select(User)).all() == []
    engine.dispose()


def test_somebodys_second_annotation_of_the_same_is_refused(tmp_path: Path) -> None:
    engine = open_empty(tmp_path)
    with pytest.raises(InputError, match="another annotation of the same passage"):
        imported(engine, [damaged(), damaged(id="cd" * 12)])
    engine.dispose()
