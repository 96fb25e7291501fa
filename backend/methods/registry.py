"""All methods by slug. An own method is one file with a class that fits ``Method``, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from backend.core.errors import UserError
from backend.embeddings.embedder import HIDDEN_STATES, SENTENCES
from backend.gradients.projections import PCA
from backend.methods.bm25 import BM25
from backend.methods.gradient_products import GradientProduct
from backend.methods.length import Length
from backend.methods.logra import LoGra
from backend.methods.protocol import Method, MethodInputs, PreparedMethod
from backend.methods.random_scores import Random
from backend.methods.similarity import Similarity
from backend.methods.trackstar import TrackStar
from backend.methods.trak import Trak

_REGISTRY: dict[str, Method] = {}
_ROW_SET_SUFFIX = {"-no-v": "raw", "-v": "v"}
_PCA_SUFFIX = "-pca"


@dataclass(frozen=True)
class OnPrincipalAxes:
    """A projected method over the store whose projections are principal axes."""

    slug: str
    base: Method
    projection: str = PCA

    @property
    def row_set(self) -> str | None:
        """That of the method."""
        return self.base.row_set

    def config(self) -> dict[str, Any]:
        """The method's own parameters, and the kind of store."""
        return {**self.base.config(), "projection": self.projection}

    def prepare(self, inputs: MethodInputs) -> PreparedMethod:
        """The method itself."""
        return self.base.prepare(inputs)


def register(method: Method) -> None:
    """Make a method known under its slug; raises UserError if the slug is taken."""
    if method.slug in _REGISTRY:
        raise UserError(f"There is already a method {method.slug!r}.", "Give yours another slug.")
    _REGISTRY[method.slug] = method


def find_method(slug: str) -> Method:
    """The method of a slug.

    ``-v`` and ``-no-v`` give a projected method on the other row set, ``-pca`` behind these one on a store of principal
    axes. Raises UserError where there is none.
    """
    found = _find(slug)
    if found is not None:
        return found
    near = get_close_matches(slug, _REGISTRY, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UserError(f"There is no method {slug!r}.", f"{hint}Known: {', '.join(_REGISTRY)}.")


def method_of_run(run_id: str, slug: str, config: Mapping[str, Any]) -> Method:
    """The method that made a run with this config; raises UserError where this version's has other parameters."""
    method = find_method(slug)
    if any(config.get(name) != value for name, value in method.config().items()):
        raise UserError(
            f"Run {run_id} was made with other parameters than this version's {slug}.", "Rank again: `proponent rank`."
        )
    return method


def _find(slug: str) -> Method | None:
    if slug in _REGISTRY:
        return _REGISTRY[slug]
    if slug.endswith(_PCA_SUFFIX):
        projected = _find(slug.removesuffix(_PCA_SUFFIX))
        known = projected is not None and projected.row_set is not None and not hasattr(projected, "projection")
        return OnPrincipalAxes(slug, projected) if projected is not None and known else None
    for suffix, row_set in _ROW_SET_SUFFIX.items():
        base: Any = _REGISTRY.get(slug.removesuffix(suffix)) if slug.endswith(suffix) else None
        if base is not None and base.row_set not in (None, row_set):
            return replace(base, slug=slug, row_set=row_set)
    return None


register(TrackStar("trackstar", task_specific=True))
register(BM25())
register(TrackStar("trackstar-general", task_specific=False))
register(GradientProduct("gradient-dot", unit_norm=False))
register(GradientProduct("gradient-cosine", unit_norm=True))
register(Random())
register(TrackStar("trackstar-dot", task_specific=True, unit_norm=False))
register(LoGra("logra", relative=False))
register(LoGra("logra-relatif", relative=True))
register(Trak())
register(Length())
register(Similarity("representation", HIDDEN_STATES))
register(Similarity("dense", SENTENCES))
