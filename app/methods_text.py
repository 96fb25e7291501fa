"""What pages say about each method: its name, one line, and a caveat in plain words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MethodText:
    """A method in words for a reader who has never heard of it."""

    slug: str
    title: str
    line: str
    """What it ranks by, in one sentence."""
    caveat: str
    """What its lists must not be taken for."""
    looks_at_model: bool = True


_TEXTS = (
    MethodText(
        "trackstar",
        "TrackStar",
        "Ranks passages by how much learning them should have pushed the model towards this completion.",
        "An estimate of influence, not a proof: a passage can stand high because it taught the model what "
        "answers of this kind look like, without stating the fact.",
    ),
    MethodText(
        "trackstar-general",
        "TrackStar (general)",
        "TrackStar without looking at the task: only the whole corpus tells what is common.",
        "An estimate of influence, not a proof. Passages that merely share the prompt’s template stand "
        "higher here than with TrackStar.",
    ),
    MethodText(
        "trackstar-dot",
        "TrackStar without unit norm",
        "TrackStar before the sizes of the gradients are divided out: one part taken away, to see what it does.",
        "Long or unusual passages have large gradients and rise for almost every prompt. Read it beside TrackStar.",
    ),
    MethodText(
        "gradient-dot",
        "Gradient dot product",
        "Multiplies the passage’s training gradient with the prompt’s, and nothing else.",
        "Long or unusual passages have large gradients and rise for almost every prompt. A baseline: read it "
        "beside another method.",
    ),
    MethodText(
        "gradient-cosine",
        "Gradient cosine",
        "Compares the directions of the passage’s and the prompt’s gradients, whatever their size.",
        "Directions that every passage shares count in full, so wording and format can outweigh content.",
    ),
    MethodText(
        "trak",
        "TRAK-like",
        "Compares projected gradients after taking out what is common to the whole corpus, across all layers at once.",
        "From one model only, where the published method averages many: noisier than in the paper. Not normalised: "
        "passages with large gradients rise for almost every prompt.",
    ),
    MethodText(
        "logra",
        "LoGra",
        "Compares projected gradients after taking out what is common to the whole corpus, in each layer by itself.",
        "Not normalised: passages with large gradients rise for almost every prompt.",
    ),
    MethodText(
        "logra-relatif",
        "LoGra, relative",
        "LoGra, divided by how much a passage influences anything at all.",
        "An estimate of influence, not a proof; very short passages can profit from the division.",
    ),
    MethodText(
        "ekfac",
        "EK-FAC influence",
        "The classical influence function, with the curvature approximated layer by layer.",
        "Depends on a damping that no theory fixes, and describes a small change of training, not a removal.",
    ),
    MethodText(
        "bm25",
        "BM25",
        "A search engine’s ranking: passages that share rare words with the prompt and its completion.",
        "Knows nothing of the model. It is very good at finding passages that state the fact, and cannot "
        "tell whether the model learnt anything from them.",
        looks_at_model=False,
    ),
    MethodText(
        "dense",
        "Sentence embeddings",
        "Passages whose meaning, to a separate embedding model, is near the prompt’s.",
        "Knows nothing of this model: likeness, not influence.",
        looks_at_model=False,
    ),
    MethodText(
        "representation",
        "Representation similarity",
        "Passages that the model itself represents much like the prompt.",
        "Likeness inside the model is not influence on it.",
    ),
    MethodText(
        "length",
        "Length",
        "The passages with most words first, the same for every prompt: a baseline.",
        "A method that does no better than this one has found nothing but length.",
        looks_at_model=False,
    ),
    MethodText(
        "random",
        "Random",
        "Passages in random order: a baseline.",
        "There is nothing to learn from this list itself. It shows what chance looks like.",
        looks_at_model=False,
    ),
)
METHOD_TEXTS = {text.slug: text for text in _TEXTS}
"""Slug -> text, in the order in which pages list methods."""


def method_text(slug: str) -> MethodText:
    """The text of a method; a method that somebody registered gets its slug as its title."""
    if slug in METHOD_TEXTS:
        return METHOD_TEXTS[slug]
    if slug.endswith("-pca") and _base(slug) in METHOD_TEXTS:
        other = method_text(slug.removesuffix("-pca"))
        line = f"{other.line} Gradients are kept along the directions in which they vary most."
        return MethodText(slug, f"{other.title}, PCA projections", line, other.caveat, other.looks_at_model)
    for suffix, words in (("-no-v", "without optimizer correction"), ("-v", "with optimizer correction")):
        base = METHOD_TEXTS.get(slug.removesuffix(suffix)) if slug.endswith(suffix) else None
        if base is not None:
            title = f"{base.title}, {words}"
            return MethodText(slug, title, f"{base.line} Here {words}.", base.caveat, base.looks_at_model)
    return MethodText(
        slug,
        slug,
        "A method added to this installation.",
        "Ask whoever added it what its scores mean. A high rank is not a proof of influence.",
    )


def _base(slug: str) -> str:
    """A slug without what says which row set or store is read."""
    return slug.removesuffix("-pca").removesuffix("-no-v").removesuffix("-v")


def method_order(slug: str) -> tuple[int, str]:
    """Sort key: known methods in the order above, then others by name; variants behind their method."""
    base = _base(slug)
    places = {known: place for place, known in enumerate(METHOD_TEXTS)}
    return places.get(base, len(places)), slug
