"""Judging one passage for one prompt, from the prompt's page: the form, and what stands under a card."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session
from starlette.requests import Request

from app.annotate.forms import Typed
from app.http.formats import address, here, prompt_address
from app.http.viewers import Viewer, viewer_of
from app.prompts.highlight import prompt_pieces
from backend.accounts.roles import Role
from backend.annotations.reading import Shown, of_prompt
from backend.annotations.subjects import Pair
from backend.annotations.writing import find_own
from backend.catalogue.annotation_models import Annotation
from backend.catalogue.models import Prompt
from backend.catalogue.prompts import passages_by_ids
from backend.settings import Settings

AT = "/annotate/in-place"


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of one passage, under its card."""

    shown: list[Shown]
    form: str | None
    """Address of the form; None for a viewer who may not judge."""


@dataclass(frozen=True, slots=True)
class InPlacePage:
    """The page of one passage for one prompt."""

    slug: str
    passage_id: str
    corpus_id: str
    pieces: tuple[str, str, str]
    text: str
    title: str | None
    source: str
    private: bool
    typed: Typed
    others: list[Shown]
    """What others say, and what the viewer said blind."""
    own: Annotation | None
    """A deleted one too."""
    own_shown: Shown | None
    """The same for showing; None for none, or a deleted one."""
    editing: bool
    """The form is open; else what stands is shown."""
    back: str
    here: str
    edit: str
    faults: dict[str, str] = field(default_factory=dict)
    standing: Annotation | None = None
    """What another window of the same annotator has saved meanwhile."""

    @property
    def at(self) -> str:
        """What makes ids of the form unique on a page with several."""
        return hashlib.sha256(self.passage_id.encode()).hexdigest()[:12]

    @property
    def draft(self) -> str:
        """What a browser keeps unsaved words under."""
        return f"in-place/{self.slug}/{self.passage_id}"


def sees_others(request: Request, viewer: Viewer) -> bool:
    """Whether a viewer sees what others say, by the setting."""
    settings: Settings = request.app.state.settings
    return settings.annotations == "everyone" or (settings.annotations == "annotators" and viewer.may(Role.ANNOTATOR))


def form_address(slug: str, passage_id: str, back: str | None = None, *, edit: bool = False) -> str:
    """Address of the form for a passage of a prompt."""
    given = {"prompt": slug, "passage": passage_id, "edit": "true" if edit else None, "back": back}
    return address(AT, given)


def judged_cards(
    request: Request, session: Session, prompt: Prompt, corpus_id: str, ids: Collection[str]
) -> dict[str, Judged]:
    """What to show under the cards of a prompt's page, by passage id; nothing where the viewer sees and writes none."""
    viewer, back = viewer_of(request.scope), here(request)
    judges, others = viewer.may(Role.ANNOTATOR), sees_others(request, viewer)
    if not judges and (not others or not prompt.annotation_count):
        return {}
    passages = passages_by_ids(session, corpus_id, ids)
    known = {passage.passage_id: (passage.content_hash, passage.text) for passage in passages}
    private = {passage.passage_id for passage in passages if passage.withheld}
    shown = of_prompt(session, prompt.query_hash, known, viewer.user_id, others=others)
    return {
        passage_id: Judged(
            [blurred(one, viewer, private=passage_id in private) for one in shown.get(passage_id, [])],
            form_address(prompt.slug, passage_id, back) if judges else None,
        )
        for passage_id in known
        if judges or passage_id in shown
    }


def blurred(one: Shown, viewer: Viewer, *, private: bool) -> Shown:
    """An annotation for a viewer; those who judge nothing here see no names, and no words about a private text."""
    if viewer.may(Role.ANNOTATOR):
        return one
    if private or one.earlier_text:  # which may have been of a private source
        one = replace(one, quote=None, lost=False, note="")
    return replace(one, author="an annotator")


def build_in_place(
    request: Request,
    session: Session,
    viewer: Viewer,
    pair: Pair,
    back: str,
    *,
    edit: bool,
    typed: Typed | None = None,
    faults: dict[str, str] | None = None,
    standing: Annotation | None = None,
) -> InPlacePage:
    """The page; with ``faults`` or ``standing`` the form as it was typed."""
    assert viewer.user_id is not None
    prompt, passage = pair.prompt, pair.passage
    own = find_own(session, viewer.user_id, pair.about(None, {}))
    known = {passage.passage_id: (passage.content_hash, passage.text)}
    others = sees_others(request, viewer)
    said = of_prompt(session, prompt.query_hash, known, viewer.user_id, others=others).get(passage.passage_id, [])
    own_shown = next((one for one in said if own is not None and one.id == own.id), None)
    return InPlacePage(
        slug=prompt.slug,
        passage_id=passage.passage_id,
        corpus_id=passage.corpus_id,
        pieces=prompt_pieces(prompt.prompt, prompt.completion),
        text=passage.text,
        title=passage.title,
        source=passage.source,
        private=passage.withheld,
        typed=typed or Typed.of(own),
        others=[one for one in said if one is not own_shown],
        own=own,
        own_shown=own_shown,
        editing=typed is not None or edit or (own_shown is None and (own is None or not own.deleted_at)),
        back=back or prompt_address(prompt.slug),
        here=form_address(prompt.slug, passage.passage_id, back),
        edit=form_address(prompt.slug, passage.passage_id, back, edit=True),
        faults=faults or {},
        standing=standing,
    )
