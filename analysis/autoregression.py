"""A small causal transformer over token sequences, given the anchor: how hard are they to learn?

Two layers of width 128 stand for the language model that is to emit the tokens. An id of one level
never competes with ids of another, because the position of a token tells its level; slots share the
ids of a level, as they do in a language model's vocabulary.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from analysis.codecs import ABSENT

WIDTH, LAYERS, HEADS, DROPOUT = 128, 2, 4, 0.1
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 600, 64, 3e-3, 0.05
LOOK_EVERY, LOOKED_AT = 50, 256
READ = 512


@dataclass(frozen=True)
class Sequences:
    """Token sequences with what is known before their first token.

    Attributes:
        tokens: int64 [N, L], absent ones -1.
        anchor: [N, A] float32, standardised; A may be 0.
    """

    tokens: Tensor
    anchor: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Tensor) -> Sequences:
        """Some of the sequences."""
        return Sequences(self.tokens[rows], self.anchor[rows])


class NextToken(nn.Module):
    """Predicts every token from the anchor and the tokens before it.

    Args:
        levels: [L] level of every position.
        sizes: [L] how many ids there are at every position.
        anchor_width: A.
    """

    levels: Tensor

    def __init__(self, levels: np.ndarray, sizes: np.ndarray, anchor_width: int) -> None:
        super().__init__()
        self.most = int(sizes.max())
        self.register_buffer("levels", torch.as_tensor(levels))
        ids = (int(levels.max()) + 1) * self.most
        self.enter = nn.Embedding(ids, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(len(levels), WIDTH))
        self.anchor = nn.Linear(anchor_width, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.leave = nn.Parameter(torch.zeros(ids, WIDTH))
        self.bias = nn.Parameter(torch.zeros(ids))

    def forward(self, given: Sequences) -> Tensor:
        """Cross-entropy of every token, [B, L] in nats; 0 where there is none."""
        real = given.tokens != ABSENT
        nats = torch.zeros(real.shape, device=real.device)
        longest = max(int(real.sum(1).max()), 1)
        hidden = self._hidden(given.tokens[:, :longest], given.anchor)
        for level in range(int(self.levels.max()) + 1):
            at = real[:, :longest] & (self.levels[:longest] == level)
            ids = slice(level * self.most, (level + 1) * self.most)
            logits = hidden[at] @ self.leave[ids].T + self.bias[ids]
            tokens = given.tokens[:, :longest][at]
            found = nn.functional.cross_entropy(logits, tokens, reduction="none")
            nats[:, :longest][at] = found
        return nats

    def _hidden(self, tokens: Tensor, anchor: Tensor) -> Tensor:
        """[B, L, WIDTH]: what is known at every position, from the anchor and tokens before."""
        length = tokens.shape[1]
        before = self.levels[: length - 1] * self.most + tokens[:, :-1].clamp(min=0)
        entered = torch.cat([self.anchor(anchor)[:, None], self.enter(before)], dim=1)
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        return self.norm(self.layers(entered + self.position[:length], mask=mask, is_causal=True))


def fit(
    training: Sequences,
    validation: Sequences,
    levels: np.ndarray,
    sizes: np.ndarray,
    seed: int = 0,
) -> NextToken:
    """Train for a fixed number of steps; the best on the validation sequences is returned.

    The budget is the same for every tokenizer, whatever the length of its sequences. It is enough
    for tokens that hardly foretell one another, ours; those of FAST would still gain from more.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _fit(training, validation, NextToken(levels, sizes, training.anchor.shape[1]))


def _fit(training: Sequences, validation: Sequences, model: NextToken) -> NextToken:
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate)
    looked_at = validation.take(evenly(len(validation), LOOKED_AT))
    best, least = copy.deepcopy(model.state_dict()), math.inf
    for step in range(1, STEPS + 1):
        batch = training.take(torch.randint(len(training), (BATCH,)))
        nats = model.train()(batch)
        loss = nats.sum() / (batch.tokens != ABSENT).sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % LOOK_EVERY == 0:
            found = bits(model, looked_at).sum()
            if found < least:
                best, least = copy.deepcopy(model.state_dict()), found
    model.load_state_dict(best)
    return model.eval()


@torch.inference_mode()
def bits(model: NextToken, sequences: Sequences) -> np.ndarray:
    """[N, L] bits that every token costs; 0 where there is none."""
    model.eval()
    parts = [model(sequences.take(rows)) for rows in torch.arange(len(sequences)).split(READ)]
    return torch.cat(parts).double().numpy() / math.log(2)


def evenly(count: int, most: int) -> Tensor:
    """Positions of at most so many of `count`, evenly spread."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _rate(step: int) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine."""
    rise = STEPS // 12
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (STEPS - rise)))
