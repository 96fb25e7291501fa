"""What an annotator can say of a passage that was retrieved for a query.

States the fact is what TrackStar's paper calls entailment (Chang et al., ICLR 2025, section 5); the priors are what it
found behind passages that do not entail (section 7).
"""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """What a passage is to a query; the values are used in exports and addresses."""

    STATES_FACT = "states-fact"
    PRIOR_RELATION = "prior-relation"
    PRIOR_ENTITY = "prior-entity"
    PRIOR_NAME = "prior-name"
    TEMPLATE = "template"
    CONTRADICTS = "contradicts"
    IRRELEVANT = "irrelevant"


KEYS: dict[str, Label] = {str(place): label for place, label in enumerate(Label, start=1)}
"""The digit that chooses each label."""

ORDINAL: tuple[Label, ...] = (
    Label.CONTRADICTS,
    Label.IRRELEVANT,
    Label.TEMPLATE,
    Label.PRIOR_NAME,
    Label.PRIOR_ENTITY,
    Label.PRIOR_RELATION,
    Label.STATES_FACT,
)
"""From what speaks against the completion to what states it: the order in which labels are compared as ordinal."""
