"""Read a file of the TrackStar paper's result viewer: one method's lists for the prompts of a query set (JSONL).

A record is checked field by field as far as the catalogue needs it; what it holds beside that is kept as it is.
docs/reference/formats.md has the fields.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.errors import InputError
from backend.corpora.fields import Problems, json_objects

ENTAILING = 0.5
"""An entailment model's score above this counts as stating the fact."""

LARGEST_COUNT = 2**31 - 1
"""A catalogue's column of counts holds no more."""

_FORMATS = "docs/reference/formats.md describes the format."

DEEPEST = 50
"""Levels of nesting that a record may have."""


@dataclass(frozen=True, slots=True)
class ListedPassages:
    """Proponents or opponents of a record, in the file's order."""

    ids: list[str | None]
    """None where the file gives none."""
    texts: list[str]
    scores: list[float]


@dataclass(frozen=True, slots=True)
class ViewerRecord:
    """One line of a file: a prompt with its lists."""

    line: int
    example_id: str
    """The file's, else made of the hash of prompt and completion."""
    query_set: str | None
    prompt: str
    completion: str
    proponents: ListedPassages
    opponents: ListedPassages
    stating: list[bool] | None
    """Of each proponent whether it states the fact; None where the record does not say."""
    fields: dict[str, Any]
    """The record as it was read."""


def read_viewer_file(path: Path) -> Iterator[ViewerRecord]:
    """The records of a file, one at a time.

    Raises InputError for a path that is no file and, at the end, one that lists the problems found (up to twenty),
    each with its line: what was yielded before then is not to be kept.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.", "Give the path of a viewer's JSONL file.")
    problems = Problems(str(path))
    lines: dict[tuple[str | None, str], int] = {}
    for line, values in json_objects(path, problems):
        record = _Record(values, line, problems).read()
        if record is None:
            continue
        first = lines.setdefault((record.query_set, record.example_id), line)
        if first != line:
            problems.add(line, f"example_id {record.example_id!r} is already that of line {first}")
            continue
        yield record
    if not lines and not problems.found:
        problems.add(None, "there are no records in it")
    problems.finish(_FORMATS)


def text_hash(*parts: str) -> str:
    """16 hex digits that stand for texts which came without an id."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class _Record:
    """One object being checked: notes every problem that it finds."""

    def __init__(self, values: dict[str, Any], line: int, problems: Problems) -> None:
        self.values, self.line, self.problems = values, line, problems
        self.valid = True

    def problem(self, message: str) -> None:
        self.valid = False
        self.problems.add(self.line, message)

    def read(self) -> ViewerRecord | None:
        """The record, or None where it has problems."""
        if not self._storable():
            return None
        prompt, completion = self._text("inputs_plaintext"), self._text("targets_plaintext")
        proponents, opponents = self._list("proponent"), self._list("opponent")
        stating = self._stating(len(proponents.texts))
        self._check_answers()
        self._count("c4_frequency")
        query_set = self.values.get("query_set")
        if query_set is not None and not isinstance(query_set, str):
            self.problem("field 'query_set' must be a string")
        example_id = self._identifier("example_id", self.values.get("example_id"))
        if not self.valid:
            return None
        return ViewerRecord(
            self.line,
            example_id or f"example-{text_hash(prompt, completion)}",
            query_set,
            prompt,
            completion,
            proponents,
            opponents,
            stating,
            self.values,
        )

    def _storable(self) -> bool:
        """False, and a problem, for what JSON has no way to write again: NaN and halves of surrogate pairs.

        So are values nested very deeply, which would fail later, wrapped into other objects.
        """
        if _too_deep(self.values):
            self.problem(f"it is nested more than {DEEPEST} levels deep")
            return self.valid
        try:
            json.dumps(self.values, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            self.problem("it holds half of a surrogate pair, which is no Unicode character")
        except ValueError:
            where = next((name for name, value in self.values.items() if _not_finite(value)), None)
            field = "a field" if where is None else f"field {where!r}"
            self.problem(f"{field} holds a number that is not finite (NaN or infinity)")
        return self.valid

    def _text(self, name: str) -> str:
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        self.problem(f"field {name!r} is missing" if value is None else f"field {name!r} must be a string")
        return ""

    def _list(self, side: str) -> ListedPassages:
        texts = self._items(f"{side}s", None)
        scores = self._items(f"{side}_scores", len(texts))
        ids = self.values.get(f"{side}_ids")
        ids = [None] * len(texts) if ids is None else self._items(f"{side}_ids", len(texts))
        if not all(isinstance(text, str) for text in texts):
            self.problem(f"field '{side}s' must be a list of strings")
        numbers = [float(score) if _is_number(score) else math.nan for score in scores]
        if not all(map(math.isfinite, numbers)):
            self.problem(f"field '{side}_scores' must be a list of numbers")
        return ListedPassages([self._identifier(f"{side}_ids", one) for one in ids], texts, numbers)

    def _items(self, name: str, length: int | None) -> list[Any]:
        """A list, of this length; nothing for a missing one."""
        value = self.values.get(name)
        if value is None:
            value = []
        if not isinstance(value, list):
            self.problem(f"field {name!r} must be a list")
            return []
        if length is not None and len(value) != length:
            self.problem(f"field {name!r} has {len(value)} items where the list of texts has {length}")
        return value

    def _identifier(self, name: str, value: object) -> str | None:
        """An id as a string; None for none. Numbers are taken, they are ids in files made by hand."""
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.problem(f"field {name!r} must hold strings")
            return None
        return str(value)

    def _stating(self, length: int) -> list[bool] | None:
        """Whether each proponent states the fact: as the record says, else by the entailment model's scores."""
        scored = self.values.get("proponent_ais_scores") is not None
        scores = self._items("proponent_ais_scores", length) if scored else []
        if not all(score is None or _is_number(score) for score in scores):
            self.problem("field 'proponent_ais_scores' must be a list of numbers")
            return None
        if self.values.get("proponent_correct") is not None:
            flags = self._items("proponent_correct", length)
            if not all(flag is None or _is_flag(flag) for flag in flags):
                self.problem("field 'proponent_correct' must be a list of true and false")
            return [bool(flag) for flag in flags]
        return [score is not None and score > ENTAILING for score in scores] if scored else None

    def _check_answers(self) -> None:
        generations = self.values.get("8b_generations")
        alone = generations is None or isinstance(generations, str)
        if not alone and not (isinstance(generations, list) and all(isinstance(one, str) for one in generations)):
            self.problem("field '8b_generations' must be a list of strings")
        confidence = self.values.get("8b_confidence")
        if confidence is not None and not (_is_number(confidence) and 0 <= confidence <= 1):
            self.problem("field '8b_confidence' must be a number from 0 to 1")
        correct = self.values.get("is_8b_correct")
        if correct is not None and not _is_flag(correct):
            self.problem("field 'is_8b_correct' must be true or false")

    def _count(self, name: str) -> None:
        value = self.values.get(name)
        whole = value is None or (_is_number(value) and value == int(value) and 0 <= value <= LARGEST_COUNT)
        if not whole:
            self.problem(f"field {name!r} must be a whole number from 0 to {LARGEST_COUNT}")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))


def _not_finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return True
    return False


def _too_deep(value: Any) -> bool:
    """Whether a value is nested more than DEEPEST levels; without recursion, so that depth is no danger."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
