"""Query parameters of the API: those of the JSON twins and of the list of passages, and how OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from app.http.parameters import Parameters
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS


class PassageListParameters(Parameters):
    """A page of a corpus, or of one of its sources: behind the passage ``after``, at most ``limit``."""

    source: Annotated[str, Field(max_length=500)] | None = None
    corpus: Annotated[str, Field(max_length=100)] | None = None
    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class QuestionListParameters(Parameters):
    """A page of a reader's own questions: behind the question ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


DESCRIPTIONS: dict[str, tuple[str, Any]] = {
    "q": ("Words that prompt, completion or names hold, all of them; the last may be the beginning of a word.", "peru"),
    "task": ("Prompts of one task.", "facts"),
    "relation": ("Prompts of one relation, exactly.", "capital"),
    "bucket": ("How many passages state the fact; several joined by commas.", ["1", "2-4"]),
    "correct": ("Whether the model's answer is right.", True),
    "confident": ("Whether the model's answer has a probability of more than 0.5.", True),
    "annotated": ("Whether somebody has annotated the prompt.", False),
    "opponents": ("Whether a method that looks at the model stores opponents.", True),
    "sort": (
        "Order of the list: of loading, by the answer's probability, by how many passages state the fact, or by the "
        "reciprocal rank with TrackStar. Prompts without that value come last.",
        "most-confident",
    ),
    "methods": ("Methods whose lists to give, joined by commas; by default all.", ["trackstar", "bm25"]),
    "k": ("Passages of each list; at most 20 opponents are stored.", 10),
    "side": ("The side that the page shows.", "opponents"),
    "start": ("The card of each column that the page of HTML begins with.", 11),
    "copies": ("Whether the page folds near-copies.", "each"),
    "source": ("Passages of one source, exactly.", "CIA World Factbook"),
    "corpus": ("Id of a corpus; by default the newest one.", "c0ffee000001"),
    "after": ("The slug or id of the item that the page starts behind; `next` carries it.", "capital-peru"),
    "limit": ("Most items of a page.", 20),
}
"""Parameter -> what it means, an example."""

CHOICES: dict[str, dict[str, Any]] = {
    "task": {"enum": list(TASKS)},
    "bucket": {"type": "array", "items": {"type": "string", "enum": list(BUCKETS)}},
    "methods": {"type": "array", "items": {"type": "string"}},
}
"""What the schemas of the models do not say, because validators check it."""

FOR_PAGES = " Makes no difference to this answer: accepted so that the parameters of a page serve here too."


def documented(
    model: type[Parameters],
    described: dict[str, tuple[str, Any]] | None = None,
    matter: frozenset[str] | None = None,
) -> dict[str, Any]:
    """A model's query parameters for an operation of OpenAPI.

    ``described`` replaces texts and examples above; only parameters of ``matter`` (by default all) make a difference.
    """
    texts = DESCRIPTIONS | (described or {})
    shown = []
    for name, schema in model.model_json_schema()["properties"].items():
        text, example = texts[name]
        matters = matter is None or name in matter
        shown.append(
            {
                "name": name,
                "in": "query",
                "description": text if matters else text + FOR_PAGES,
                "schema": {**_schema(name, schema), "examples": [example]},
                **({"style": "form", "explode": False} if CHOICES.get(name, {}).get("type") == "array" else {}),
            }
        )
    return {"parameters": sorted(shown, key=lambda one: not (matter is None or one["name"] in matter))}


def _schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is given: a parameter that is not needed is left out, not null."""
    given: dict[str, Any] = next((one for one in schema.get("anyOf", ()) if one != {"type": "null"}), schema)
    kept = {key: value for key, value in given.items() if key not in ("title", "description")}
    if CHOICES.get(name, {}).get("type") == "array":
        kept = {}
    if kept.get("default", ...) is None:
        del kept["default"]
    return {**kept, **CHOICES.get(name, {})}
