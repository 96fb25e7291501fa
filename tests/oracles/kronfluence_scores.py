"""Influence with the identity for curvature by the package kronfluence: an implementation that is none of ours.

Its strategy ``identity`` scores a pair by the product of the two full gradients over the tracked linear layers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments
from kronfluence.task import Task
from torch.nn import functional
from torch.utils.data import TensorDataset


class SummedLoss(Task):
    """The loss summed over the tokens from a first target on."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers

    def compute_train_loss(self, batch, model, sample=False):
        """Of a batch (ids, first targets) of equal lengths."""
        ids, first = batch
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        losses = functional.cross_entropy(logits.mT, ids[:, 1:], reduction="none")
        return (losses * (torch.arange(1, ids.shape[1]) >= first[:, None])).sum()

    def compute_measurement(self, batch, model):
        """A query's loss, likewise."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self):
        """The layers whose gradients count."""
        return self.layers


Sequences = Sequence[tuple[list[int], int]]
"""(token ids, first target) of equal lengths."""


def identity_scores(
    model: torch.nn.Module, layers: list[str], folder: Path, passages: Sequences, queries: Sequences
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(queries, passages) products of gradients, and the squared norms of passages' and queries' own."""
    task = SummedLoss(layers)
    analyzer = Analyzer(
        "identity",
        prepare_model(model, task),
        task,
        cpu=True,
        output_dir=str(folder),
        disable_tqdm=True,
        log_level=logging.ERROR,
    )
    given, asked = _dataset(passages), _dataset(queries)
    analyzer.fit_all_factors("none", given, 4, factor_args=FactorArguments(strategy="identity"))
    analyzer.compute_pairwise_scores("pairs", "none", asked, given, 2, 4)
    analyzer.compute_self_scores("passages", "none", given, 4)
    analyzer.compute_self_scores("queries", "none", asked, 4)
    found = (
        analyzer.load_pairwise_scores("pairs"),
        analyzer.load_self_scores("passages"),
        analyzer.load_self_scores("queries"),
    )
    pairs, of_passages, of_queries = (scores["all_modules"].double().numpy() for scores in found)
    return pairs, of_passages, of_queries


def _dataset(sequences: Sequences) -> TensorDataset:
    return TensorDataset(torch.tensor([ids for ids, _ in sequences]), torch.tensor([first for _, first in sequences]))
