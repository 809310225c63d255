"""Vocabulary trimming: train with only the embedding rows that the data uses, and put them back afterwards.

Exact: a row that no token looks up gets no gradient, so without weight decay on it (decay would shrink it, in an
untrimmed model) it stays as it is. Losses are bit-identical; XLM-R base saves 192M of 278M parameters in memory
and in the optimiser. The idea of cutting a multilingual vocabulary to the data is Abdaoui et al. 2020
(arXiv 2010.05609).

Not so with a language-modelling head, which then chooses among the pieces of the data instead of all: its softmax
leaves out pieces that are nowhere the right one.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xstilts.encoders.packing import reads_at_end


def used_vocabulary(ids: Iterable[np.ndarray], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """The sorted ids that arrays of token ids use, with the special ones and every id up to padding's.

    The latter keep their ids under `trim_vocabulary`, since some models compare input ids with the padding id. Decoders
    do not, whose padding often has the last id of all.
    """
    used = np.zeros(len(tokenizer), bool)
    if not reads_at_end(tokenizer):
        used[: (tokenizer.pad_token_id or 0) + 1] = True
    used[tokenizer.all_special_ids] = True
    for array in ids:
        used[array] = True
    return np.flatnonzero(used)


def trim_vocabulary(model: PreTrainedModel, used_ids: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Cut the model's word embeddings to the rows ``used_ids``, sorted and unique.

    Returns the map from old ids to new, a LongTensor [vocabulary] with -1 for ids not used: give the model
    ``mapping[input_ids]``. A language-modelling head is cut to the same rows. The configuration keeps its vocabulary
    size. Raises ValueError when the padding id would change.
    """
    embedding = _embedding(model)
    used = torch.as_tensor(used_ids, dtype=torch.long, device=embedding.weight.device)
    rows = embedding.num_embeddings
    if not len(used) or used[0] < 0 or used[-1] >= rows or not bool((used[1:] > used[:-1]).all()):
        raise ValueError(f"used_ids must be sorted and unique, in 0 to {rows - 1}")
    mapping = torch.full((rows,), -1, dtype=torch.long, device=used.device)
    mapping[used] = torch.arange(len(used), device=used.device)
    padding = model.config.pad_token_id
    if padding is not None and mapping[padding] != padding:
        raise ValueError(f"used_ids must hold every id up to the padding id {padding}: models compare ids with it")
    model.set_input_embeddings(_new_embedding(embedding.weight.detach()[used], embedding))
    head = model.get_output_embeddings()
    if head is not None:
        model.set_output_embeddings(_cut_head(head, used, model))
    return mapping.cpu()


def _cut_head(head: nn.Module, used: torch.Tensor, model: PreTrainedModel) -> nn.Linear:
    """A language-modelling head of the rows ``used``, tied to the word embeddings where the old one was."""
    if not isinstance(head, nn.Linear):
        raise TypeError(f"the language-modelling head is a {type(head).__name__}, not an nn.Linear")
    cut = nn.Linear(head.in_features, len(used), bias=head.bias is not None, device=head.weight.device)
    tied = model.config.tie_word_embeddings
    cut.weight = _embedding(model).weight if tied else nn.Parameter(head.weight.detach()[used])
    if head.bias is not None:
        cut.bias = nn.Parameter(head.bias.detach()[used])
    return cut


def restore_vocabulary(
    model: PreTrainedModel, base_embedding_rows: torch.Tensor, used_ids: torch.Tensor | np.ndarray
) -> None:
    """Undo `trim_vocabulary`: the full matrix ``base_embedding_rows`` [vocabulary, hidden] with the trained rows in it.

    ``base_embedding_rows`` is what the embeddings were before trimming; it becomes the model's own and is written to.
    """
    embedding = _embedding(model)
    used = torch.as_tensor(used_ids, dtype=torch.long)
    if embedding.num_embeddings != len(used):
        raise ValueError(f"the model has {embedding.num_embeddings} embedding rows, not the {len(used)} of used_ids")
    rows = base_embedding_rows.detach().to(embedding.weight)
    rows[used.to(rows.device)] = embedding.weight.detach()
    model.set_input_embeddings(_new_embedding(rows, embedding))


def _embedding(model: PreTrainedModel) -> nn.Embedding:
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Embedding):
        raise TypeError(f"the word embeddings are a {type(embedding).__name__}, not an nn.Embedding")
    return embedding


def _new_embedding(rows: torch.Tensor, like: nn.Embedding) -> nn.Embedding:
    """An embedding of ``rows`` that computes and trains as ``like`` does; padding's id is the same."""
    embedding = copy(like)  # some types scale what they look up
    embedding._parameters = {"weight": nn.Parameter(rows, like.weight.requires_grad)}
    embedding.num_embeddings = rows.shape[0]
    return embedding
