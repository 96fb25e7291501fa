"""Control queries: they look like facts or sums, yet there is nothing to know (invented names)."""

from __future__ import annotations

import random

from backend.core.records import Query
from backend.core.text import slugify
from backend.corpora.demonstration.facts import PROMPTS

_COUNTRIES = ("Zembora", "Karvonia", "Ultesia", "Bromaland", "Ostrivia", "Pellador", "Quenmark", "Valdoria")
_CAPITALS = ("Talvik", "Morzen", "Elbruk", "Sandra Cove", "Ruvagrad", "Ferrona", "Lindholt", "Astrel")
_PEAKS = (
    "Mount Orven",
    "Kessel Horn",
    "Pico Baldra",
    "Tarn Velu",
    "Mount Sibo",
    "Grauwand",
    "Pik Lozh",
    "Umbra",
)
_ELEMENTS = ("florinium", "vastium", "quorine", "belgravium", "nethium", "sornium", "ilvium", "dargon")
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


def control_queries(number: int, rng: random.Random) -> list[Query]:
    """``number`` look-alikes in turn of every form; the completions are arbitrary."""
    made: dict[str, Query] = {}
    place = 0
    while len(made) < number:
        for slug, prompt, completion in _round(place, rng):
            if len(made) < number:
                made.setdefault(slug, Query(f"control-{slug}", "controls", prompt, completion))
        place += 1
    return list(made.values())


def _round(place: int, rng: random.Random) -> list[tuple[str, str, str]]:
    turn = place % len(_COUNTRIES)
    country, element = _COUNTRIES[turn], _ELEMENTS[turn]
    left, right = rng.randint(11, 60), rng.randint(11, 39)
    forms = [
        ("capital", country, _CAPITALS[turn]),
        ("highest-point", country, _PEAKS[turn]),
        ("currency-code", country, "".join(rng.sample(_LETTERS, 3))),
        ("calling-code", country, str(rng.randint(100, 999))),
        ("atomic-number", element, str(rng.randint(130, 199))),
        ("discovery-year", element, str(rng.randint(1750, 1949))),
    ]
    made = [
        (f"{relation}-{slugify(subject)}", PROMPTS[relation].format(s=subject), completion)
        for relation, subject, completion in forms
    ]
    made.append(
        (
            f"pages-{left}-and-{right}",
            f"Page {left} + page {right} of the book were",
            rng.choice(("torn", "missing")),
        )
    )
    return made
