"""The ceiling of retrieval: two small networks on the continuous chunk and on the pictures.

One reads the chunk in scored space and the standardised proprio anchor, the other the whitened
features; symmetric InfoNCE with a learned temperature pulls windows to their own pictures. Windows
of one episode nearer than one second are no negatives of each other. The number of steps is the
one with the best mean reciprocal rank on validation episodes; then both are trained for so many
steps on all training windows. All of that is done once per seed, the number of steps included:
chosen once for all of them, its luck would be missing from the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from analysis.semantics import galleries, retrieval
from analysis.semantics.fits import Fits
from analysis.semantics.retrieval import Retrieval, Whitening
from analysis.semantics.seen import Seen, SemanticSet

HIDDEN, WIDTH, DROPOUT, NOISE = 256, 64, 0.3, 0.1
STEPS, CHECK_EVERY, BATCH, RATE, DECAY = 800, 100, 256, 1e-3, 0.1
FORBIDDEN = -1e4


@dataclass(frozen=True)
class Reading:
    """What the action tower reads: [M, P] of the training and [N, P] of the held-out windows."""

    training: np.ndarray
    held_out: np.ndarray


def readings(data: SemanticSet) -> dict[str, Reading]:
    """Chunk and anchor, and each alone; the chunk only where the robot has no proprio."""
    chunk = Reading(*(_chunk(part) for part in (data.training, data.held_out)))
    if data.training.batch.anchor is None:
        return {"chunk": chunk}
    parts = [_anchor(part) for part in (data.training, data.held_out)]
    middle, spread = parts[0].mean(0), parts[0].std(0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    anchor = Reading(*((part - middle) / spread for part in parts))
    pairs = [(chunk.training, anchor.training), (chunk.held_out, anchor.held_out)]
    both = Reading(*(np.concatenate(pair, axis=1) for pair in pairs))
    return {"chunk and anchor": both, "chunk": chunk, "anchor": anchor}


def _chunk(seen: Seen) -> np.ndarray:
    return seen.batch.scored.reshape(len(seen), -1).astype(np.float32)


def _anchor(seen: Seen) -> np.ndarray:
    assert seen.batch.anchor is not None
    return seen.batch.anchor.numpy().astype(np.float32)


def compute(reading: Reading, data: SemanticSet) -> Fits:
    """Train both towers with every seed, and let the held-out windows look for their pictures."""
    whiten = Whitening.fit(data.training.pictures)
    pictures, seen = (
        torch.from_numpy(whiten(part.pictures).astype(np.float32))
        for part in (data.training, data.held_out)
    )
    pairs = _Pairs(torch.from_numpy(reading.training), pictures, data)
    asked = torch.from_numpy(reading.held_out)

    def found(seed: int) -> Retrieval:
        towers = _fit(pairs, seed)
        with torch.inference_mode():
            return retrieval.search(towers.act(asked).numpy(), towers.see(seen).numpy(), data)

    return Fits.of(found)


@dataclass(frozen=True)
class _Pairs:
    """Training windows: actions [M, P] and pictures [M, E]."""

    actions: Tensor
    pictures: Tensor
    data: SemanticSet


class _Towers(nn.Module):
    """Two perceptrons into one space, and the temperature between them."""

    def __init__(self, actions: int, pictures: int) -> None:
        super().__init__()
        self.act, self.see = _perceptron(actions), _perceptron(pictures)
        self.log_scale = nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32))

    def forward(self, actions: Tensor, pictures: Tensor) -> Tensor:
        """[B, B] scaled cosines of every chunk to every picture."""
        a, p = normalize(self.act(actions), dim=-1), normalize(self.see(pictures), dim=-1)
        return self.log_scale.exp().clamp(max=100.0) * a @ p.T


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, WIDTH),
    )  # fmt: skip


def _fit(pairs: _Pairs, seed: int) -> _Towers:
    """Choose the number of steps, then train for so many on all training windows."""
    validation = pairs.data.validation
    _, steps = _train(pairs, ~validation, STEPS, seed)
    towers, _ = _train(pairs, np.ones(len(validation), bool), steps, seed)
    return towers


def _train(pairs: _Pairs, fitted: np.ndarray, steps: int, seed: int) -> tuple[_Towers, int]:
    """Train on the windows marked in `fitted`, bool [M]; also the step that validated best."""
    rows = torch.from_numpy(np.flatnonzero(fitted))
    best, best_step = -1.0, steps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = _Towers(pairs.actions.shape[1], pairs.pictures.shape[1])
        optimizer = torch.optim.AdamW(towers.parameters(), lr=RATE, weight_decay=DECAY)
        for step in range(1, steps + 1):
            drawn = rows[torch.randint(len(rows), (min(BATCH, len(rows)),))]
            optimizer.zero_grad()
            _loss(towers, pairs, drawn).backward()
            optimizer.step()
            if step % CHECK_EVERY == 0 and (score := _validate(towers, pairs)) > best:
                best, best_step = score, step
    return towers.eval(), best_step


def _loss(towers: _Towers, pairs: _Pairs, rows: Tensor) -> Tensor:
    """Symmetric InfoNCE of a batch."""
    episode, start = pairs.data.training.episode[rows], pairs.data.training.start[rows]
    near = np.abs(start[:, None] - start) < pairs.data.data.horizon
    near &= (episode[:, None] == episode) & ~np.eye(len(rows), dtype=bool)
    logits = towers(_noisy(pairs.actions[rows]), _noisy(pairs.pictures[rows]))
    logits = logits.masked_fill(torch.from_numpy(near), FORBIDDEN)
    own = torch.arange(len(rows))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def _noisy(values: Tensor) -> Tensor:
    return values + NOISE * torch.randn_like(values)


@torch.inference_mode()
def _validate(towers: _Towers, pairs: _Pairs) -> float:
    """Mean reciprocal rank on the validation windows."""
    towers.eval()
    data = pairs.data
    rows = np.flatnonzero(data.validation)
    episode, start = data.training.episode[rows], data.training.start[rows]
    found = []
    for seed in range(len(data.galleries)):
        gallery = rows[galleries.draw(episode, start, data.data.horizon, seed)]
        similarity = towers(pairs.actions[gallery], pairs.pictures[gallery])
        found.append(1 / galleries.ranks(similarity.numpy()))
    towers.train()
    return float(np.concatenate(found).mean())
