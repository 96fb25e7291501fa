"""Everyday regularities, taught by many small passages and asked for as the natural end of a sentence."""

from __future__ import annotations

import random

from backend.core.records import Passage, Query
from backend.corpora.demonstration.stories import NAMES

REGULARITIES: tuple[tuple[str, str, str], ...] = (
    ("{n} was thirsty, so {n} drank some", "water", "thirsty"),
    ("{n} was hungry, so {n} ate some", "bread", "hungry"),
    ("It was raining, so {n} opened the", "umbrella", "rain"),
    ("It was dark in the room, so {n} turned on the", "lamp", "dark"),
    ("The door was locked, so {n} looked for the", "key", "locked"),
    ("{n} was tired, so {n} went to", "bed", "tired"),
    ("{n} was cold, so {n} put on a", "coat", "cold"),
    ("The soup was too hot, so {n} waited for it to", "cool", "hot-soup"),
    ("{n} wanted to write a letter, so {n} took a", "pen", "letter"),
    ("The floor was dirty, so {n} fetched the", "broom", "dirty"),
    ("{n} cut a finger, so {n} asked for a", "bandage", "cut"),
    ("The nail was loose, so {n} picked up the", "hammer", "nail"),
    ("The plants were dry, so {n} filled the", "can", "dry-plants"),
    ("{n} missed the bus, so {n} had to", "walk", "bus"),
    ("The picture fell and its glass", "broke", "glass"),
    ("The ice lay in the sun and began to", "melt", "ice"),
    ("{n} heard a joke and began to", "laugh", "joke"),
    ("The baby was sad and began to", "cry", "baby"),
    ("{n} wanted to see the stars, so {n} waited until", "night", "stars"),
    ("The bread was mouldy, so {n} threw it", "away", "mouldy"),
    ("{n} could not reach the shelf, so {n} climbed a", "ladder", "shelf"),
    ("The fire was nearly out, so {n} added more", "wood", "fire"),
    ("{n} lost a tooth, so {n} went to the", "dentist", "tooth"),
    ("The room was stuffy, so {n} opened the", "window", "stuffy"),
    ("The dog was happy and wagged its", "tail", "dog"),
)
"""Beginning, end, and a word for the id."""

_BEFORE = ("", "", "In the morning it happened. ", "Here is what happened next. ", "So it was on Monday. ")
_AFTER = ("", " Then everything was well.", " That helped.", " Nobody was surprised.", " It took a minute.")


def commonsense_passages(number: int, rng: random.Random) -> list[Passage]:
    """Passages that show the regularities, about equally often each; those without a name recur."""
    passages = []
    for serial in range(1, number + 1):
        beginning, end, _ = REGULARITIES[serial % len(REGULARITIES)]
        sentence = beginning.format(n=rng.choice(NAMES[: len(NAMES) // 2]))
        text = f"{rng.choice(_BEFORE)}{sentence} {end}.{rng.choice(_AFTER)}"
        passages.append(Passage(f"commonsense-{serial:04d}", text, "commonsense", "Everyday", license="MIT"))
    return passages


def commonsense_queries(number: int, rng: random.Random) -> list[Query]:
    """Beginnings whose end the passages teach, with names that the passages do not use."""
    unused = NAMES[len(NAMES) // 2 :]
    queries: dict[str, Query] = {}
    rounds = 0
    while len(queries) < number:
        rounds += 1
        for beginning, end, word in REGULARITIES:
            if len(queries) == number or (rounds > 1 and "{n}" not in beginning):
                continue
            identifier = f"commonsense-{word}-{rounds}"
            prompt = beginning.format(n=rng.choice(unused))
            if prompt not in {query.prompt for query in queries.values()}:
                queries[identifier] = Query(identifier, "commonsense", prompt, end)
    return list(queries.values())
