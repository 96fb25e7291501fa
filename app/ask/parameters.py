"""Query parameters of the pages of questions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from app.ask.forms import Typed
from app.http.formats import address
from app.http.parameters import Parameters
from backend.jobs.checking import MOST_CHARACTERS
from backend.jobs.records import MOST_K, MOST_SAMPLES, SAMPLES, K

LONGEST_ADDRESS = 30_000
"""Characters of an address that fills the form in; servers and browsers refuse very long ones."""

MOST_PAGES = 100
Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Name = Annotated[str, Field(max_length=200)]


class AskParameters(Parameters):
    """What the form begins with."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"method"})

    prompt: Text = ""
    completion: Text = ""
    by: Literal["own", "model"] = "own"
    samples: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = SAMPLES
    method: Annotated[str, Field(max_length=1000)] = ""
    task: Name = ""
    k: Annotated[int, Field(ge=1, le=MOST_K)] = K
    query_set: Name = ""

    @property
    def typed(self) -> Typed:
        """The same as if it had been typed."""
        methods = tuple(dict.fromkeys(part for part in self.method.split(",") if part))
        return Typed(
            self.prompt, self.completion, self.by, str(self.samples), methods, self.task, str(self.k), self.query_set
        )


class PageParameters(Parameters):
    """A page of one's own questions."""

    page: Annotated[int, Field(ge=1, le=MOST_PAGES)] = 1


def ask_address(
    prompt: str, completion: str | None = None, task: str | None = None, query_set: str | None = None, **more: Any
) -> str:
    """The form filled in; without the texts where they are too long for an address."""
    texts = {"prompt": prompt, "completion": completion}
    rest = {"task": task, "query_set": query_set, **more}
    full = address("/ask", {**texts, **rest})
    return full if len(full) <= LONGEST_ADDRESS else address("/ask", rest)
