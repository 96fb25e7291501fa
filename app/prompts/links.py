"""Addresses of a prompt's page with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.http.formats import address, prompt_address
from app.methods_text import MethodText, method_order, method_text
from app.prompts.parameters import K, PinnedParameters, PromptParameters
from app.prompts.rankings import Rankings
from backend.catalogue.runs import RunSummary


@dataclass(frozen=True, slots=True)
class Offer:
    """A method that could be shown beside the others."""

    text: MethodText
    url: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that changes one thing about the page."""

    label: str
    url: str
    chosen: bool


class PageLinks:
    """Links of one prompt's page."""

    def __init__(self, loaded: Rankings, shown: tuple[RunSummary, ...], asked: PinnedParameters, pinned: bool) -> None:
        self.loaded = loaded
        self.shown = shown
        self.asked = asked
        self.pinned = pinned
        self._chosen = isinstance(asked, PromptParameters) and asked.methods is not None
        self._listed = asked.list_address if isinstance(asked, PromptParameters) else {}

    def _view(self, **changed: Any) -> dict[str, Any]:
        """Side, number and place of the cards, less what is as usual."""
        state = {"side": self.asked.side, "k": self.asked.k, "copies": self.asked.copies, "start": 1, **changed}
        usual = {"side": "proponents", "k": K, "copies": "folded", "start": 1}
        return {name: value for name, value in state.items() if value != usual[name]}

    def permalink(self, runs: Sequence[RunSummary] | None = None) -> str:
        """This view pinned to the shown runs, or to others."""
        pinned = tuple(dict.fromkeys(run.id for run in (self.shown if runs is None else runs)))
        return prompt_address(self.loaded.prompt.slug, pinned, **self._view(start=self.asked.start))

    def current(self) -> str:
        """The same view of the current runs."""
        return prompt_address(self.loaded.prompt.slug, **self._view())

    def anchor(self, run: RunSummary) -> str:
        """What ids in a run's column begin with: its method, or its id where a method is pinned twice."""
        twice = sum(other.method == run.method for other in self.shown) > 1
        return run.id if twice else run.method

    def to(
        self, *, slug: str | None = None, methods: Sequence[str] | None = None, listed: bool = True, **changed: Any
    ) -> str:
        """This page with something changed; ``listed``: as opened from the same list. Cards start anew."""
        parameters = self._view(**changed)
        origin = self._listed if listed else {}
        return self._address(slug or self.loaded.prompt.slug, methods, {**origin, **parameters})

    def twin(self, suffix: str) -> str:
        """The same lists as data."""
        k = {} if self.asked.k == K else {"k": self.asked.k}
        return self._address(self.loaded.prompt.slug, [run.method for run in self.shown], k, suffix)

    def _address(
        self, slug: str, methods: Sequence[str] | None, parameters: Mapping[str, object], suffix: str = ""
    ) -> str:
        if methods is None and self._chosen:
            methods = [run.method for run in self.shown]
        named = {"methods": ",".join(methods)} if methods and not self.pinned else {}
        runs = tuple(run.id for run in self.shown) if self.pinned else ()
        return prompt_address(slug, runs, suffix, **{**parameters, **named})

    def of(self, slug: str | None, *, listed: bool = True) -> str | None:
        """The page of another prompt, shown in the same way."""
        return None if slug is None else self.to(slug=slug, listed=listed)

    def back(self) -> str:
        """The list that the prompt was opened from; of a reader's question their own questions."""
        return "/questions" if self.loaded.prompt.asked else address("/prompts", self._listed)

    def to_card(self, run: RunSummary, rank: int, start: int) -> str:
        """The page of cards that begins with a card, at that card."""
        return f"{self.to(start=start)}#{self.anchor(run)}-{abs(rank)}"

    def without(self, run: RunSummary) -> str | None:
        """This page without a column; None for the last one and on permalinks."""
        rest = [other.method for other in self.shown if other is not run]
        return self.to(methods=rest) if rest and not self.pinned else None

    def newer(self, run: RunSummary, newer: RunSummary | None) -> str | None:
        """The permalink with a newer run in the place of one."""
        if newer is None:
            return None
        return self.permalink([newer if other is run else other for other in self.shown])

    def offers(self) -> list[Offer]:
        """Methods that are not shown, each with the page that shows it too."""
        shown = [run.method for run in self.shown]
        others = sorted({run.method for run in self.loaded.runs} - set(shown), key=method_order)
        return [Offer(method_text(method), self.to(methods=[*shown, method])) for method in others]

    def sides(self) -> list[Choice]:
        """Proponents or opponents."""
        named = (("proponents", "Proponents"), ("opponents", "Opponents"))
        return [Choice(label, self.to(side=side), self.asked.side == side) for side, label in named]

    def sizes(self, most: int) -> list[Choice]:
        """How many cards of a method, up to what a page with these columns holds."""
        effective = min(self.asked.k, most)
        offered = sorted({k for k in (10, 25, 50) if k <= most} | {effective})
        return [Choice(str(k), self.to(k=k), k == effective) for k in offered]

    def folds(self) -> list[Choice]:
        """Near-copies under the first of them, or each by itself."""
        named = (("folded", "folded"), ("each", "one by one"))
        return [Choice(label, self.to(copies=copies), self.asked.copies == copies) for copies, label in named]
