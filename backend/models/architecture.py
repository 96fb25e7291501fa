"""A small Llama-architecture causal LM with random weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backend.core.errors import InputError
from backend.core.tokenizer import Tokenization


@dataclass(frozen=True)
class ArchitectureConfig:
    """Shape of the model. The defaults give 1.3M parameters with a vocabulary of 4,096."""

    hidden: int = 128
    """Width of the residual stream; a multiple of twice the number of heads (rotary positions)."""
    layers: int = 4
    """Number of blocks (attention + MLP)."""
    heads: int = 4
    """Attention heads, each with its own keys and values."""
    intermediate: int = 344
    """Width of the gated MLP."""
    context: int = 128
    """Most tokens of a sequence."""
    rope_theta: float = 10_000.0
    """Base of the rotary position frequencies."""
    initial_deviation: float = 0.02
    """Standard deviation of the random weights. Adafactor's steps are relative to it."""

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers, self.heads, self.intermediate) < 1 or self.context < 2:
            raise InputError("Every size of the architecture must be positive, and the context at least 2.")
        if self.hidden % (2 * self.heads):
            raise InputError(
                f"A hidden size of {self.hidden} cannot be shared among {self.heads} heads.",
                f"Make it a multiple of {2 * self.heads}.",
            )


def build_model(config: ArchitectureConfig, vocabulary: int, tokenization: Tokenization, seed: int) -> LlamaForCausalLM:
    """The model at its random start, float32 on the CPU; the same weights for the same seed, whatever ran
    before.

    Input embeddings and head are one matrix: at this size an untied head adds 40% of the parameters, and
    Adafactor with its epsilon of 1e-30 divides by zero at rows of the input embeddings that have never had a
    gradient.
    """
    llama = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.context,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        initializer_range=config.initial_deviation,
        tie_word_embeddings=True,
        bos_token_id=tokenization.bos,
        eos_token_id=tokenization.eos,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(llama)
