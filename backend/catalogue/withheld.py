"""Texts of passages from private sources: kept in a table of their own, where no page looks unless it says so.

A withheld passage holds a placeholder instead of its text and no title, so that whatever shows, exports or searches
passages has nothing to give away. Sessions of those who may see more are marked; functions that read passages for
showing put the texts back into what they found (``revealed``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from backend.catalogue.annotation_models import PrivateSource
from backend.catalogue.models import Passage, WithheldText

PLACEHOLDER = "The text of this passage is withheld: its source is private."
SEES_WITHHELD = "proponent.sees_withheld"
"""Key of ``Session.info``: whoever reads may see the texts."""


def withhold(session: Session, which: ColumnElement[bool]) -> None:
    """Take the texts of some passages away from readers."""
    open_ones = (which, Passage.withheld.is_(False))
    kept = select(Passage.pk, Passage.text, Passage.title).where(*open_ones)
    session.execute(insert(WithheldText).from_select(["passage_pk", "text", "title"], kept))
    hide = update(Passage).where(*open_ones).values(text=PLACEHOLDER, title=None, withheld=True)
    session.execute(hide.execution_options(synchronize_session=False))


def release(session: Session, which: ColumnElement[bool]) -> None:
    """Give the texts of some passages back to readers."""
    hidden = (which, Passage.withheld.is_(True))
    text, title = (
        select(column).where(WithheldText.passage_pk == Passage.pk).scalar_subquery()
        for column in (WithheldText.text, WithheldText.title)
    )
    shown = update(Passage).where(*hidden).values(text=func.coalesce(text, Passage.text), title=title, withheld=False)
    session.execute(shown.execution_options(synchronize_session=False))
    open_again = select(Passage.pk).where(Passage.withheld.is_(False))
    gone = delete(WithheldText).where(WithheldText.passage_pk.in_(open_again))
    session.execute(gone.execution_options(synchronize_session=False))


def withhold_private_sources(session: Session, corpus_id: str) -> None:
    """Take away the texts of private sources in a corpus that has just been loaded."""
    private = select(PrivateSource.source)
    withhold(session, (Passage.corpus_id == corpus_id) & Passage.source.in_(private))


def whole_text() -> ColumnElement[str]:
    """The text of a passage in a query, withheld or not: for what the engine and the home's owner do."""
    kept = select(WithheldText.text).where(WithheldText.passage_pk == Passage.pk).scalar_subquery()
    return func.coalesce(kept, Passage.text)


def is_hidden(passage: Passage) -> bool:
    """True for a withheld passage whose text was not put back: its reader may not see it."""
    return passage.withheld and passage.text == PLACEHOLDER


def revealed(session: Session, passages: Sequence[Passage], *, to_all: bool = False) -> Sequence[Passage]:
    """The passages, with their texts and titles where the session's reader may see them, or ``to_all``."""
    hidden = {passage.pk: passage for passage in passages if passage.withheld}
    if hidden and (to_all or session.info.get(SEES_WITHHELD)):
        for kept in session.scalars(select(WithheldText).where(WithheldText.passage_pk.in_(list(hidden)))):
            set_committed_value(hidden[kept.passage_pk], "text", kept.text)
            set_committed_value(hidden[kept.passage_pk], "title", kept.title)
    return passages
