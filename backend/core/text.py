"""Text rules that several parts must share to the letter: joining a query, matching names, shared n-grams."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

WORD = re.compile(r"\w+(?:['’]\w+)*")
"""A word, for overlaps and BM25: letters, digits and inner apostrophes."""


def join_query(prompt: str, completion: str) -> tuple[str, int]:
    """Join a prompt and its completion; returns (text, boundary).

    Both are brought to NFC and otherwise left alone. One space is put between where neither side has white space
    at the boundary and the completion starts with a word character. ``boundary`` is the offset in characters at
    which the completion's part begins, the joining space included; the loss is over tokens that start at or
    after it.
    """
    left = unicodedata.normalize("NFC", prompt)
    right = unicodedata.normalize("NFC", completion)
    if left and right and not left[-1].isspace() and re.match(r"\w", right[0]):
        right = " " + right
    return left + right, len(left)


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return [match.group().lower() for match in WORD.finditer(text)]


SEARCH_WORD = re.compile(r"[^\W_]+")
LONGEST_SEARCH_WORD = 100
"""Characters of a word that search looks at: databases refuse very long ones."""


def search_words(text: str) -> list[str]:
    """The words of a text as full-text search compares them: each once, any case, without diacritics.

    Texts and what readers type go through this alike, so every database finds the same.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    found = SEARCH_WORD.findall(plain.casefold())
    return list(dict.fromkeys(word[:LONGEST_SEARCH_WORD] for word in found))


@lru_cache(maxsize=8192)
def _name_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def name_spans(name: str, text: str) -> list[tuple[int, int]]:
    """(start, end) of every occurrence of a name in a text: whole words, any case."""
    if not name.strip():
        return []
    return [match.span() for match in _name_pattern(name).finditer(text)]


def holds_any(names: Iterable[str], text: str) -> bool:
    """True if any of the names occurs in the text as whole words."""
    return any(name.strip() and _name_pattern(name).search(text) for name in names)


def shared_ngrams(left: str, right: str, n: int) -> set[tuple[str, ...]]:
    """Word n-grams (lower case) that two texts share."""
    return _ngrams(words(left), n) & _ngrams(words(right), n)


def _ngrams(tokens: list[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}


def slugify(text: str, limit: int = 80) -> str:
    """Lower-case ASCII letters, digits and hyphens; never a dot; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:limit].rstrip("-")
