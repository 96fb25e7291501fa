"""Greedy decoding and sampling with a key-value cache, for prompts of equal length.

A row's tokens depend on its own prompt and its own random numbers; batch-mates can only move logits in the
last bits of float32.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.models.batching import equal_length_batches
from backend.models.loading import LoadedModel

Choose = Callable[[Tensor, int], Tensor]
"""(log-probabilities (B, V) float64, index of the generated token) -> chosen token ids (B,)."""

SENTENCE_END = re.compile(r"(?<!\b[A-Z])(?<!\b(?:St|Mt|Ft|Dr|Mr|Ms))(?<!\bMrs)[.!?][\"'”’)\]]*(?=\s)")
"""The end of a sentence that something follows; initials and common abbreviations do not end one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop generating."""

    max_new_tokens: int
    """Most tokens to generate."""
    one_sentence: bool
    """Stop at the end of the first sentence; at a line's end and at EOS generation stops in any case."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model generated after a prompt."""

    ids: list[int]
    """Token ids, up to and with the EOS or the token that completes the text."""
    text: str
    """The text, without special tokens and white space around it."""
    probability: float
    """Product of the probabilities of ``ids``."""


def greedy(log_probabilities_BV: Tensor, index: int) -> Tensor:
    """The most probable token; the lowest id of equals."""
    return log_probabilities_BV.argmax(dim=-1)


def sampler(seed: int, keys: Sequence[str], max_new_tokens: int) -> Choose:
    """Sample from the model's distribution (temperature 1) by inverting its cumulative sum.

    Row i draws from a stream that depends on ``seed`` and ``keys[i]`` alone.
    """
    uniforms = np.stack([_uniforms(seed, key, max_new_tokens) for key in keys])

    def choose(log_probabilities_BV: Tensor, index: int) -> Tensor:
        cumulative = log_probabilities_BV.exp().cumsum(dim=-1)
        draws = torch.from_numpy(uniforms[:, index]).to(cumulative.device)
        at = torch.searchsorted(cumulative, (draws * cumulative[:, -1]).unsqueeze(1), right=True).squeeze(1)
        return at.clamp_(max=cumulative.shape[1] - 1)

    return choose


@torch.inference_mode()
def decode(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], limits: Sequence[Limits], choose: Choose = greedy
) -> list[Generated]:
    """Generate after prompts of one length (token ids); no prompt and its continuation outgrow the context.

    The distributions are those at temperature 1; ``probability`` is the product over the tokens of the text,
    EOS included where the model ended with it, and not the tokens after the end of the line or sentence.
    """
    room = loaded.context - len(prompts[0])
    most = [min(limit.max_new_tokens, room) for limit in limits]
    model, eos = loaded.model, loaded.tokenization.eos
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    ids: list[list[int]] = [[] for _ in prompts]
    log_probabilities: list[list[float]] = [[] for _ in prompts]
    finished = [number < 1 for number in most]
    inputs, cache = torch.tensor([list(prompt) for prompt in prompts], device=loaded.device), None
    for index in range(max(most)):
        output = model(input_ids=inputs, past_key_values=cache, use_cache=True, **last_only)
        cache = output.past_key_values
        scores_BV = output.logits[:, -1].double().log_softmax(dim=-1)
        chosen = choose(scores_BV, index)
        chances = scores_BV.gather(1, chosen.unsqueeze(1)).squeeze(1).tolist()
        for row, (token, chance) in enumerate(zip(chosen.tolist(), chances, strict=True)):
            if finished[row]:
                continue
            ids[row].append(token)
            log_probabilities[row].append(chance)
            finished[row] = (
                token == eos
                or len(ids[row]) >= most[row]
                or _end(loaded.tokenizer.decode(ids[row]), limits[row]) is not None
            )
        if all(finished):
            break
        inputs = chosen.unsqueeze(1)
    return [_generated(loaded, *row) for row in zip(ids, log_probabilities, limits, strict=True)]


@torch.inference_mode()
def target_log_probabilities(
    loaded: LoadedModel, sequences: Sequence[tuple[Sequence[int], int]], max_tokens: int = 4096
) -> list[float]:
    """Log-probability (nats) of ``ids[first_target:]`` given what is before, for each (ids, first_target)."""
    results = [0.0] * len(sequences)
    for batch in equal_length_batches([len(ids) for ids, _ in sequences], max_tokens=max_tokens):
        ids_BT = torch.tensor([list(sequences[row][0]) for row in batch], device=loaded.device)
        first = torch.tensor([sequences[row][1] for row in batch], device=loaded.device)
        start = max(1, int(first.min()))
        logits = loaded.model(input_ids=ids_BT, use_cache=False).logits[:, start - 1 : -1]
        scores = logits.double().log_softmax(dim=-1).gather(2, ids_BT[:, start:, None]).squeeze(2)
        counted = torch.arange(start, ids_BT.shape[1], device=loaded.device)[None] >= first[:, None]
        for row, total in zip(batch, (scores * counted).sum(dim=1).tolist(), strict=True):
            results[row] = total
    return results


def _generated(loaded: LoadedModel, ids: list[int], log_probabilities: list[float], limits: Limits) -> Generated:
    text = loaded.tokenizer.decode(ids)
    end = _end(text, limits)
    if end is not None:
        kept = next(n for n in range(len(ids) + 1) if loaded.tokenizer.decode(ids[:n]).startswith(text[:end]))
        ids, log_probabilities, text = ids[:kept], log_probabilities[:kept], text[:end]
    return Generated(ids, text.strip(), float(np.exp(sum(log_probabilities))))


def _end(text: str, limits: Limits) -> int | None:
    """Where the text ends, white space after it left out; None while it may go on."""
    start = len(text) - len(text.lstrip())
    ends = []
    line = text.find("\n", start)
    if line >= 0:
        ends.append(len(text[:line].rstrip()))
    sentence = SENTENCE_END.search(text, start) if limits.one_sentence else None
    if sentence:
        ends.append(sentence.end())
    return min(ends, default=None)


def _uniforms(seed: int, key: str, count: int) -> np.ndarray:
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    words = np.frombuffer(digest, dtype="<u4")
    # RandomState's streams are frozen by numpy's compatibility policy, those of Generator are not.
    return np.random.RandomState(words.tolist()).random_sample(count)
