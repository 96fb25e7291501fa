"""What pages say about each label."""

from __future__ import annotations

from dataclasses import dataclass

from backend.core.labels import KEYS, Label


@dataclass(frozen=True, slots=True)
class LabelText:
    """A label in words."""

    slug: str
    key: str
    """The key that chooses it."""
    title: str
    line: str


_WORDS = {
    Label.STATES_FACT: ("states the fact", "whoever reads it can answer the prompt so"),
    Label.PRIOR_RELATION: ("prior: relation", "says how this relation usually turns out"),
    Label.PRIOR_ENTITY: ("prior: entity", "is about the subject or the object"),
    Label.PRIOR_NAME: ("prior: name", "shares only a name or a part of one"),
    Label.TEMPLATE: ("template", "shares only the wording or the form"),
    Label.CONTRADICTS: ("contradicts", "states what cannot be true together with it"),
    Label.IRRELEVANT: ("irrelevant", "none of these"),
}

LABELS = tuple(LabelText(label.value, key, *_WORDS[label]) for key, label in KEYS.items())
"""In the order of their keys."""

_BY_SLUG = {text.slug: text for text in LABELS}


def label_text(slug: str | None) -> LabelText:
    """The text of a label; one that this version does not know gets its slug as its title."""
    if slug is None:
        return LabelText("", "", "no label", "")
    return _BY_SLUG.get(slug) or LabelText(slug, "", slug, "")
