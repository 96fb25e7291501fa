"""Models that were trained without some passages, in statements: which they are, and what they left out."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import JSON, ColumnElement, Select, Text, cast, func, literal, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Model
from backend.core.left_out import WITHOUT

LEFT_OUT = "left_out"
"""Key of ``models.training`` of such a model: the ids in its ``without.txt``."""


def base_of_model() -> ColumnElement[str]:
    """Of a row of ``models``: the id of the model that it is compared with; NULL for a model of the whole corpus.

    In SQL what ``is_of_part`` of backend/core/left_out.py is of a configuration.
    """
    base: ColumnElement[str] = Model.manifest["config", WITHOUT, "base"].as_string()
    return base


def left_out_ids(session: Session, model_id: str) -> list[str]:
    """Ids of the passages that a model was trained without, in the corpus's order."""
    training = session.scalar(select(Model.training).where(Model.id == model_id))
    return list((training or {}).get(LEFT_OUT, ()))


def values_of(texts: Collection[str], dialect: str) -> Select[Any]:
    """Texts as rows of a statement, however many: one parameter, where a database bounds the number of those."""
    listed = literal(json.dumps(list(texts), ensure_ascii=False), Text())
    if dialect == "postgresql":
        return select(func.json_array_elements_text(cast(listed, JSON)).table_valued("value").c.value)
    return select(func.json_each(listed).table_valued("value").c.value)
