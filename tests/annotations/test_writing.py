"""Every change is a new version; what somebody has not seen, nobody overwrites."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from backend.annotations.subjects import pair_in_place, ranks_of
from backend.annotations.writing import (
    Judgement,
    OutdatedAnnotation,
    UnknownAnnotation,
    content_of,
    delete,
    history,
    save,
    undo,
)
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Annotation, AuditEvent, Prompt
from backend.core.labels import Label
from backend.core.spans import span_at
from tests.annotations.conftest import BM25, TRACKSTAR, Site, about

STATES = Judgement(Label.STATES_FACT, span_at("Lima is the capital", 0, 4), "")
IRRELEVANT = Judgement(Label.IRRELEVANT, None, "nothing to do with it")


def test_an_annotation_has_a_life_and_a_history(site: Site) -> None:
    with write_session(site.engine) as session:
        made = save(session, site.ada, about(), STATES, 0)
        assert (made.version, made.label, made.span) == (1, "states-fact", STATES.span and STATES.span.as_json())
    with write_session(site.engine) as session:
        assert save(session, site.ada, about(), IRRELEVANT, 1).version == 2
    with write_session(site.engine) as session:
        assert delete(session, site.ada, made.id, 2).deleted_at is not None
    with write_session(site.engine) as session:
        back = undo(session, site.ada, made.id, 3)
        assert (back.label, back.note, back.deleted_at) == ("irrelevant", "nothing to do with it", None)
    with write_session(site.engine) as session:
        assert undo(session, site.ada, made.id, 4).deleted_at is not None
    with write_session(site.engine) as session:
        assert save(session, site.ada, about(), STATES, 5).deleted_at is None
    with read_session(site.engine) as session:
        actions = [change.action for change in history(session, made.id)]
        assert actions == ["create", "edit", "delete", "restore", "delete", "restore"]
        trail = session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject == made.id).order_by(AuditEvent.pk)
        ).all()
        assert trail == [f"annotation.{action}" for action in actions]


def test_undoing_an_edit_brings_back_what_was_said_and_undoing_the_first_takes_it_back(site: Site) -> None:
    with write_session(site.engine) as session:
        made = save(session, site.ada, about(), STATES, 0)
        save(session, site.ada, about(), IRRELEVANT, 1)
        assert content_of(undo(session, site.ada, made.id, 2))[0] == "states-fact"
        assert content_of(undo(session, site.ada, made.id, 3))[0] == "irrelevant"
        other = save(session, site.ada, about(5), STATES, 0)
        assert undo(session, site.ada, other.id, 1).deleted_at is not None


def test_a_form_sent_twice_counts_once_and_an_old_one_changes_nothing(site: Site) -> None:
    with write_session(site.engine) as session:
        first = save(session, site.ada, about(), STATES, 0)
        assert save(session, site.ada, about(), STATES, 0).version == 1
        with pytest.raises(OutdatedAnnotation) as outdated:
            save(session, site.ada, about(), IRRELEVANT, 0)
        assert outdated.value.standing.id == first.id
        with pytest.raises(OutdatedAnnotation):
            delete(session, site.ada, first.id, 0)
        with pytest.raises(OutdatedAnnotation):
            undo(session, site.ada, first.id, 9)
        assert content_of(first)[0] == "states-fact"


def test_nobody_changes_what_is_somebody_elses(site: Site) -> None:
    with write_session(site.engine) as session:
        adas = save(session, site.ada, about(), STATES, 0)
        bens = save(session, site.ben, about(), IRRELEVANT, 0)
        assert adas.id != bens.id
        for act in (delete, undo):
            with pytest.raises(UnknownAnnotation):
                act(session, site.ben, adas.id, 1)
            with pytest.raises(UnknownAnnotation):
                act(session, site.ben, "0" * 24, 1)
        assert adas.label == "states-fact"


def test_people_who_write_at_once_all_keep_what_they_wrote(any_site: Site) -> None:
    """Two annotators judge the same passages and each sends every form twice, all at the same time."""
    failed: list[BaseException] = []

    def work(who: str) -> None:
        actor = getattr(any_site, who)
        judgement = Judgement(Label.STATES_FACT if who == "ada" else Label.TEMPLATE, None, who)
        try:
            for number in range(6):
                with write_session(any_site.engine, shown=False) as session:
                    save(session, actor, about(number), judgement, 0)
        except Exception as error:  # noqa: BLE001 - shown below, whatever it is
            failed.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in ("ada", "ben", "ada", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with read_session(any_site.engine) as session:
        rows = session.execute(select(Annotation.user_id, Annotation.note, Annotation.version))
        found = sorted((user, said, version) for user, said, version in rows)
    assert found == sorted([(any_site.ada.user_id, "ada", 1)] * 6 + [(any_site.ben.user_id, "ben", 1)] * 6)


def test_a_prompt_counts_its_standing_annotations_and_a_judgement_knows_whose_lists_it_stood_in(any_site: Site) -> None:
    with write_session(any_site.engine) as session:
        pair = pair_in_place(session, "capital-peru", "fact/capital/peru/0")
        assert pair is not None
        assert pair_in_place(session, "capital-peru", "nowhere") is None
        ranks = ranks_of(session, pair)
        assert set(ranks) == {TRACKSTAR, BM25}
        made = save(session, any_site.ada, pair.about(None, ranks), STATES, 0)
        save(session, any_site.ben, pair.about(None, ranks), IRRELEVANT, 0)
        counts = select(func.sum(Prompt.annotation_count))
        assert session.scalar(counts) == 2
        delete(session, any_site.ada, made.id, 1)
        assert session.scalar(counts) == 1
        assert session.get_one(Annotation, made.id).subject["runs"] == ranks
