"""Addresses of every type of page over a catalogue, with the largest values that the pages' parameters allow."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import text

from app.passages.parameters import PassageParameters
from app.prompts.parameters import ListParameters, PromptParameters
from backend.catalogue.database import open_catalogue, read_session
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS


@dataclass(frozen=True, slots=True)
class Known:
    """What the addresses of a catalogue's pages are made of."""

    slugs: list[str]
    subjects: list[str]
    relations: list[str]
    runs: list[tuple[str, str]]
    passages: list[str]
    popular: list[str]
    long: list[str]
    passage_count: int


def look(url: str) -> Known:
    """Read the catalogue; prompts and passages come in an order that has nothing to do with theirs in it."""
    engine = open_catalogue(url)
    with read_session(engine) as session:

        def column(statement: str) -> list[Any]:
            return list(session.scalars(text(statement)))

        slugs = column("SELECT slug FROM prompts ORDER BY pk")
        random.Random(0).shuffle(slugs)
        count = column("SELECT count(*) FROM passages")[0]
        runs = [(row[0], row[1]) for row in session.execute(text("SELECT id, method FROM runs ORDER BY created_at"))]
        popular = (
            "SELECT p.passage_id FROM (SELECT passage_pk, count(*) AS n FROM ranked_passages GROUP BY passage_pk "
            "ORDER BY n DESC LIMIT 50) AS top JOIN passages AS p ON p.pk = top.passage_pk ORDER BY top.n DESC"
        )
        known = Known(
            slugs=slugs,
            subjects=column("SELECT subject FROM prompts WHERE subject IS NOT NULL ORDER BY pk LIMIT 50"),
            relations=column("SELECT DISTINCT relation FROM prompts WHERE relation IS NOT NULL ORDER BY relation"),
            runs=runs,
            passages=column(f"SELECT passage_id FROM passages WHERE pk % {max(1, count // 50)} = 0 ORDER BY pk"),
            popular=column(popular),
            long=column("SELECT passage_id FROM passages ORDER BY length(text) DESC LIMIT 50"),
            passage_count=count,
        )
    engine.dispose()
    return known


class Model:
    """What a page's parameters allow, read off their model."""

    def __init__(self, model: Any, notes: list[str]) -> None:
        self.properties: dict[str, Any] = model.model_json_schema(mode="validation").get("properties", {})
        self.name, self.notes = model.__name__, notes

    def has(self, *names: str) -> bool:
        """True if all are there; what is missing is noted."""
        missing = [name for name in names if name not in self.properties]
        self.notes.extend(f"{self.name} has no {name}" for name in missing)
        return not missing

    def most(self, name: str) -> int:
        """The largest value of a number."""
        return max(int(part["maximum"]) for part in self._parts(name) if "maximum" in part)

    def values(self, name: str) -> list[str]:
        """The values of a choice."""
        return [value for part in self._parts(name) for value in part.get("enum", ())]

    def _parts(self, name: str) -> list[dict[str, Any]]:
        found = self.properties[name]
        return [found, *found.get("anyOf", ())]


def page_types(known: Known, notes: list[str]) -> dict[str, list[str]]:
    """Addresses by type of page."""
    listed, prompt, passage = (Model(model, notes) for model in (ListParameters, PromptParameters, PassageParameters))

    def addresses(path: str, *asked: dict[str, Any]) -> list[str]:
        return [f"{path}?{urlencode(one, quote_via=quote)}" for one in asked]

    def of_prompts(**asked: Any) -> list[str]:
        return [f"/prompts/{slug}" + (f"?{urlencode(asked, safe=',')}" if asked else "") for slug in known.slugs[:50]]

    def of_passages(ids: list[str], **asked: Any) -> list[str]:
        return [f"/passages/{quote(one)}" + (f"?{urlencode(asked)}" if asked else "") for one in ids]

    every = ",".join(method for _, method in known.runs)
    pinned = "+".join(run for run, _ in known.runs)
    k, limit = prompt.most("k"), listed.most("limit")
    filters = [{"task": task} for task in TASKS] + [{"bucket": bucket} for bucket in BUCKETS]
    filters += [{"relation": relation} for relation in known.relations]
    answers = [name for name in ("correct", "confident", "annotated", "opponents") if listed.has(name)]
    cursors = [{"after": slug} for slug in known.slugs[:20]]
    types = {
        "home": ["/"],
        "prompts": ["/prompts"],
        "prompts, filtered": addresses("/prompts", *filters),
        "prompts, a later page": addresses("/prompts", *cursors),
        "prompts, most": addresses("/prompts", *({"limit": limit, **cursor} for cursor in cursors)),
        "prompt": of_prompts(),
        "prompt, all methods": of_prompts(methods=every),
        f"prompt, {k} passages": of_prompts(k=k),
        "prompt, opponents": of_prompts(side="opponents"),
        f"prompt, all methods, {k} passages": of_prompts(methods=every, k=k),
        f"prompt, all methods, {k} opponents": of_prompts(methods=every, k=k, side="opponents"),
        "permalink": [f"/r/{pinned}/{slug}" for slug in known.slugs[:50]],
        f"permalink, {k} passages": [f"/r/{pinned}/{slug}?k={k}" for slug in known.slugs[:50]],
        "passage": of_passages(known.passages),
        "passage, popular": of_passages(known.popular),
        "passage, long": of_passages(known.long),
        "runs": ["/runs"],
        "run": [f"/runs/{run}" for run, _ in known.runs],
    }
    if answers:
        asked = [{name: value} for name in answers for value in ("true", "false")]
        types["prompts, filtered by answers"] = addresses("/prompts", *asked)
    if listed.has("sort"):
        sorts = [{"sort": value} for value in listed.values("sort")]
        types["prompts, sorted"] = addresses("/prompts", *sorts)
        types["prompts, sorted, most"] = addresses("/prompts", *({**sort, "limit": limit} for sort in sorts))
    if listed.has("q"):
        asked = ["the", "a", "people in", *known.relations[:4], *known.subjects]
        types["prompts, searched"] = addresses("/prompts", *({"q": words} for words in asked))
    if listed.has("q", "sort"):
        asked = [{"q": "the", "sort": value, "limit": limit} for value in listed.values("sort")]
        types["prompts, searched, sorted, most"] = addresses("/prompts", *asked)
    if prompt.has("sort"):
        types["prompt, from a sorted list"] = of_prompts(sort=prompt.values("sort")[-1])
    if prompt.has("start"):
        types["prompt, later passages"] = of_prompts(start=41)
    if prompt.has("copies"):
        for value in prompt.values("copies"):
            types[f"prompt, copies {value}, all"] = of_prompts(methods=every, k=k, copies=value)
    if passage.has("limit"):
        types["passage, popular, most prompts"] = of_passages(known.popular, limit=passage.most("limit"))
    return types
