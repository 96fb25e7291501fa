"""What the fields of a viewer's file mean here: method, task, frequency, the model's answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from backend.core.errors import UserError
from backend.core.records import TASKS
from backend.core.text import slugify

MODEL_FREE = frozenset({"bm25", "gecko", "dense", "length", "random"})
"""Methods that look at no model: their runs have none, and what they rank last opposes nothing."""

ANSWER_FIELDS = ("8b_generations", "8b_confidence", "is_8b_correct")
"""Fields that say what the model answers."""

_METHODS = {
    **{
        slug: slug
        for base in (
            "trackstar", "trackstar-general", "trackstar-dot", "gradient-dot", "gradient-cosine", "trak", "logra",
            "logra-relatif", "ekfac", "bm25", "gecko", "dense", "representation", "length", "random",
        )
        for variant in (base, f"{base}-v", f"{base}-no-v")
        for slug in (variant, f"{variant}-pca")
    },
    "grad-dot": "gradient-dot",
    "grad-cosine": "gradient-cosine",
    "trackstar-nontaskspecific": "trackstar-general",
}  # fmt: skip
"""How the name of a file may end -> the method's slug."""

_TASK_WORDS = (
    ("incorrect", "wrong-predictions"),
    ("wordproblem", "word-problems"),
    ("arithmetic", "arithmetic"),
    ("copa", "commonsense"),
    ("piqa", "commonsense"),
    ("commonsense", "commonsense"),
    ("(?<!hi)story", "open-generation"),
    ("trex", "facts"),
)
"""Pattern that the letters of a task's or query set's name hold -> our task; the first that fits."""

_FACT_FIELDS = ("fact_id", "relation", "c4_frequency")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a record says of the model's answer."""

    text: str
    confidence: float | None
    correct: bool | None
    samples: list[str]


def methods_of(files: Sequence[Path], given: Sequence[str]) -> list[str]:
    """The method of each file: the given slugs, matched in order, then those that the files' names say.

    Raises UserError where there are more slugs than files, one is no slug, or two files have the same.
    """
    if len(given) > len(files):
        raise UserError(f"There are {len(given)} methods for {len(files)} files.", "Give at most one --method a file.")
    for slug in given:
        if not slug or slugify(slug) != slug:
            raise UserError(
                f"{slug!r} is no method slug.", f"Use lower-case letters, digits and hyphens: {slugify(slug)!r}."
            )
    methods = [*given, *(method_of_name(path.stem) for path in files[len(given) :])]
    taken: dict[str, Path] = {}
    for path, method in zip(files, methods, strict=True):
        if method in taken:
            raise UserError(
                f"{taken[method]} and {path} are both taken to be of the method {method!r}.",
                "Name the methods, in the files' order: --method SLUG --method SLUG ...",
            )
        taken[method] = path
    return methods


def method_of_name(stem: str) -> str:
    """The method that a file's name ends in; of a name that ends in none that is known, its last word."""
    # The name of a run, as a file that was exported may have it, ends in the run's hash.
    name = re.sub(r"-[0-9a-f]{12}$", "", slugify(stem))
    known = [end for end in _METHODS if name == end or name.endswith(f"-{end}")]
    if known:
        return _METHODS[max(known, key=len)]
    return name.rpartition("-")[2] or "imported"


def name_of(files: Sequence[Path]) -> str:
    """What an import is called: its file's name, or what the names of its files begin with in common."""
    words = [re.findall(r"[^\W_]+|[\W_]+", path.stem) for path in files]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return "".join(column[0] for column in shared).strip(" _-.") or files[0].stem


def task_of(fields: Mapping[str, Any], completion: str) -> str:
    """Our task of a record: what it says, else what its fields tell."""
    task, query_set = fields.get("task"), fields.get("query_set")
    if task in TASKS:
        return str(task)
    truth = fields.get("groundtruth")
    if truth is not None and truth != completion:
        return "wrong-predictions"
    for said in (task, query_set):
        letters = re.sub(r"[^a-z0-9]", "", said.lower()) if isinstance(said, str) else ""
        found = next((ours for word, ours in _TASK_WORDS if re.search(word, letters)), None)
        if found is not None:
            return found
    return "facts" if any(fields.get(name) is not None for name in _FACT_FIELDS) else "open-generation"


def frequency_of(fields: Mapping[str, Any]) -> int | None:
    """How often the fact is stated in the corpus that was searched; None where the file does not say."""
    value = fields.get("c4_frequency")
    return None if value is None else int(value)


def stated_elsewhere(fields: Mapping[str, Any]) -> bool:
    """Of a fact that no listed passage states: True unless the file says that no passage at all states it."""
    somewhere = fields.get("has_trex_sentence")
    return bool(somewhere) if somewhere is not None else frequency_of(fields) != 0


def answer_of(fields: Mapping[str, Any], completion: str) -> Answer | None:
    """The model's answer; None where a record says nothing of it.

    Of several generations the most frequent one stands for the answer. Without any it is the completion where
    that is what the model said (it is right, or the record is about a wrong prediction), else unknown: empty.
    """
    if all(fields.get(name) is None for name in ANSWER_FIELDS):
        return None
    generations, correct = fields.get("8b_generations") or [], fields.get("is_8b_correct")
    samples = [generations] if isinstance(generations, str) else list(generations)
    said = completion if correct or task_of(fields, completion) == "wrong-predictions" else ""
    confidence = fields.get("8b_confidence")
    return Answer(
        text=Counter(samples).most_common(1)[0][0] if samples else said,
        confidence=None if confidence is None else float(confidence),
        correct=None if correct is None else bool(correct),
        samples=samples,
    )
