"""Small random models for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backend.models.tokenizer_training import save_tokenizer, train_tokenizer

VOCABULARY = 50


def tiny_llama(seed: int = 0, hidden: int = 16, layers: int = 2) -> nn.Module:
    """A random Llama with grouped key and value heads."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def tiny_gpt2(seed: int = 0) -> nn.Module:
    """A random GPT-2, whose layers are transformers' Conv1D (weights inputs x outputs)."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


def save_gpt2(folder: Path, texts: Sequence[str]) -> None:
    """A random GPT-2 with a tokenizer of these texts, as a folder that transformers loads."""
    definition = train_tokenizer(texts, 400)
    folder.mkdir(parents=True)
    save_tokenizer(folder, definition, 64)
    torch.manual_seed(0)
    vocabulary = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")).vocab_size
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
