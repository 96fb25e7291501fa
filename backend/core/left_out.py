"""Passages that a model was trained without: a user's list of them, and what such a model's configuration says.

A model of this kind is there to be compared with one of the whole corpus. Whatever chooses a model by itself passes it
over (``is_of_part``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.errors import InputError
from backend.core.records import Passage

WITHOUT = "without"
"""In a model's configuration: what it was trained without. Absent from that of a model of the whole corpus."""

LIST = "without.txt"
"""File of such a model's folder: the ids, one a line, in the corpus's order."""

NAMED = 5
"""So many ids an error names."""


@dataclass(frozen=True)
class LeftOut:
    """Passages of a corpus that a training leaves out, and the model of the whole corpus that it is compared with."""

    base: str
    """Id of that model: it gives tokenizer and settings."""
    ids: tuple[str, ...]
    """In the corpus's order."""

    @property
    def text(self) -> str:
        """The contents of ``without.txt``."""
        return "".join(f"{passage_id}\n" for passage_id in self.ids)

    @property
    def settings(self) -> dict[str, Any]:
        """What the model's configuration says; ``sha256`` is that of ``without.txt``."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return {"base": self.base, "passages": len(self.ids), "sha256": digest}

    def rest(self, passages: Sequence[Passage]) -> list[Passage]:
        """The other passages, in their order."""
        left_out = set(self.ids)
        return [passage for passage in passages if passage.id not in left_out]


def is_of_part(config: Mapping[str, Any]) -> bool:
    """Whether a model with this configuration was trained without some passages of its corpus."""
    return WITHOUT in config


def read_ids(path: Path) -> list[str]:
    """The ids of a file, one a line; blank lines and lines that begin with # are passed over.

    Raises InputError for a file that is no UTF-8 text, that names a passage twice, or that names none.
    """
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}.", "Give the path of a file.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no UTF-8 text (byte {error.start + 1}).", "Give a text file, a passage id a line."
        ) from error
    lines = [line.strip() for line in text.split("\n")]
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise InputError(f"{path} names no passage.", "Write the id of a passage on each line.")
    twice = [passage_id for passage_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(f"{path} names {_some(twice)} more than once.", "Name each passage once.")
    return ids


def leave_out(base: str, ids: Sequence[str], passages: Sequence[Passage], corpus_id: str) -> LeftOut:
    """The passages of these ids; raises InputError for ids that the corpus lacks, or that are all it has."""
    known = {passage.id for passage in passages}
    unknown = [passage_id for passage_id in ids if passage_id not in known]
    if unknown:
        raise InputError(
            f"Corpus {corpus_id} has no passage {_some(unknown)}.", "A passage's page shows its id; `--corpus` chooses."
        )
    if len(ids) == len(passages):
        raise InputError(f"These are all passages of corpus {corpus_id}: none is left to train on.", "Name fewer.")
    wanted = set(ids)
    return LeftOut(base, tuple(passage.id for passage in passages if passage.id in wanted))


def _some(ids: Sequence[str]) -> str:
    """The first few ids, and how many more there are."""
    shown = ", ".join(repr(passage_id) for passage_id in ids[:NAMED])
    more = len(ids) - NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown
