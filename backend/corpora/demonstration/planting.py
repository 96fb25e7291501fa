"""Which facts are asked, how often each is planted, and which passages state it.

Frequency = planted statements + prose that states the fact by a checked rule. Facts of the bucket "0" are
stated nowhere, and no passage whatever holds both of their names.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backend.core.metrics import BUCKETS
from backend.core.records import Aliases, Passage, Query
from backend.corpora.demonstration import wording
from backend.corpora.demonstration.facts import PROMPTS, Fact
from backend.corpora.entailment import NameIndex, bucket_of

TIMES = {"0": (0, 0), "1": (1, 1), "2-4": (2, 4), "5-9": (5, 9), "10-49": (12, 24), "50+": (50, 62)}
"""Bucket -> fewest and most passages that state a fact of it."""

PROMPT_SHARE = 0.4
"""Share of the statements that have the prompt's own wording."""

_MIDDLE = ("2-4", "5-9", "10-49")

COUNTRY_RELATIONS = {"capital", "currency-code", "calling-code", "highest-point", "aircraft-prefix"}


@dataclass
class Planted:
    """Passages about facts, and the queries that ask for them."""

    passages: list[Passage] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)


def plant_facts(
    candidates: Mapping[str, Sequence[Fact]],
    prose: Sequence[Passage],
    quota: Mapping[str, Mapping[str, int]],
    contradicted: int,
    rng: random.Random,
) -> Planted:
    """Choose facts (``quota``: relation -> bucket -> how many), plant them and write distractors.

    ``contradicted`` facts of the buckets 5-9 and 10-49 get one passage with a wrong object each.
    """
    everything = [fact for facts in candidates.values() for fact in facts]
    index = NameIndex(
        [name for fact in everything for name in (*_subjects(fact), *_objects(fact))],
        [passage.text for passage in prose],
    )
    planted = Planted()
    chosen: list[tuple[str, Fact]] = []
    for relation, by_bucket in quota.items():
        chosen += _choose(candidates[relation], by_bucket, prose, index, rng)
    for bucket, fact in chosen:
        stating = _stating(fact, prose, index)
        fewest, most = TIMES[bucket]
        times = max(rng.randint(fewest, most) - len(stating), 0)
        statements = list(_statements(fact, times, rng))
        planted.passages += statements
        planted.queries.append(_query(fact, [*stating, *(passage.id for passage in statements)]))
    order = list(quota)
    planted.queries.sort(key=lambda query: (order.index(query.relation or ""), -(query.frequency or 0)))
    planted.passages += _distractors(chosen, candidates, contradicted, rng)
    return planted


def _choose(
    facts: Sequence[Fact],
    by_bucket: Mapping[str, int],
    prose: Sequence[Passage],
    index: NameIndex,
    rng: random.Random,
) -> list[tuple[str, Fact]]:
    """(bucket, fact), the facts that prose states going where their frequency allows."""
    left = sorted(facts, key=lambda fact: fact.id)
    rng.shuffle(left)
    chosen = []
    for bucket in BUCKETS:
        _, most = TIMES[bucket]
        wanted = by_bucket.get(bucket, 0)
        # Facts that prose states are few: two go to each middle bucket, so that some rankings show prose.
        stated = [fact for fact in left if _stating(fact, prose, index)] if bucket in _MIDDLE else []
        for fact in [*stated[:2], *(fact for fact in left if fact not in stated[:2])]:
            if wanted == 0:
                break
            if bucket == "0":
                fits = not index.holding(_subjects(fact), _objects(fact))
            else:
                fits = len(_stating(fact, prose, index)) <= most
            if fits:
                chosen.append((bucket, fact))
                left.remove(fact)
                wanted -= 1
    return chosen


def _stating(fact: Fact, prose: Sequence[Passage], index: NameIndex) -> list[str]:
    """Ids of the prose passages that state a fact.

    The rule, for capitals and highest points: the passage holds subject and object as whole words, the
    relation's word stands right beside the object, and nothing marks it as former or disputed.
    """
    patterns = _STATING.get(fact.relation)
    if patterns is None:
        return []
    positive, negative = patterns
    spelling = "|".join(re.escape(name) for name in _objects(fact))
    pattern = re.compile(positive.format(o=f"(?:{spelling})"), re.IGNORECASE)
    return [
        prose[position].id
        for position in index.holding(_subjects(fact), _objects(fact))
        if pattern.search(prose[position].text) and not negative.search(prose[position].text)
    ]


