"""The mean last hidden state of the attributed model: what representation similarity compares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from backend.core.records import Passage, Query
from backend.embeddings.embedder import HIDDEN_STATES, Embedder, mean_over
from backend.models.loading import LoadedModel

CONFIG = {"embedding": HIDDEN_STATES, "pooling": "mean over the text's own tokens"}


class HiddenStates(Embedder):
    """The last hidden states (after the final norm), averaged over a text's own tokens.

    The model sees a passage as it is trained on it and a query as its loss takes it; BOS and EOS, which all texts
    share, are left out of the mean.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model.eval()
        self._tokenizer, self._device = loaded.tokenizer, loaded.device

    def passage_tokens(self, passages: Sequence[Passage]) -> list[list[int]]:
        """As for training, cut to the context."""
        return [encoded.ids for encoded in self._tokenizer.encode_passages(passage.text for passage in passages)]

    def query_tokens(self, query: Query) -> list[int]:
        """As for the loss; raises InputError naming the query where it is longer than the context."""
        return self._tokenizer.encode_named(query).ids

    def pooled(self, ids_BT: Tensor) -> Tensor:
        """Means over the text's own tokens."""
        ids_BT = ids_BT.to(self._device)
        hidden_BTH = self._model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        own_BT = torch.ones_like(ids_BT, dtype=torch.bool)
        # A text that spells a special token is encoded as text: such ids stand at the ends only.
        own_BT[:, 0] = ids_BT[:, 0] != _id(self._tokenizer.tokenization.bos)
        own_BT[:, -1] &= ids_BT[:, -1] != _id(self._tokenizer.tokenization.eos)
        own_BT[~own_BT.any(dim=1)] = True
        return mean_over(hidden_BTH, own_BT)


def _id(token: int | None) -> int:
    return -1 if token is None else token
