"""What a passage and a query given by a user must look like, field by field; how problems are collected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.core.errors import InputError
from backend.core.records import TASKS, Aliases, Passage, Query

MAX_PROBLEMS = 20
"""So many problems of one file are reported at once."""

MAX_ID_LENGTH = 200
RESERVED_ENDINGS = (".json", ".csv", ".jsonl")
"""An id with such an ending could not be told from a request for a format of its page."""

PASSAGE_FIELDS = ("id", "text", "source", "title", "url", "license")
QUERY_FIELDS = (
    "id",
    "task",
    "prompt",
    "completion",
    "relation",
    "subject",
    "object",
    "aliases",
    "entails",
)

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class Problems:
    """Collects what is wrong with one file; ``finish`` raises one InputError that names everything found."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.found: list[str] = []

    @property
    def full(self) -> bool:
        """True once no more problems will be reported, so that reading on is of no use."""
        return len(self.found) >= MAX_PROBLEMS

    def add(self, line: int | str | None, message: str) -> None:
        """Note a problem in a line (a number), in a row ("row 7"), or in the whole file (None)."""
        if self.full:
            return
        where = f", line {line}" if isinstance(line, int) else f", {line}" if line else ""
        place = f"{self.location}{where}"
        self.found.append(f"{place}: {message}")

    def finish(self, remedy: str) -> None:
        """Raise InputError if anything was found."""
        if not self.found:
            return
        listed = "\n".join(self.found)
        if self.full:
            listed += f"\n(only the first {MAX_PROBLEMS} problems are listed)"
        raise InputError(listed, remedy)


class Row:
    """One JSON object being checked: a method returns a clean value, or None and notes a problem."""

    def __init__(self, values: Mapping[str, Any], line: int | str, problems: Problems) -> None:
        self.values = values
        self.line = line
        self.problems = problems
        self.removed = 0
        """Control characters removed so far."""
        self.valid = True

    def problem(self, message: str) -> None:
        """Note a problem of this row."""
        self.valid = False
        self.problems.add(self.line, message)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Every key must be one of ``known``; a misspelt one is met with the nearest."""
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(known)})"
                self.problem(f"unknown field {key!r}{hint}")

    def identifier(self) -> str | None:
        """The field ``id``: printable, without white space, fit for a URL."""
        value = self.values.get("id")
        if value is None:
            self.problem("field 'id' is missing")
        elif not isinstance(value, str):
            self.problem(f"field 'id' must be a string, not {_kind(value)}")
        elif not value:
            self.problem("field 'id' is empty")
        elif reason := _bad_identifier(value):
            self.problem(f"id {_shown(value)} {reason}")
        else:
            return value
        return None

    def required(self, name: str) -> str | None:
        """A string that is there and holds more than white space."""
        value = self.values.get(name)
        if value is None:
            self.problem(f"field {name!r} is missing")
            return None
        return self._string(name, value, may_be_empty=False)

    def optional(self, name: str, *, may_be_empty: bool = True) -> str | None:
        """A string, or None where it is missing or null."""
        value = self.values.get(name)
        return None if value is None else self._string(name, value, may_be_empty=may_be_empty)

    def strings(self, name: str, value: object) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        if not isinstance(value, list):
            self.problem(f"field {name!r} must be a list of strings, not {_kind(value)}")
            return ()
        cleaned = (self._string(name, item, may_be_empty=False) for item in value)
        return tuple(item for item in cleaned if item is not None)

    def _string(self, name: str, value: object, *, may_be_empty: bool) -> str | None:
        if not isinstance(value, str):
            self.problem(f"field {name!r} must be a string, not {_kind(value)}")
            return None
        if _SURROGATES.search(value):
            self.problem(f"field {name!r} holds half of a surrogate pair, which is no Unicode character")
            return None
        cleaned, removed = remove_controls(value)
        self.removed += removed
        if not may_be_empty and not cleaned.strip():
            self.problem(f"field {name!r} is empty or only white space")
            return None
        return cleaned


def remove_controls(text: str) -> tuple[str, int]:
    """The text without C0 control characters other than line feed and tab; and how many there were.

    U+0002 and U+0003 mark matches in search snippets, NUL ends strings in databases: none of them may be
    stored.
    """
    return _CONTROLS.subn("", text)


def passage_of(row: Row) -> Passage | None:
    """The passage that a row describes, or None where the row has problems."""
    row.refuse_unknown(PASSAGE_FIELDS)
    identifier = row.identifier()
    text = row.required("text")
    source, title, url, licence = (row.optional(name) for name in ("source", "title", "url", "license"))
    if not row.valid or identifier is None or text is None:
        return None
    return Passage(identifier, text, source or "", title, url, licence)


def query_of(row: Row) -> Query | None:
    """The query that a row describes, or None where the row has problems."""
    row.refuse_unknown(QUERY_FIELDS)
    identifier = row.identifier()
    task = row.required("task")
    if task is not None and task not in TASKS:
        row.problem(f"unknown task {task!r} (known: {', '.join(TASKS)})")
    prompt = row.required("prompt")
    completion = row.required("completion")
    relation, subject, object_ = (row.optional(name, may_be_empty=False) for name in ("relation", "subject", "object"))
    aliases = _aliases(row)
    entails = _entails(row)
    if not row.valid or identifier is None or task is None or prompt is None or completion is None:
        return None
    return Query(identifier, task, prompt, completion, relation, subject, object_, aliases, entails)


def _aliases(row: Row) -> Aliases:
    value = row.values.get("aliases")
    if value is None:
        return Aliases()
    if isinstance(value, list):
        return Aliases(object=row.strings("aliases", value))
    if not isinstance(value, dict):
        row.problem(f"field 'aliases' must be a list of strings or an object, not {_kind(value)}")
        return Aliases()
    for key in value:
        if key not in ("subject", "object"):
            row.problem(f"field 'aliases' has an unknown key {key!r} (known: subject, object)")
    return Aliases(
        subject=row.strings("aliases.subject", value.get("subject") or []),
        object=row.strings("aliases.object", value.get("object") or []),
    )


def _entails(row: Row) -> tuple[str, ...] | None:
    value = row.values.get("entails")
    if value is None:
        return None
    ids = row.strings("entails", value)
    for repeated in sorted({item for item in ids if ids.count(item) > 1}) if len(set(ids)) < len(ids) else ():
        row.problem(f"field 'entails' names passage {repeated!r} twice")
    return ids


def _bad_identifier(value: str) -> str | None:
    if len(value) > MAX_ID_LENGTH:
        return f"has {len(value)} characters; at most {MAX_ID_LENGTH} are allowed"
    if any(character.isspace() for character in value):
        return "holds white space"
    if not value.isprintable():
        return "holds a character that cannot be printed"
    if value in (".", ".."):
        return "is not allowed: it means a folder"
    if value.lower().endswith(RESERVED_ENDINGS):
        return f"ends in one of {', '.join(RESERVED_ENDINGS)}, which name a page's formats"
    return None


def json_objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line of a JSONL file that holds one; blank lines are passed over."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if problems.full:
                return
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                problems.add(number, f"not UTF-8 (byte {error.start + 1} of the line)")
                continue
            except (ValueError, RecursionError) as error:
                problems.add(number, f"not JSON ({error})")
                continue
            if not isinstance(value, dict):
                problems.add(number, f"not a JSON object but {_kind(value)}")
                continue
            yield number, value


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return "null" if value is None else names.get(type(value), "an object")


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
