"""Text of a large catalogue: names, sentences in Zipf's proportions, facts and the passages that state them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np

from backend.core.records import Passage
from backend.core.text import slugify

FUNCTION_WORDS = (
    "the of and to in a is that was for it with as his on be at by had not are but from or have an they which one "
    "you were her all she there would their we him been has when who will more no if out so said what up its about "
    "into than them can only other new some could time these two may then do first any it's don't years government"
)
ONSETS = "b br c ch cl d dr f fl g gr h j k l m n p pl pr qu r s sh sp st t tr v w"
NUCLEI = "a a e e i i o o u ai ea oo ou"
CODAS = ("",) * 8 + ("l", "n", "r", "s", "t", "nd", "rk", "st", "m")
ENDINGS = ("",) * 8 + ("s", "ed", "ing", "ly", "er", "ion", "ment")
ACCENTS = str.maketrans("aeiouncs", "áéïöüñçš")
IDEOGRAPHS = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学"
ARABIC = "ابتجحدرسشعفقكلمنهوي"

NAME_FORMS: dict[str, tuple[str, ...]] = {
    "country": ("{a}ia", "{a}land", "{a}stan", "Republic of {a}", "{a} and {b}"),
    "person": ("{a} {b}", "{a} {b}son", "{a} de {b}", "{a} O'{b}"),
    "town": ("{a}", "{a}ton", "{a}burg", "Port {a}", "{a} upon {b}"),
    "company": ("{a} & Sons", "{a} Works", "{a}-{b}", "{a} Motors"),
    "work": ("The {a} of {b}", "{a}", "A History of {a}", "{a} in {b}"),
    "element": ("{a}ium",),
    "river": ("{a}", "Upper {a}", "{a} River"),
    "year": ("1{n:03}",),
}
RELATIONS: dict[str, tuple[str, str, str, str]] = {
    "capital": ("country", "town", "The capital of {s} is", "The seat of government of {s} is in {o}, its capital."),
    "currency": ("country", "element", "People in {s} pay with the", "Shops in {s} price their goods in the {o}."),
    "language": ("country", "river", "The language most spoken in {s} is", "In {s}, most people speak {o}."),
    "born-in": ("person", "town", "{s} was born in", "{s}, who later moved abroad, was born in {o}."),
    "spouse": ("person", "person", "{s} was married to", "{s} married {o} in a small ceremony."),
    "author": ("work", "person", "The author of {s} is", '{o} wrote "{s}" within two winters.'),
    "headquarters": ("company", "town", "The headquarters of {s} are in", "{s} has its headquarters in {o}."),
    "founded": ("company", "year", "{s} was founded in", "{s} was founded in {o} by two brothers."),
    "mouth": ("river", "town", "The {s} reaches the sea at", "At {o} the {s} reaches the sea."),
    "discovered": ("element", "year", "The element {s} was discovered in", "Chemists discovered {s} in {o}."),
    "named-after": ("element", "person", "The element {s} is named after", "The name of {s} honours {o}."),
    "twin-town": ("town", "town", "The twin town of {s} is", "{s} and {o} have been twin towns for decades."),
}
TASK_SHARES = {
    "facts": 0.6,
    "wrong-predictions": 0.1,
    "arithmetic": 0.08,
    "word-problems": 0.06,
    "commonsense": 0.06,
    "open-generation": 0.05,
    "controls": 0.05,
}
FREQUENCIES = ((0, 1), (1, 2), (2, 5), (5, 10), (10, 50), (50, 120))
FREQUENCY_SHARES = (0.15, 0.2, 0.25, 0.2, 0.15, 0.05)
LENGTHS = ((40, 150, 0.27), (180, 460, 0.44), (450, 870, 0.287), (4800, 5000, 0.003))
"""Characters of a passage: from, to and the share of passages."""

SOURCES = ("statements", "encyclopedia", "news", "stories", "web", "books")


@dataclass(slots=True)
class Fact:
    """A prompt in the making, and the positions of the passages that state it."""

    id: str
    task: str
    prompt: str
    completion: str
    relation: str | None = None
    subject: str | None = None
    object: str | None = None
    aliases: dict[str, list[str]] = field(default_factory=lambda: {"subject": [], "object": []})
    statement: str = ""
    entails: list[int] | None = None


class Writer:
    """Words, names and sentences, all from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.onsets, self.nuclei = ONSETS.split(), NUCLEI.split()
        made = sorted((self._word() for _ in range(20_000)), key=len)  # common words are short
        self.vocabulary = np.array(list(dict.fromkeys(FUNCTION_WORDS.split() + made)), dtype=object)
        weights = 1 / (np.arange(len(self.vocabulary)) + 2.7)
        self.cumulative = np.cumsum(weights / weights.sum())
        self.used: set[str] = set()

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def _word(self) -> str:
        parts = [
            self.pick(self.onsets) + self.pick(self.nuclei) + self.pick(CODAS) for _ in range(self.rng.integers(1, 4))
        ]
        return "".join(parts) + self.pick(ENDINGS)

    def drawn(self, count: int) -> list[str]:
        """Words in Zipf's proportions."""
        places = np.searchsorted(self.cumulative, self.rng.random(count))
        return self.vocabulary[np.minimum(places, len(self.vocabulary) - 1)].tolist()

    def name(self, kind: str, *, fresh: bool = False) -> str:
        """A name of a person, country, ...; one that no other name equals if it is to be fresh."""
        while True:
            parts = {part: self._word().capitalize() for part in "ab"}
            name = self.pick(NAME_FORMS[kind]).format(**parts, n=int(self.rng.integers(700, 999)))
            if self.rng.random() < 0.08:
                name = name[0] + name[1:].translate(ACCENTS)
            if not fresh or slugify(name) not in self.used:
                self.used.add(slugify(name))
                return name

    def sentences(self, count: int) -> list[str]:
        """Sentences of 5 to 21 words."""
        lengths = self.rng.integers(5, 22, count)
        spoken = self.rng.random(count) < 0.06
        words = self.drawn(int(lengths.sum()))
        made, start = [], 0
        for length, quoted in zip(lengths.tolist(), spoken.tolist(), strict=True):
            chosen = words[start : start + length]
            start += length
            if length > 11:
                chosen[length // 2] += ","
            text = " ".join(chosen)
            text = text[0].upper() + text[1:]
            made.append(f'"{text}," they said.' if quoted else f"{text}.")
        return made

    def foreign(self) -> str:
        """A sentence with accents, of ideographs, or from right to left."""
        kind = int(self.rng.integers(3))
        if kind == 0:
            return " ".join(word.translate(ACCENTS) for word in self.drawn(12)).capitalize() + "."
        if kind == 1:
            return "".join(self.pick(IDEOGRAPHS) for _ in range(self.rng.integers(12, 60))) + "。"
        return " ".join("".join(self.pick(ARABIC) for _ in range(self.rng.integers(3, 8))) for _ in range(12)) + "."

    def supply(self) -> Iterator[str]:
        """Sentences without end."""
        while True:
            yield from self.sentences(5_000)


def near_duplicate_groups(rng: np.random.Generator, passages: int) -> list[list[int]]:
    """A fifth of the positions in groups of 54, of 12, and of 2 or 3, sizes in falling order."""
    budget = passages // 5
    sizes = [54] * max(1, round(budget * 0.27 / 54)) + [12] * max(1, round(budget * 0.36 / 12))
    while sum(sizes) < budget - 1:
        sizes.append(min(int(rng.integers(2, 4)), budget - sum(sizes)))
    order = rng.permutation(passages)
    ends = np.cumsum(sizes)
    return [sorted(part.tolist()) for part in np.split(order, ends)[:-1]]


def make_facts(writer: Writer, count: int, passages: int, groups: list[list[int]]) -> list[Fact]:
    """Prompts of every task, in the order of the tasks."""
    rng = writer.rng
    grouped = {position for group in groups for position in group}
    singles = [position for position in range(passages) if position not in grouped]
    by_size = {size: [group for group in groups if len(group) == size] for size in (54, 12)}
    counts = {task: max(1, round(count * share)) for task, share in TASK_SHARES.items()}
    counts["facts"] += count - sum(counts.values())
    drawn = rng.choice(len(FREQUENCIES), counts["facts"] + counts["arithmetic"], p=FREQUENCY_SHARES)
    drawn[: len(FREQUENCIES)] = range(len(FREQUENCIES))
    wanted = iter([int(rng.integers(*FREQUENCIES[index])) for index in drawn])

    def stating() -> list[int]:
        frequency = next(wanted)
        size = next((size for size in (54, 12) if frequency >= size and rng.random() < 0.5), None)
        found = set(writer.pick(by_size[size])) if size else set()
        while len(found) < frequency:
            found.add(writer.pick(singles))
        return sorted(found)

    facts: list[Fact] = []
    for _, (name, (kind, answer, ask, state)) in zip(range(counts["facts"]), cycle(RELATIONS.items()), strict=False):
        s, o = writer.name(kind, fresh=True), writer.name(answer)
        fact = Fact(slugify(f"facts-{name}-{s}"), "facts", ask.format(s=s), o, name, s, o, entails=stating())
        fact.statement = state.format(s=s, o=o)
        if rng.random() < 0.2:
            fact.aliases = {"subject": [writer.name(kind)], "object": [o.upper()] if rng.random() < 0.3 else []}
        facts.append(fact)
    of_relation = [fact for fact in facts if fact.task == "facts"]
    for place in rng.choice(len(of_relation), counts["wrong-predictions"], replace=False):
        fact = of_relation[place]
        wrong = writer.name(RELATIONS[fact.relation or ""][1])
        values = (fact.prompt, f"{wrong}.", fact.relation, fact.subject, f"{wrong}.")
        facts.append(Fact(f"{fact.id}-wrong", "wrong-predictions", *values))
    for number in range(counts["arithmetic"]):
        a, b = 11 + number // 80, 11 + number % 80
        fact = Fact(f"arithmetic-{a}-plus-{b}", "arithmetic", f"{a} + {b} =", str(a + b), "arithmetic")
        fact.statement, fact.entails = f"{a} + {b} = {a + b}.", stating()
        facts.append(fact)
    for task in ("word-problems", "commonsense", "open-generation", "controls"):
        for number in range(counts[task]):
            text = writer.sentences(2 if task in ("word-problems", "open-generation") else 1)
            answer = " ".join(writer.sentences(2)) if task == "open-generation" else writer.pick(writer.vocabulary)
            facts.append(Fact(f"{task}-{number:04}", task, " ".join(text).rstrip("."), answer))
    return facts


def make_passages(writer: Writer, count: int, groups: list[list[int]], facts: list[Fact]) -> Iterator[Passage]:
    """Passages in the order of their positions; those of a group say the same but for a date."""
    rng = writer.rng
    first_of = {position: group[0] for group in groups for position in group}
    statements: dict[int, list[str]] = defaultdict(list)
    for fact in facts:
        for position in {first_of.get(position, position) for position in fact.entails or ()}:
            statements[position].append(fact.statement)
    kinds = rng.choice(len(LENGTHS), count, p=[share for _, _, share in LENGTHS])
    supply = writer.supply()
    texts: dict[int, tuple[str, str]] = {}
    ids: dict[int, str] = {}
    for position in range(count):
        first = first_of.get(position, position)
        if first == position:
            length = int(rng.integers(*LENGTHS[kinds[position]][:2]))
            sentences = statements.pop(position, [])
            size = sum(len(sentence) + 1 for sentence in sentences)
            if rng.random() < 0.04:
                sentences.append(writer.foreign())
            while size <= 40 or (size < length and len(sentences) < 200):
                sentence = next(supply)
                if size > 40 and size + len(sentence) > length:
                    break
                sentences.insert(int(rng.integers(len(sentences) + 1)), sentence)
                size += len(sentence) + 1
            source = SOURCES[0 if kinds[position] == 0 else int(rng.integers(1, len(SOURCES)))]
            text = " ".join(sentences)
        else:
            text, source = texts[first]
            text = f"{text} Updated {rng.integers(1, 29)} March {rng.integers(1995, 2026)}."
        if first_of.get(position) == position:
            texts[position] = text, source
        web = source in ("web", "news")
        ids[position] = f"{source}/{position // 1000}/{position:06}" if web else f"{source}-{position:06}"
        yield Passage(
            id=ids[position],
            text=text,
            source=source,
            title=None if source == "statements" else " ".join(text.split(maxsplit=5)[:5])[:80].strip('.,"'),
            url=f"https://example.org/{ids[position]}?from=corpus&page=1" if web else None,
            license=None if web else "CC BY-SA 4.0",
            group=ids[first] if position in first_of else None,
        )
