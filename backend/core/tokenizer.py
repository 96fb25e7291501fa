"""Text to token ids, the same for training, attribution and the web application: `tokenizers` only, no torch.

Special tokens are put on here and nowhere else: a ``tokenizer.json``'s own post-processor is set aside, and
text that happens to spell a special token is encoded as text.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tokenizers

from backend.core.errors import CorruptArtifact, InputError, MissingArtifact
from backend.core.files import canonical_json, read_json, write_json
from backend.core.records import Query
from backend.core.text import join_query

TOKENIZER = "tokenizer.json"
TOKENIZATION = "tokenization.json"
"""File of a model's folder that holds its ``Tokenization``."""


@dataclass(frozen=True, slots=True)
class Tokenization:
    """Which special tokens frame a text, and how many tokens the model takes."""

    bos: int | None
    """Id put before every passage and query; None: the first token of a text cannot be predicted."""
    eos: int | None
    """Id put after every passage (never after a query); None for none."""
    context: int
    """Most tokens of a sequence, special tokens included."""


@dataclass(frozen=True, slots=True)
class EncodedPassage:
    """A passage as the model is trained on it."""

    ids: list[int]
    truncated: bool
    """True if the passage was longer than the context; only its first ``context`` tokens are kept."""


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A prompt and completion as one sequence."""

    ids: list[int]
    first_target: int
    """Index of the completion's first token, at least 1: the loss is over ``ids[first_target:]``."""


class TextTokenizer:
    """Any fast tokenizer of the Hugging Face kind, with one rule for special tokens and for the query
    boundary.
    """

    def __init__(self, definition: str, tokenization: Tokenization) -> None:
        """``definition`` is the text of a ``tokenizer.json``; raises InputError if it is not one."""
        try:
            backend = tokenizers.Tokenizer.from_str(definition)
        except Exception as error:
            raise InputError(
                f"The tokenizer's definition cannot be read ({error}).",
                "Give the tokenizer.json of a fast (Hugging Face) tokenizer.",
            ) from error
        backend.no_truncation()
        backend.no_padding()
        # A byte-level post-processor trims white space from offsets: tokens would move over the boundary.
        backend.post_processor = None
        backend.encode_special_tokens = True
        self._backend = backend
        self.definition = definition
        self.tokenization = tokenization

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """The tokenizer of a model artifact's folder; raises MissingArtifact or CorruptArtifact."""
        for name in (TOKENIZER, TOKENIZATION):
            if not (folder / name).exists():
                raise MissingArtifact(f"{folder} has no {name}.", "Make the model artifact again.")
        try:
            tokenization = Tokenization(**read_json(folder / TOKENIZATION))
        except TypeError as error:
            raise CorruptArtifact(
                f"{folder / TOKENIZATION} does not have the form of a tokenization ({error}).",
                "Make the model artifact again.",
            ) from error
        return cls((folder / TOKENIZER).read_text(encoding="utf-8"), tokenization)

    def save_tokenization(self, folder: Path) -> None:
        """Write the folder's ``tokenization.json``."""
        write_json(folder / TOKENIZATION, asdict(self.tokenization))

    @property
    def vocabulary(self) -> int:
        """Number of tokens, special ones included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What two models must share for their token ids to mean the same."""
        return {"sha256": hashlib.sha256(self.definition.encode()).hexdigest(), **asdict(self.tokenization)}

    @property
    def fingerprint_hash(self) -> str:
        """SHA-256 (hex) of the fingerprint."""
        return hashlib.sha256(canonical_json(self.fingerprint).encode()).hexdigest()

    def encode_passage(self, text: str) -> EncodedPassage:
        """BOS + the text's tokens + EOS, cut to the context. The text is brought to NFC, like a query's."""
        return self._frame(self._backend.encode(_nfc(text), add_special_tokens=False).ids)

    def encode_passages(self, texts: Iterable[str]) -> list[EncodedPassage]:
        """``encode_passage`` of many texts, in parallel."""
        encodings = self._backend.encode_batch_fast([_nfc(text) for text in texts], add_special_tokens=False)
        return [self._frame(encoding.ids) for encoding in encodings]

    def encode_query(self, prompt: str, completion: str) -> EncodedQuery:
        """BOS + prompt and completion tokenised as one text (``text.join_query``).

        The completion's tokens are those whose first character is at or after the boundary. Raises InputError
        where there is none, or where the query is longer than the context.
        """
        text, boundary = join_query(prompt, completion)
        encoding = self._backend.encode(text, add_special_tokens=False)
        own = next((i for i, (start, _) in enumerate(encoding.offsets) if start >= boundary), None)
        ids = [*self._bos, *encoding.ids]
        first = None if own is None else max(1, own + len(self._bos))
        if first is None or first >= len(ids):
            raise InputError(
                f"The completion {completion!r} has no token of its own after the prompt {prompt[-40:]!r}.",
                "Move white space from the prompt's end to the completion, or give a longer completion.",
            )
        self._check_context(len(ids), "The prompt and completion have")
        return EncodedQuery(ids, first)

    def encode_named(self, query: Query) -> EncodedQuery:
        """``encode_query`` of one of many queries: its errors name the query."""
        try:
            return self.encode_query(query.prompt, query.completion)
        except InputError as error:
            raise InputError(f"Query {query.id!r}: {error.message}", error.remedy) from error

    def encode_prompt(self, prompt: str) -> list[int]:
        """BOS + the prompt's tokens, for generation; raises InputError if empty or not shorter than the
        context.
        """
        ids = [*self._bos, *self._backend.encode(_nfc(prompt), add_special_tokens=False).ids]
        if not ids:
            raise InputError("The prompt is empty, and this model's tokenizer has no token to begin with.", "Give one.")
        self._check_context(len(ids) + 1, "The prompt and one generated token have")
        return ids

    def count(self, prompt: str, completion: str) -> tuple[int, int]:
        """(tokens of prompt and completion together, BOS included; how many the model takes)."""
        text, _ = join_query(prompt, completion)
        tokens = self._backend.encode(text, add_special_tokens=False).ids
        return len(self._bos) + len(tokens), self.tokenization.context

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens are left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in characters of the NFC text of each of its tokens, without special tokens."""
        return self._backend.encode(_nfc(text), add_special_tokens=False).offsets

    @property
    def _bos(self) -> tuple[int, ...]:
        return () if self.tokenization.bos is None else (self.tokenization.bos,)

    def _frame(self, tokens: Sequence[int]) -> EncodedPassage:
        eos = () if self.tokenization.eos is None else (self.tokenization.eos,)
        ids = [*self._bos, *tokens, *eos]
        context = self.tokenization.context
        return EncodedPassage(ids[:context], len(ids) > context)

    def _check_context(self, tokens: int, what: str) -> None:
        context = self.tokenization.context
        if tokens > context:
            raise InputError(
                f"{what} {tokens} tokens; this model takes {context}.",
                f"Shorten it by {tokens - context} tokens.",
            )


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
