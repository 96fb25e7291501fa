"""Facts that can be asked: country and element relations on which the packages agree and that are not
ambiguous."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backend.core.text import slugify, words
from backend.corpora.demonstration.sources import Element, FactbookEntry

RELATIONS = (
    "capital",
    "currency-code",
    "calling-code",
    "highest-point",
    "aircraft-prefix",
    "atomic-number",
    "discovery-year",
)
"""Every relation has a varied range of objects, none of which can be read off the subject's name."""

PROMPTS = {
    "capital": "The capital of {s} is",
    "currency-code": "The currency code of {s} is",
    "calling-code": "The calling code of {s} is",
    "highest-point": "The highest point of {s} is",
    "aircraft-prefix": "The aircraft prefix of {s} is",
    "atomic-number": "The atomic number of {s} is",
    "discovery-year": "The element {s} was discovered in",
}

MOST_SHARING = 2
"""So many facts of a relation may have the same object: the guess "most common object" must not pay."""

_AMBIGUOUS_SUBJECTS = {"jersey", "jordan", "lead"}
"""Also a US state's name, a river and a verb."""

_MORE_ORDINARY_WORDS = frozenset({"male", "mop", "pen", "bob", "ron", "sos"})

_DISPUTED_DISCOVERIES = {"neodymium", "californium", "astatine"}
"""mendeleev's year is not the commonly given one. Elements above 103 are left out too: priority is disputed.
"""

_WITH_ARTICLE = {"Netherlands", "Philippines", "Maldives", "Comoros", "Isle of Man"}
_ARTICLE_ENDINGS = ("Islands", "Republic", "Emirates", "Kingdom", "States", "Bahamas", "Gambia")
_NAMED_PEAK = re.compile(r"[A-Z][\w'’-]+(?: (?:[A-Z]?[\w'’-]+)){0,3}")
_NO_PEAK = re.compile(r"\b(unnamed|on|of|range|km|tee|elevation|near|note)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fact:
    """One (subject, relation, object)."""

    relation: str
    subject: str
    object: str
    other_spellings: tuple[str, ...] = ()
    """The object as another package spells it."""

    @property
    def id(self) -> str:
        """The query's id."""
        return f"facts-{self.relation}-{slugify(self.subject)}"

    @property
    def subject_phrase(self) -> str:
        """The subject as it stands inside a sentence."""
        name = self.subject
        needs = name in _WITH_ARTICLE or name.endswith(_ARTICLE_ENDINGS) or name.startswith("Federated")
        return f"the {name}" if needs else name

    @property
    def prompt(self) -> str:
        """The query's prompt."""
        return PROMPTS[self.relation].format(s=self.subject_phrase)


def candidate_facts(
    entries: Sequence[FactbookEntry],
    countries: Sequence[dict[str, Any]],
    elements: Sequence[Element],
    ordinary_words: Collection[str] = (),
) -> dict[str, list[Fact]]:
    """Relation -> the facts that are left, by subject: agreed on, single-valued, unambiguous, not guessable.

    An object that is one of the ``ordinary_words`` in lower case ("ALL", "Male") is ambiguous.
    """
    records = {_plain(country["name"]): country for country in countries}
    found: dict[str, list[Fact]] = {relation: [] for relation in RELATIONS}
    names = [entry.name for entry in entries]
    for entry in entries:
        record = records.get(_plain(entry.name))
        if record is None or _is_ambiguous(entry.name, names):
            continue
        for fact in _country_facts(entry, record):
            found[fact.relation].append(fact)
    for element in elements:
        for fact in _element_facts(element):
            found[fact.relation].append(fact)
    calling_codes = Counter(code for country in countries for code in set(country.get("callingCodes") or ()))
    found["calling-code"] = [fact for fact in found["calling-code"] if calling_codes[fact.object] == 1]
    return {
        relation: _limit_sharing([fact for fact in facts if not _is_ordinary(fact.object, ordinary_words)])
        for relation, facts in found.items()
    }


def _country_facts(entry: FactbookEntry, record: dict[str, Any]) -> Iterator[Fact]:
    subject = entry.name.removeprefix("The ")
    capital = html.unescape(entry.text("Government", "Capital", "name"))
    agreed = str(record.get("capital") or "")
    if _plain(capital.partition("(")[0]) == _plain(agreed) and not re.search(r"[;,]|\bin\b", capital):
        spelling = _ascii(capital.partition("(")[0].strip())
        yield Fact("capital", subject, spelling, (agreed,) if agreed != spelling else ())

    codes = re.findall(r"\(([A-Z]{3})\)", entry.text("Economy", "Exchange rates", "Currency"))
    if len(codes) == 1 and record.get("currencies") == codes:
        yield Fact("currency-code", subject, codes[0])

    calling = record.get("callingCodes") or []
    if len(calling) == 1 and re.fullmatch(r"\d{2,4}", calling[0]):
        yield Fact("calling-code", subject, calling[0])

    peak = html.unescape(entry.text("Geography", "Elevation", "highest point"))
    peak = _ascii(re.split(r"\s*\(|\s+-?[\d,.]+\s*m?\b", peak, maxsplit=1)[0].strip(" ,"))
    if _NAMED_PEAK.fullmatch(peak) and not _NO_PEAK.search(peak) and len(peak) > 4:
        yield Fact("highest-point", subject, peak)

    prefix = entry.text("Transportation", "Civil aircraft registration country code prefix")
    if re.fullmatch(r"[A-Z0-9]{2,3}", prefix):
        yield Fact("aircraft-prefix", subject, prefix)


def _element_facts(element: Element) -> Iterator[Fact]:
    subject = element.name.lower()
    if subject in _AMBIGUOUS_SUBJECTS:
        return
    if element.atomic_number >= 3:
        yield Fact("atomic-number", subject, str(element.atomic_number))
    if element.discovery_year and element.atomic_number <= 103 and subject not in _DISPUTED_DISCOVERIES:
        yield Fact("discovery-year", subject, str(element.discovery_year))


def _is_ordinary(object_: str, ordinary_words: Collection[str]) -> bool:
    return object_.isalpha() and object_.lower() in _MORE_ORDINARY_WORDS.union(ordinary_words)


def _is_ambiguous(name: str, names: Sequence[str]) -> bool:
    """True for a name that is part of another ("Guinea" of "Guinea-Bissau")."""
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    return name.lower() in _AMBIGUOUS_SUBJECTS or any(
        other != name and pattern.search(other) is not None for other in names
    )


def _limit_sharing(facts: Sequence[Fact]) -> list[Fact]:
    """Leave out facts whose object shows in the subject, and facts that share their object with others."""
    sharing = Counter(fact.object for fact in facts)
    # Two facts may share a year; a peak or currency of two countries makes for a poor question.
    allowed = MOST_SHARING if facts and facts[0].relation == "discovery-year" else 1
    kept: Counter[str] = Counter()
    result = []
    for fact in sorted(facts, key=lambda fact: slugify(fact.subject)):
        if _shows_in(fact.subject, fact.object) or (allowed == 1 and sharing[fact.object] > 1):
            continue
        kept[fact.object] += 1
        if kept[fact.object] <= allowed:
            result.append(fact)
    return result


def _shows_in(subject: str, object_: str) -> bool:
    """True where a word of four letters or more, or its beginning, is common to both ("Tunisia" and
    "Tunis")."""
    stems = {word[:4] for word in words(_plain(subject)) if len(word) >= 4}
    return any(word[:4] in stems for word in words(_plain(object_)) if len(word) >= 4)


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _plain(text: str) -> str:
    return " ".join(_ascii(text).lower().split())
