"""The World Factbook's prose as passages: sentences packed to about 15-75 words, boilerplate left out."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backend.core.records import Passage
from backend.core.text import slugify
from backend.corpora.demonstration.sources import FactbookEntry

FEWEST_WORDS, WISHED_WORDS, MOST_WORDS = 12, 36, 68
"""A passage grows until it has the wished number of words; the model's context holds about 75."""

FIELDS: dict[str, tuple[str, ...]] = {
    "Introduction": ("Background",),
    "Geography": (
        "Climate",
        "Geography - note",
        "Natural hazards",
        "Population distribution",
        "Terrain",
        "Wonders of the World",
        "Geographic overview",
    ),
    "Environment": ("Environmental issues", "World biomes"),
    "People and Society": ("Demographic profile",),
    "Government": (
        "Capital",
        "Constitution",
        "Country name",
        "Dependency status",
        "Flag",
        "Judicial branch",
        "Legal system",
        "National coat of arms",
    ),
    "Economy": ("Economic overview", "Industries"),
    "Communications": ("Broadcast media",),
    "Space": ("Space program overview",),
    "Military and Security": (
        "Military - note",
        "Military and security forces",
        "Military service age and obligation",
    ),
}
"""Section -> the fields that hold prose; all others are figures and lists."""

_BREAK = re.compile(r"<br\s*/?>|</p>|</li>|</div>", re.IGNORECASE)
_LABEL = re.compile(r"<(strong|b)>[^<]{0,60}?:\s*</\1>\s*:?", re.IGNORECASE)
_TAG = re.compile(r"<[^>]+>")
_LABEL_WORD = re.compile(r"^(note(?: \d)?|description|history|meaning|overview|etymology)\s*:\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\]”\"%][.!?])[”\")]?\s+(?=[A-Z“\"(])|(?<=[A-Z]{2}[.!?])\s+(?=[A-Z“\"(])")
_ABBREVIATION = re.compile(r"\b(?:ca|St|Ste|Dr|Mt|Gen|Col|Maj|Lt|Sgt|Jr|Sr|No|vs|approx|est|incl|etc|Mr|Mrs)\.$")
_NUMBER = re.compile(r"\d[\d,.]*")
_UNWANTED = re.compile(r"https?://|www\.|@|\[s\]|\[m\]|_{2,}|World Factbook")


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    ends_sentence: bool

    @property
    def words(self) -> int:
        return len(self.text.split())


def factbook_passages(entries: Sequence[FactbookEntry]) -> list[Passage]:
    """Distinct passages of prose, in the order of the entries; source "factbook".

    A sentence that the Factbook repeats is kept once; one that it repeats with other figures or names (four
    times or more) is boilerplate and left out.
    """
    names = sorted({entry.name for entry in entries if len(entry.name) > 3}, key=lambda name: (-len(name), name))
    any_name = re.compile("|".join(re.escape(name) for name in names) or "(?!)")
    fields = [
        (entry, section, field, _clauses(html_text))
        for entry in entries
        for section, field, html_text in _prose_fields(entry)
    ]
    shapes = Counter(
        shape for _, _, _, clauses in fields for shape in {_shape(clause.text, any_name) for clause in clauses}
    )
    seen: set[str] = set()
    passages = []
    for entry, section, field, clauses in fields:
        kept = []
        for clause in clauses:
            key = clause.text.lower()
            if key not in seen and shapes[_shape(clause.text, any_name)] < 4 and _is_prose(clause.text):
                seen.add(key)
                kept.append(clause)
        stem = f"factbook-{slugify(entry.name)}-{slugify(field)}"
        for number, text in enumerate(_pack(kept), start=1):
            passages.append(
                Passage(
                    id=f"{stem}-{number:03d}",
                    text=text,
                    source="factbook",
                    title=f"{entry.name}: {section}, {field}",
                    license="public domain",
                )
            )
    return _distinct(passages)


def _distinct(passages: Sequence[Passage]) -> list[Passage]:
    texts: set[str] = set()
    ids: set[str] = set()
    kept = []
    for passage in passages:
        if passage.text not in texts and passage.id not in ids:
            texts.add(passage.text)
            ids.add(passage.id)
            kept.append(passage)
    return kept


def _prose_fields(entry: FactbookEntry) -> Iterator[tuple[str, str, str]]:
    for section, fields in FIELDS.items():
        for field in fields:
            value = entry.sections.get(section, {}).get(field)
            if value is not None:
                yield section, field, "<br>".join(_texts(value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)


def _clauses(html_text: str) -> list[_Clause]:
    """Sentences, and the parts of a sentence between semicolons (the Factbook's way of listing)."""
    clauses = []
    for block in _BREAK.split(html_text):
        plain = html.unescape(_TAG.sub(" ", _LABEL.sub(" ", html.unescape(block))))
        plain = " ".join(plain.split())
        while (stripped := _LABEL_WORD.sub("", plain)) != plain:
            plain = stripped
        for sentence in _sentences(plain):
            parts = [part.strip(" ;") for part in sentence.split("; ")]
            parts = [part for part in parts if part]
            for position, part in enumerate(parts, start=1):
                clauses.append(_Clause(part, ends_sentence=position == len(parts)))
    return clauses


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if _ABBREVIATION.search(text[: match.start()]):
            continue
        yield text[start : match.end()].strip()
        start = match.end()
    if text[start:].strip():
        yield text[start:].strip()


def _shape(text: str, any_name: re.Pattern[str]) -> str:
    """What is left of a sentence when its figures and names are taken out."""
    return any_name.sub("X", _NUMBER.sub("0", text)).lower()


def _is_prose(text: str) -> bool:
    tokens = text.split()
    figures = sum(any(character.isdigit() for character in token) for token in tokens)
    letters = sum(character.isalpha() or character == " " for character in text)
    return (
        4 <= len(tokens) <= MOST_WORDS
        and figures <= 0.25 * len(tokens)
        and letters >= 0.82 * len(text)
        and text.count("(") <= 0.12 * len(tokens) + 1
        and not _UNWANTED.search(text)
    )


def _pack(clauses: Sequence[_Clause]) -> Iterator[str]:
    """Join neighbouring clauses to passages; a remainder too short for a passage joins the one before it."""
    groups: list[list[_Clause]] = []
    for clause in clauses:
        size = sum(part.words for part in groups[-1]) if groups else 0
        if not groups or size >= WISHED_WORDS or size + clause.words > MOST_WORDS:
            groups.append([])
        groups[-1].append(clause)
    if len(groups) > 1 and sum(part.words for part in groups[-1]) < FEWEST_WORDS:
        rest = sum(part.words for part in groups[-2] + groups[-1])
        if rest <= MOST_WORDS:
            groups[-2:] = [groups[-2] + groups[-1]]
    for group in groups:
        if sum(part.words for part in group) >= FEWEST_WORDS:
            yield _join(group)


def _join(group: Sequence[_Clause]) -> str:
    text = ""
    new_sentence = True
    for clause in group:
        part = clause.text[0].upper() + clause.text[1:] if new_sentence else clause.text
        text += part
        new_sentence = clause.ends_sentence
        if not new_sentence:
            text += "; "
        elif part.rstrip('"”)')[-1:] not in ".!?":
            text += ". "
        else:
            text += " "
    text = text.rstrip(" ;")
    return text if text.rstrip('"”)')[-1:] in ".!?" else text + "."
