"""TokenizerModule: steps and logs; the maths is in `losses`, the networks in `rvq_action`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training import losses
from tokenizer_training.dropout import (
    DropoutRates,
    drop_condition,
    prefix_mask,
    token_positions,
)
from tokenizer_training.losses import LossWeights
from tokenizer_training.portable import to_portable


class TokenizerModule(LightningModule):
    """Trains the networks of a tokenizer that starts as a closed form.

    Args:
        weights: Of the loss terms.
        dropout: What is withheld, and how often.
        learning_rate: Peak of AdamW's.
        weight_decay: AdamW's.
        warmup_steps: Steps over which the learning rate rises, before a cosine to zero.
        seed: Of the dropout.

    Attributes:
        start: The artefact that training starts from; to be set before the trainer runs.
    """

    start: Path
    tokenizer: ActionTokenizer

    def __init__(
        self,
        weights: LossWeights,
        dropout: DropoutRates,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_steps: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weights, self.dropout, self.seed = weights, dropout, seed
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.warmup_steps = warmup_steps
        self.model: torch.nn.Module | None = None

    def configure_model(self) -> None:
        """Load the start: here, not earlier, because codebooks of several processes keep together
        only if they are built after the processes know of one another."""
        if self.model is None:
            self.tokenizer = ActionTokenizer.from_pretrained(self.start)
            self.model = self.tokenizer.model.train()
            self._positions = token_positions(self.tokenizer.token_order)

    def training_step(self, batch: list[ActionChunk], batch_idx: int) -> Tensor:
        generator = self._generator()
        size = sum(map(len, batch))
        terms: dict[str, Tensor] = {}
        for chunk in batch:
            for name, term in self._terms(chunk, generator).items():
                terms[name] = terms.get(name, 0.0) + term * (len(chunk) / size)
        total = self.weights.total(terms)
        self.log("train/total", total, prog_bar=True, batch_size=size)
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=size)
        return total

    def _terms(self, chunk: ActionChunk, generator: torch.Generator) -> dict[str, Tensor]:
        """Every loss term on the chunks of one dataset."""
        assert self.model is not None
        given = self.tokenizer.prepare(chunk)
        condition = drop_condition(given.condition, self.dropout, generator)
        keep = prefix_mask(len(chunk), self._positions, self.dropout.prefix, generator)
        output = self.model(given.x, given.mask, condition, keep.to(given.x.device))
        known = self.tokenizer.embodiments[chunk.embodiment]
        width = known.layout.width
        ours, theirs, mask = (
            tensor[..., :width] for tensor in (output.reconstruction, given.x, given.mask)
        )
        layout = known.layout
        return {
            "reconstruction": losses.reconstruction(ours, theirs, mask, layout),
            "rotation": losses.rotation(ours, theirs, mask, layout, known.actions),
            "dct": losses.dct(ours, theirs, mask),
            "smoothness": losses.smoothness(ours, theirs, mask),
            "commitment": output.commitment,
        }

    def _generator(self) -> torch.Generator:
        """Randomness that depends on nothing but seed, step and process."""
        state = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        return torch.Generator().manual_seed(int(state.generate_state(1)[0]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        """Share of the peak learning rate: a linear rise, then half a cosine."""
        rise, total = self.warmup_steps, self.trainer.max_steps
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the weights alone do not say, so that a checkpoint can be exported."""
        checkpoint["tokenizer"] = to_portable(self.tokenizer)
