"""Short stories put together from parts, and the openings that a model is to continue."""

from __future__ import annotations

import random

from backend.core.records import Passage, Query

NAMES = (
    "Mara", "Tobias", "Lucy", "Oscar", "Nina", "Emil", "Rosa", "Hugo", "Alma", "Victor", "Edith", "Arthur",
    "Flora", "Jasper", "Ruth", "Simon", "Wanda", "Leo", "Iris", "Karl", "Sonja", "Milo", "Agnes", "Theo",
)  # fmt: skip

FINDS = (
    "a small green key", "an old brass bell", "a letter without a stamp", "a silver whistle",
    "a broken clock", "a map of the garden", "a blue glass marble", "a wooden horse", "a tin full of buttons",
    "a very heavy book",
)  # fmt: skip

PLACES = (
    "in the garden", "under the stairs", "behind the bakery", "at the edge of the wood", "on the beach",
    "in the attic", "beside the old well", "near the railway bridge", "at the bottom of a drawer",
)  # fmt: skip

WEATHER = (
    "It had rained all night.", "The sun was shining.", "A cold wind blew.", "Fog lay over the fields.",
    "Snow had fallen at last.", "It was the hottest day of the year.",
)  # fmt: skip

HELPERS = (
    "the baker",
    "the postman",
    "an old sailor",
    "the librarian",
    "her aunt's gardener",
    "a clever crow",
)

ENDINGS = (
    "In the evening they laughed about it.",
    "From that day on they were friends.",
    "Nobody in the village ever forgot it.",
    "And that was the end of the matter.",
    "It was late when everybody went home.",
)

REACTIONS = {
    "a small green key": "tried it in every door of the house",
    "an old brass bell": "rang it until the dogs began to bark",
    "a letter without a stamp": "carried it to the post office at once",
    "a silver whistle": "blew it and listened for an answer",
    "a broken clock": "took it apart and cleaned every wheel",
    "a map of the garden": "followed the dotted line to the pear tree",
    "a blue glass marble": "held it up to the light",
    "a wooden horse": "painted it red and gave it a name",
    "a tin full of buttons": "counted them twice",
    "a very heavy book": "read it aloud by the fire",
}
"""What always happens with a thing: the regularity that a continuation shows."""


def story_passages(number: int, rng: random.Random) -> list[Passage]:
    """``number`` distinct stories of four or five sentences."""
    texts: dict[str, None] = {}
    while len(texts) < number:
        name, find = rng.choice(NAMES), rng.choice(FINDS)
        opening = f"One morning {name} found {find} {rng.choice(PLACES)}."
        middle = f"{name} {REACTIONS[find]}."
        helper = f"Then {rng.choice(HELPERS)} came by and asked what it was."
        parts = [opening, middle, helper, rng.choice(ENDINGS)]
        if rng.random() < 0.7:
            parts.insert(0, rng.choice(WEATHER))
        texts[" ".join(parts)] = None
    return [
        Passage(f"story-{serial:04d}", text, "stories", "Short story", license="MIT")
        for serial, text in enumerate(texts, start=1)
    ]


def open_generation_queries(number: int, rng: random.Random) -> list[Query]:
    """Openings of stories with the continuation that the stories' pattern gives."""
    drawn: dict[tuple[str, str, str], None] = {}
    while len(drawn) < number:
        drawn[rng.choice(NAMES), rng.choice(FINDS), rng.choice(PLACES)] = None
    return [
        Query(
            id=f"story-opening-{serial:02d}",
            task="open-generation",
            prompt=f"One morning {name} found {find} {place}. {name}",
            completion=f"{REACTIONS[find]}.",
        )
        for serial, (name, find, place) in enumerate(drawn, start=1)
    ]
