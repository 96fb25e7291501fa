"""Realistic text for the pages' tests and screenshots: passages and queries much like the demonstration's."""

from __future__ import annotations

import random
from collections.abc import Iterator

from backend.core.records import Aliases, Passage, Query

COUNTRIES = (
    ("Norway", "Oslo", "krone", "Norwegian", "fjords, North Sea oil and long coasts"),
    ("Kenya", "Nairobi", "shilling", "Swahili", "savanna, tea highlands and the Rift Valley"),
    ("Peru", "Lima", "sol", "Spanish", "the Andes, coastal desert and the upper Amazon"),
    ("Japan", "Tokyo", "yen", "Japanese", "four main islands, steep valleys and dense cities"),
    ("Egypt", "Cairo", "pound", "Arabic", "desert on both sides of one narrow, green valley"),
    ("Poland", "Warsaw", "złoty", "Polish", "a broad plain between the Baltic and the Carpathians"),
    ("Laos", "Vientiane", "kip", "Lao", "forested mountains along the middle Mekong"),
    ("Chile", "Santiago", "peso", "Spanish", "a strip of land between the Andes and the Pacific"),
    ("Ghana", "Accra", "cedi", "English", "cocoa forests, Lake Volta and a low coast"),
    ("Finland", "Helsinki", "euro", "Finnish", "forests, peat bogs and some 188,000 lakes"),
    ("Bhutan", "Thimphu", "ngultrum", "Dzongkha", "Himalayan valleys divided by high ridges"),
    ("Uruguay", "Montevideo", "peso", "Spanish", "rolling grassland with fertile coastal lowland"),
    ("Iceland", "Reykjavik", "króna", "Icelandic", "volcanoes, geysers and ice fields"),
    ("Vietnam", "Hanoi", "đồng", "Vietnamese", "two deltas joined by a narrow central coast"),
    ("Mali", "Bamako", "franc", "French", "plains that turn into desert in the north"),
    ("Canada", "Ottawa", "dollar", "English", "tundra, prairie, and the St. Lawrence valley"),
)
ELEMENTS = (
    ("helium", "He"),
    ("iron", "Fe"),
    ("sodium", "Na"),
    ("copper", "Cu"),
    ("mercury", "Hg"),
    ("tin", "Sn"),
    ("silver", "Ag"),
    ("potassium", "K"),
)
STATED = (0, 1, 2, 4, 6, 9, 14, 52)
"""How often facts are planted, in turn: every frequency bucket occurs."""

RELATIONS = {
    "capital": (
        "The capital of {s} is",
        ("{o} is the capital of {s}.", "The seat of government of {s} is in {o}, its capital."),
    ),
    "currency": (
        "People in {s} pay with the",
        ("The currency of {s} is the {o}.", "Shops in {s} price their goods in the {o}."),
    ),
    "language": (
        "The language most spoken in {s} is",
        ("In {s}, most people speak {o}.", "{o} is the language of daily life in {s}."),
    ),
    "symbol": (
        "The chemical symbol of {s} is",
        ("The symbol of the element {s} is {o}.", "Chemists write {o} for {s}."),
    ),
}
PROSE = (
    "{s} is known for {land}. Its economy rests on services and trade; agriculture employs a shrinking share "
    "of the labour force, while tourism has grown steadily since the 1990s. Roads and power reach most "
    "districts, though the remotest ones wait. Government revenue depends on a few exports, and successive "
    "cabinets have tried, with mixed success, to broaden it. A reform of customs shortened waiting times at "
    "the border posts, and mobile payments spread faster than bank branches ever did. {o} remains by far "
    "the largest city and draws young people from the provinces; a third of all new flats were built there.",
    "Climate of {s}: varies with altitude and distance from the sea. Terrain: {land}. Natural hazards "
    "include floods and occasional storms.",
    "The railway from {o} was planned for decades before the first stretch opened.",
)


def _facts() -> Iterator[tuple[str, str, str]]:
    for country, capital, currency, language, _ in COUNTRIES:
        yield "capital", country, capital
        yield "currency", country, currency
        yield "language", country, language
    for element, symbol in ELEMENTS:
        yield "symbol", element, symbol


