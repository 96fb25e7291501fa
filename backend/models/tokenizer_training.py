"""A byte-level BPE tokenizer trained on a corpus's own passages."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from backend.core.errors import InputError
from backend.core.files import atomic_file, write_json
from backend.core.tokenizer import TOKENIZER

END_OF_TEXT = "<|endoftext|>"
"""Begins and ends every passage: BOS and EOS are one token, id 0."""

SMALLEST_VOCABULARY = 257
"""256 bytes and the special token."""


def train_tokenizer(texts: Iterable[str], vocabulary: int = 4096) -> str:
    """Train byte-level BPE; returns the text of ``tokenizer.json``, the same for the same texts.

    Digits are split singly, so that numbers are made of the same few tokens everywhere. The vocabulary is
    smaller than asked for where the texts have too few pairs to merge. Raises InputError for a vocabulary
    below 257.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        raise InputError(
            f"A byte-level vocabulary of {vocabulary} tokens is too small.",
            f"Ask for {SMALLEST_VOCABULARY} or more.",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(END_OF_TEXT, special=True)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((unicodedata.normalize("NFC", text) for text in texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))]
    )
    return tokenizer.to_str(pretty=False)


def save_tokenizer(folder: Path, definition: str, context: int) -> None:
    """Write ``tokenizer.json`` and the configuration with which `transformers.AutoTokenizer` loads the
    folder.
    """
    with atomic_file(folder / TOKENIZER) as stream:
        stream.write(definition.encode())
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
        },
    )
