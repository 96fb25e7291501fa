"""What is wrong with a question, before it costs anything: said field by field, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from backend.core.artifacts import Home
from backend.core.errors import InputError, UserError
from backend.core.tokenizer import TextTokenizer

MOST_CHARACTERS = 20_000
"""Characters of a prompt or a completion: more are refused before they are tokenised."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one field."""

    field: str
    message: str

    @property
    def sentence(self) -> str:
        """The message where no field stands beside it."""
        return self.message if self.message[0].isupper() else f"The {self.field} {self.message}."


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens a question has, of those that its model takes; BOS included."""

    tokens: int
    limit: int


def complaints(home: Home, model_id: str | None, prompt: str, completion: str | None) -> list[Complaint]:
    """What is wrong with a question's texts; where they are right and there is a model, with its tokens."""
    found = text_complaints(prompt, completion)
    if not found and model_id is not None:
        return token_complaints(home, model_id, prompt, completion)
    return found


def text_complaints(prompt: str, completion: str | None) -> list[Complaint]:
    """What is wrong with the two texts whatever the model; a completion of None is the model's to give."""
    found = [_of_text("prompt", prompt)]
    if completion is not None:
        found.append(_of_text("completion", completion))
    return [complaint for complaint in found if complaint is not None]


def token_complaints(home: Home, model_id: str, prompt: str, completion: str | None) -> list[Complaint]:
    """Whether the question fits into its model, and its completion has a token of its own."""
    tokenizer = _tokenizer(home, model_id)
    if tokenizer is None:
        return []
    try:
        if completion is None:
            tokenizer.encode_prompt(prompt)
        else:
            tokenizer.encode_query(prompt, completion)
    except InputError as error:
        about = "completion" if completion is not None and "no token of its own" in error.message else "prompt"
        return [Complaint(about, str(error))]
    return []


def count_tokens(home: Home, model_id: str, prompt: str, completion: str | None) -> TokenCount | None:
    """Tokens of prompt and completion together; None where this machine does not have the model's tokenizer."""
    tokenizer = _tokenizer(home, model_id)
    return None if tokenizer is None else TokenCount(*tokenizer.count(prompt, completion or ""))


def _of_text(field: str, text: str) -> Complaint | None:
    if not text:
        return Complaint(field, "is empty")
    if "\0" in text:
        return Complaint(field, "holds a NUL character: remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        return Complaint(field, "holds half of a character (a lone surrogate): remove it")
    if not text.strip():
        return Complaint(field, "is white space alone")
    if len(text) > MOST_CHARACTERS:
        return Complaint(field, f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken")
    return None


def _tokenizer(home: Home, model_id: str) -> TextTokenizer | None:
    try:
        return _load(home.find("model", model_id))
    except UserError:
        return None


@lru_cache(maxsize=8)
def _load(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)