def passages_and_queries(seed: int = 7) -> tuple[list[Passage], list[Query]]:
    """About 700 passages and 200 queries of all tasks, the same for the same seed."""
    chance = random.Random(seed)
    passages: list[Passage] = []
    queries: list[Query] = []
    for country, capital, _, _, land in COUNTRIES:
        for number, prose in enumerate(PROSE):
            passages.append(
                Passage(
                    f"factbook/{country.lower()}/{number}",
                    prose.format(s=country, o=capital, land=land),
                    "CIA World Factbook",
                    ("Economy", "Geography", None)[number] and f"{country}: {('Economy', 'Geography')[number]}",
                    f"https://www.cia.gov/the-world-factbook/countries/{country.lower()}/",
                    "Public domain",
                )
            )
    for index, (relation, subject, found) in enumerate(_facts()):
        prompt, statements = RELATIONS[relation]
        ids = []
        for copy in range(STATED[index % len(STATED)]):
            text = statements[copy % 2].format(s=subject, o=found)
            ids.append(f"fact/{relation}/{subject.lower()}/{copy}")
            group = f"fact/{relation}/{subject.lower()}/{copy % 2}" if STATED[index % len(STATED)] > 3 else None
            passages.append(Passage(ids[-1], text, f"Planted facts: {relation}", None, None, "CC0-1.0", group))
        queries.append(
            Query(
                f"{relation}/{subject}",
                "facts",
                prompt.format(s=subject),
                found if relation == "symbol" else f" {found}",
                relation,
                subject,
                found,
                Aliases(),
                tuple(ids),
            )
        )
    for a in range(2, 12):
        for b in (3, 7, 8):
            passages.append(Passage(f"sum/{a}+{b}", f"{a} + {b} = {a + b}. So {a} and {b} make {a + b}.", "Arithmetic"))
            if b != 8:
                queries.append(Query(f"sum {a}+{b}", "arithmetic", f"{a} + {b} =", f" {a + b}"))
    for number in range(12):
        apples = number + 3
        queries.append(
            Query(
                f"apples {number}",
                "word-problems",
                f"Mara has {apples} apples and buys 4 more. She now has",
                f" {apples + 4} apples.",
            )
        )
        animal = ("fox", "heron", "mule", "otter")[number % 4]
        story = f"Once upon a time a {animal} lived by the mill and counted the boats, all {apples}."
        passages.append(Passage(f"story/{number}", story, "Short stories"))
        queries.append(Query(f"story {number}", "open-generation", f"Once upon a time a {animal}", " lived alone."))
        queries.append(Query(f"sense {number}", "commonsense", f"When it rains, {apples} people", " get wet."))
    for number, (country, _, _, _, _) in enumerate(COUNTRIES):
        queries.append(
            Query(f"control {number}", "controls", f"The railway of {country} is", " long.", "railway", country)
        )
    chance.shuffle(passages)
    return passages, queries


HOSTILE = (
    '<div hx-get="/trap" hx-trigger="load">swap me</div>',
    '<img src="/trap" onerror="fetch(\'/trap\')">',
    "<script>fetch('/trap')</script>",
    '"><svg onload="fetch(\'/trap\')">',
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "</title></textarea><style>*{background:url(/trap)}</style>",
)
"""Text that must stay text."""

HOSTILE_URL = "javascript:fetch('/trap')"


def hostile() -> tuple[list[Passage], list[Query]]:
    """Passages and queries whose every field holds markup."""
    passages = [
        Passage(
            f"hostile/{number}",
            f"Beware {text} here",
            f"src {text}",
            f"T {text}",
            HOSTILE_URL,
            text,
            "hostile/0",
        )
        for number, text in enumerate(HOSTILE)
    ]
    queries = [
        Query(
            f"hostile {number}",
            "facts",
            f"Say {text}",
            f" {text}",
            f"rel {text}",
            text,
            "Beware",
            Aliases(),
            tuple(passage.id for passage in passages),
        )
        for number, text in enumerate(HOSTILE)
    ]
    return passages, queries
