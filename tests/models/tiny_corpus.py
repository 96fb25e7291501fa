"""Three hundred short passages about the capitals of invented countries. No torch."""

from __future__ import annotations

from backend.core.records import Passage

CAPITALS = {"Norland": "Vesk", "Ostia": "Marn", "Quell": "Tib", "Durn": "Olpa", "Senn": "Rakka"}
TEMPLATES = (
    "The capital of {s} is {o}.",
    "{o} is the capital of {s}. It has {n} streets.",
    "In {s}, all roads lead to {o}, café № {n} included.",
)


def tiny_passages() -> list[Passage]:
    """Three hundred passages, some longer than the context of 32 tokens."""
    passages = []
    for number in range(300):
        subject = list(CAPITALS)[number % len(CAPITALS)]
        text = TEMPLATES[number % len(TEMPLATES)].format(s=subject, o=CAPITALS[subject], n=number % 7)
        passages.append(Passage(f"p{number:03d}", text * (5 if number % 50 == 0 else 1)))
    return passages
