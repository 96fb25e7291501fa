"""What several files of the viewer hold, put together: one corpus, one query set, each file's lists over them.

Passages come in the order in which they first appear, prompts are matched across files, and lists are positions. The
texts of passages are held once; of a record what its run needs to give it back.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.catalogue.viewer_export import core_fields
from backend.core.errors import InputError
from backend.core.files import canonical_json
from backend.corpora.fields import Problems, Row
from backend.corpora.viewer_file import ListedPassages, ViewerRecord, text_hash

SIDES = ("proponent", "opponent")
Place = tuple[Path, int]
"""A file and a line in it."""


@dataclass(slots=True)
class Example:
    """A prompt of the union and what the files say of it."""

    record_id: str
    query_set: str | None
    prompt: str
    completion: str
    place: Place
    fields: dict[str, Any] = field(default_factory=dict)
    """What is not about a list: of each field the first value that is not null."""
    judged: bool = False
    """Some file says which of its passages state the fact."""
    stating: dict[int, None] = field(default_factory=dict)
    """Positions of the passages that do, in order."""


@dataclass(slots=True)
class ListedRecord:
    """One record of a file: what its run holds of it."""

    line: int
    keys: tuple[str, ...]
    own: dict[str, Any]
    """Fields about a list, and fields whose value is not the prompt's."""
    positions: dict[str, array[int]]
    """Of each side the listed passages."""
    scores: dict[str, array[float]]


@dataclass(slots=True)
class FileLists:
    """A file's lists, by the position of their example."""

    path: Path
    method: str
    records: dict[int, ListedRecord] = field(default_factory=dict)


class Union:
    """Everything that some files hold, put together."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        """Of the passages."""
        self.texts: list[str] = []
        self.examples: list[Example] = []
        self.files: list[FileLists] = []
        self._positions_of: dict[str, int] = {}
        self._first_file, self._first_line = array("i"), array("q")
        self._examples_of: dict[tuple[str | None, str], int] = {}
        self._keys: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._repeated, self._renamed, self._with_nul = 0, 0, 0

    def begin(self, path: Path, method: str) -> FileLists:
        """Start with a further file."""
        self.files.append(FileLists(path, method))
        return self.files[-1]

    def add(self, lists: FileLists, record: ViewerRecord) -> None:
        """Add a record of the last file; raises InputError where it contradicts an earlier one, of any file."""
        place = (lists.path, record.line)
        index = self._example(record, place)
        example = self.examples[index]
        listed = dict(zip(SIDES, (record.proponents, record.opponents), strict=True))
        positions = {side: self._positions(passages, place) for side, passages in listed.items()}
        if record.stating is not None:
            example.judged = True
            pairs = zip(positions["proponent"], record.stating, strict=True)
            example.stating.update((position, None) for position, stating in pairs if stating)
        ranked = (self._ranked(positions[side], passages.scores) for side, passages in listed.items())
        rebuilt = core_fields(clean(record.prompt), clean(record.completion), *ranked)
        keys = tuple(record.fields)
        lists.records[index] = ListedRecord(
            line=record.line,
            keys=self._keys.setdefault(keys, keys),
            own=_own_fields(record.fields, rebuilt, example.fields),
            positions=positions,
            scores={side: array("d", passages.scores) for side, passages in listed.items()},
        )

    def query_ids(self) -> list[str]:
        """An id for each example: its own where that is unique, else with its query set's name before it."""
        counts = Counter(example.record_id for example in self.examples)
        ids: dict[str, None] = {}
        for example in self.examples:
            alone = counts[example.record_id] == 1 or example.query_set is None
            wanted = clean(example.record_id if alone else f"{example.query_set}/{example.record_id}")
            identifier, number = wanted, 2
            while identifier in ids:
                identifier, number = f"{wanted}~{number}", number + 1
            ids[identifier] = None
        return list(ids)

    def remarks(self) -> list[str]:
        """What a person should know of what was read."""
        said = (
            (self._with_nul, "Texts with NUL, which is shown as U+FFFD"),
            (self._renamed, "Passages whose id cannot stand in an address and was replaced"),
            (self._repeated, "Passages that one list names again, there given an id of their own"),
        )
        return [f"{what}: {count}." for count, what in said if count]

    def _example(self, record: ViewerRecord, place: Place) -> int:
        """Where the record's prompt is in the union."""
        index = self._examples_of.setdefault((record.query_set, record.example_id), len(self.examples))
        if index == len(self.examples):
            texts = (record.prompt, record.completion)
            self.examples.append(Example(record.example_id, record.query_set, *texts, place))
            self._with_nul += sum("\0" in text for text in texts)
        known = self.examples[index]
        for what, here, there in (
            ("inputs_plaintext", record.prompt, known.prompt),
            ("targets_plaintext", record.completion, known.completion),
        ):
            if here != there:
                raise InputError(
                    f"{_shown(place)}: example_id {record.example_id!r} has another {what} than in "
                    f"{_shown(known.place)}.",
                    "Import together only files over the same prompts, or give each example an id of its own.",
                )
        return index

    def _positions(self, listed: ListedPassages, place: Place) -> array[int]:
        found: dict[int, None] = {}
        for given, text in zip(listed.ids, listed.texts, strict=True):
            passage_id = f"text-{text_hash(text)}" if given is None else self._usable(given)
            position, number = self._position(passage_id, text, place), 2
            self._repeated += position in found
            while position in found:
                position, number = self._position(f"{passage_id}~{number}", text, place), number + 1
            found[position] = None
        return array("i", found)

    def _usable(self, given: str) -> str:
        """The id itself, unless it cannot stand in an address."""
        if given in self._positions_of or Row({"id": given}, 0, Problems("")).identifier() is not None:
            return given
        made = f"id-{text_hash(given)}"
        self._renamed += made not in self._positions_of
        return made

    def _position(self, passage_id: str, text: str, place: Place) -> int:
        position = self._positions_of.setdefault(passage_id, len(self.ids))
        if position == len(self.ids):
            self.ids.append(passage_id)
            self.texts.append(text)
            self._first_file.append(len(self.files) - 1)
            self._first_line.append(place[1])
            self._with_nul += "\0" in text
        elif self.texts[position] != text:
            first = (self.files[self._first_file[position]].path, self._first_line[position])
            raise InputError(
                f"{_shown(place)}: passage {passage_id!r} has another text than in {_shown(first)}.",
                "Import together only files over the same corpus, or give each text an id of its own.",
            )
        return position

    def _ranked(self, positions: array[int], scores: list[float]) -> list[tuple[str, str, float]]:
        # SQLite gives -0.0 back as 0.0.
        return [
            (self.ids[position], clean(self.texts[position]), score + 0.0)
            for position, score in zip(positions, scores, strict=True)
        ]


def clean(text: str) -> str:
    """A text as the catalogue holds it: U+FFFD for NUL, which PostgreSQL cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _own_fields(original: dict[str, Any], rebuilt: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """What an export would not get from prompt and lists; adds to ``shared`` what is the prompt's."""
    own = {}
    for name, value in original.items():
        if name in rebuilt:
            told = _same(rebuilt[name], value)
        elif value is None or name.startswith(SIDES):
            told = False
        else:
            told = _same(shared.setdefault(name, value), value)
        if not told:
            own[name] = value
    return own


def _same(left: object, right: object) -> bool:
    """Equal as JSON: to Python 1, 1.0 and true are equal."""
    return left == right and (isinstance(left, str) or canonical_json(left) == canonical_json(right))


def _shown(place: Place) -> str:
    return f"{place[0]}, line {place[1]}"