_STATING = {
    "capital": (
        r"\bcapital(?: city)?(?: of (?:the )?[\w-]+)?(?:,| is| at| in)? (?:called |named )?{o}(?!\w)"
        r"|(?<!\w){o}(?:,| is| \()? ?(?:also )?(?:the |its |a |as the )?(?:country's |nation's |national )?"
        r"capital\b(?! of the (?:region|province|state))",
        re.compile(
            r"\b(?:former|old|then|ancient|colonial|provincial|previous|moved|transferred|relocat\w+"
            r"|not the) (?:\w+ )?(?:capital|seat)\b|\bcapital (?:was|were|had been|until|from)\b"
            r"|\bonce the capital\b",
            re.IGNORECASE,
        ),
    ),
    "highest-point": (
        r"\bhighest (?:point|peak|mountain|summit)[^.;]{{0,40}}(?<!\w){o}(?!\w)"
        r"|(?<!\w){o}(?!\w)[^.;]{{0,40}}\bhighest (?:point|peak|mountain|summit)",
        re.compile(r"\b(?:second|third)[- ](?:highest|tallest)\b|\bhighest peaks\b", re.IGNORECASE),
    ),
}


def _statements(fact: Fact, times: int, rng: random.Random) -> Iterator[Passage]:
    """``times`` passages that state a fact, no two alike while there are ways left to say it."""
    prompt_ways = [(PROMPTS[fact.relation] + " {o}", lead, tail) for lead in wording.LEADS for tail in wording.TAILS]
    other_ways = [
        (statement, lead, tail)
        for statement in wording.STATEMENTS[fact.relation]
        for lead in wording.LEADS
        for tail in wording.TAILS
    ]
    rng.shuffle(prompt_ways)
    rng.shuffle(other_ways)
    # Half of the prompt's wording stands at the very beginning, as in a query.
    plain = [way for way in prompt_ways if way[1] == ""]
    led = [way for way in prompt_ways if way[1] != ""]
    in_prompt = int(PROMPT_SHARE * times + rng.random())
    pools = [plain, led] * in_prompt
    pools = pools[:in_prompt] + [other_ways] * (times - in_prompt)
    rng.shuffle(pools)
    for number, pool in enumerate(pools, start=1):
        statement, lead, tail = pool.pop()
        yield Passage(
            id=f"fact-{fact.id.removeprefix('facts-')}-{number:02d}",
            text=_sentence(statement, fact.subject_phrase, fact.object, lead) + "." + tail,
            source="facts",
            title=f"{_relation_title(fact)}: {fact.subject}",
            license="MIT",
        )


def _sentence(statement: str, subject: str, object_: str, lead: str) -> str:
    body = statement.format(s=subject, o=object_)
    if not lead:
        return body[0].upper() + body[1:]
    return lead + (body if body.startswith((subject, object_)) else body[0].lower() + body[1:])


def _distractors(
    chosen: Sequence[tuple[str, Fact]],
    candidates: Mapping[str, Sequence[Fact]],
    contradicted: int,
    rng: random.Random,
) -> list[Passage]:
    """Passages that mention a subject or an object alone, and a few that state a wrong object."""
    made: list[tuple[str, str]] = []
    for bucket, fact in chosen:
        mentions = wording.COUNTRY_MENTIONS if fact.relation in COUNTRY_RELATIONS else wording.ELEMENT_MENTIONS
        number = 2 if bucket == "0" else 1
        for template in rng.sample(mentions, number):
            made.append((template.format(s=fact.subject_phrase), f"Mention: {fact.subject}"))
        if bucket == "0" or rng.random() < 0.4:
            template = rng.choice(wording.OBJECT_MENTIONS[fact.relation])
            made.append((template.format(o=fact.object), f"Mention: {fact.object}"))
    middling = [fact for bucket, fact in chosen if bucket in _MIDDLE[1:]]
    for fact in rng.sample(middling, min(contradicted, len(middling))):
        others = sorted(other.object for other in candidates[fact.relation] if other.object != fact.object)
        statement = PROMPTS[fact.relation].format(s=fact.subject_phrase) + " " + rng.choice(others)
        text = rng.choice(wording.CONTRADICTIONS).format(statement=statement[0].lower() + statement[1:])
        made.append((text, f"Contradiction: {fact.subject}"))
    distinct = dict(made)
    return [
        Passage(f"distractor-{number:04d}", text, "distractors", title, license="MIT")
        for number, (text, title) in enumerate(distinct.items(), start=1)
    ]


def _query(fact: Fact, entails: Sequence[str]) -> Query:
    return Query(
        id=fact.id,
        task="facts",
        prompt=fact.prompt,
        completion=fact.object,
        relation=fact.relation,
        subject=fact.subject,
        object=fact.object,
        aliases=Aliases(object=fact.other_spellings),
        entails=tuple(entails),
    )


def _subjects(fact: Fact) -> tuple[str, ...]:
    return (fact.subject,)


def _objects(fact: Fact) -> tuple[str, ...]:
    return (fact.object, *fact.other_spellings)


def _relation_title(fact: Fact) -> str:
    return fact.relation.replace("-", " ").capitalize()


def bucket_counts(queries: Sequence[Query]) -> dict[str, dict[str, int]]:
    """Relation -> bucket -> number of fact queries."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(BUCKETS, 0))
    for query in queries:
        bucket = bucket_of(query)
        if query.task == "facts" and query.relation and bucket:
            counts[query.relation][bucket] += 1
    return dict(counts)
