"""Where action tokens live among a language model's ids.

    0 .. language_size-1                  text, as the backbone came
    language_size .. +K·V-1               action tokens, `first_id + level · V + code`
    next                                  the place of the projected proprio token
    up to a multiple of 64                unused, for the matrix units' sake

The rows of the backbone are left as they are; the vocabulary is grown once, behind them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rvq_action.vocabulary import ActionVocabulary
from vla.config import VLAConfig

MULTIPLE = 64


@dataclass(frozen=True)
class VLAVocabulary:
    """Attributes:
    language_size: Rows the backbone had for text.
    actions: Codes <-> ids, behind those rows.
    """

    language_size: int
    actions: ActionVocabulary

    @classmethod
    def behind(cls, language_size: int, config: VLAConfig) -> VLAVocabulary:
        """The vocabulary of a policy whose backbone had so many rows."""
        return cls(language_size, config.action_vocabulary(language_size))

    def of_slots(self, num_slots: int) -> VLAVocabulary:
        """The same ids for codes of fewer slots, as robots with fewer channels have them."""
        return replace(self, actions=self.actions.of_slots(num_slots))

    @property
    def proprio_id(self) -> int:
        """Stands where the projected proprio goes; its own row is never looked at."""
        return self.language_size + self.actions.size

    @property
    def rows(self) -> int:
        """Rows of the embedding and the LM head."""
        return -(-(self.proprio_id + 1) // MULTIPLE) * MULTIPLE

    def valid_ids(self, position: int) -> range:
        """The ids that may stand at a position of a chunk's sequence."""
        _, level = self.actions.order[position]
        first = self.actions.first_id + level * self.actions.codebook_size
        return range(first, first + self.actions.codebook_size)

    def may_stand(self, position: int, end_id: int) -> Tensor:
        """int64, the ids that may stand there or, from the second position on, end the sequence."""
        return torch.tensor([*self.valid_ids(position), *([end_id] if position else [])])


def grow(vl_expert: Any, vocabulary: VLAVocabulary) -> None:
    """Give a backbone the rows of the action tokens; its own stay as they are.

    The new rows start around the mean of the old ones, so that no new token is likelier than an
    average one.

    Args:
        vl_expert: Qwen2.5-VL with `language_size` rows.
        vocabulary: What they are to become.
    """
    old = vocabulary.language_size
    vl_expert.resize_token_embeddings(vocabulary.rows, mean_resizing=False)
    tables = {vl_expert.get_input_embeddings().weight, vl_expert.get_output_embeddings().weight}
    with torch.no_grad():
        for table in tables:
            mean, spread = table[:old].float().mean(0), table[:old].float().std(0)
            noise = torch.randn(len(table) - old, table.shape[1], device=table.device)
            table[old:] = (mean + 0.1 * spread * noise).to(table.dtype)
