"""How good a tokenizer is on validation windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.chunk import ActionChunk
from rvq_action.embodiment import ModelInput
from rvq_action.metrics import code_usage, masked_mean, perplexity, physical_errors, utilisation
from rvq_action.relative import to_relative
from rvq_action.tokenizer import ActionTokenizer

CLIP = 1.5
"""Errors are measured within ±1.5 in model space, as in every score of ours."""
SMALLEST = 1e-12


@dataclass(frozen=True)
class Evaluation:
    """Attributes:
    mse: Mean squared error in model space by (dataset, number of tokens).
    physical: Mean absolute error in physical units by (dataset, channel group), all tokens.
    utilisation: [K] share of the codes in use, mean over slots.
    perplexity: [K] codes in use in effect, mean over slots.
    surprise: InfoNCE [nats] of the semantic codes against what was seen, by dataset; empty where
        a run has no alignment.
    """

    mse: dict[tuple[str, int], float]
    physical: dict[tuple[str, str], float]
    utilisation: list[float]
    perplexity: list[float]
    surprise: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Geometric mean of the MSE over prefixes and datasets."""
        logs = [math.log(max(value, SMALLEST)) for value in self.mse.values()]
        return math.exp(sum(logs) / len(logs))

    @property
    def score(self) -> float:
        """What the best tokenizer has least of: the error, times e to the mean surprise.

        So a nat less of surprise weighs as much as an error divided by e.
        """
        surprise = sum(self.surprise.values()) / max(len(self.surprise), 1)
        return self.error * math.exp(surprise)

    @property
    def kind(self) -> str:
        """What the score is: the error itself, `mse`, or `score` where surprise has a part."""
        return "score" if self.surprise else "mse"

    def scalars(self) -> dict[str, float]:
        """Everything, under the names it has in the log."""
        named = {"validation/mse": self.error}
        named |= {f"validation/{d}/alignment": value for d, value in self.surprise.items()}
        named |= {f"validation/{d}/mse@{k}": value for (d, k), value in self.mse.items()}
        named |= {f"validation/{d}/{group}": value for (d, group), value in self.physical.items()}
        named |= {f"utilisation/level_{k}": value for k, value in enumerate(self.utilisation)}
        return named | {f"perplexity/level_{k}": v for k, v in enumerate(self.perplexity)}


def prefix_lengths(tokens: int, count: int) -> list[int]:
    """So many prefix lengths, evenly spaced, the last one all tokens."""
    return np.unique(np.linspace(0, tokens, count + 1)[1:].round().clip(1)).astype(int).tolist()


@torch.no_grad()
def evaluate(
    tokenizer: ActionTokenizer, chunks: Mapping[str, ActionChunk], prefixes: int | None = None
) -> Evaluation:
    """Measure a tokenizer, in the state of mind for inference.

    Args:
        tokenizer: Left in the mode it came in.
        chunks: Windows by dataset.
        prefixes: How many prefixes of each robot's tokens to decode, evenly spaced; None for all.
    """
    training = tokenizer.model.training
    tokenizer.model.eval()
    mse, physical, usage = {}, {}, []
    for name, chunk in chunks.items():
        given = tokenizer.prepare(chunk)
        codes = tokenizer.model.encode(given.x, given.mask, given.condition)
        usage.append(_usage(tokenizer, codes))
        tokens = tokenizer.vocabulary_of(chunk.embodiment).tokens_per_chunk
        for length in prefix_lengths(tokens, prefixes or tokens):
            decoded = _decode(tokenizer, codes, length, given)
            error = decoded.clamp(-CLIP, CLIP) - given.x.clamp(-CLIP, CLIP)
            mse[name, length] = masked_mean(error.square(), given.mask).item()
        everything = _decode(tokenizer, codes, tokens, given)
        for group, value in _physical(tokenizer, chunk, everything).items():
            physical[name, group] = value
    tokenizer.model.train(training)
    counts = torch.stack(usage).sum(dim=0)
    used, effective = utilisation(counts).mean(dim=0), perplexity(counts).mean(dim=0)
    return Evaluation(mse, physical, used.tolist(), effective.tolist())


def _usage(tokenizer: ActionTokenizer, codes: Tensor) -> Tensor:
    """Codes [N, s, K] -> counts [S, K, V], 0 in slots that the robot leaves empty."""
    counts = code_usage(codes, tokenizer.config.codebook_size)
    return pad(counts, (0, 0, 0, 0, 0, tokenizer.config.num_slots - len(counts)))


def _decode(tokenizer: ActionTokenizer, codes: Tensor, length: int, given: ModelInput) -> Tensor:
    kept = torch.as_tensor(tokenizer.prefix(codes, length))
    return tokenizer.model.decode(kept, given.x.shape[1], given.condition)


def _physical(tokenizer: ActionTokenizer, chunk: ActionChunk, decoded: Tensor) -> dict[str, float]:
    known = tokenizer.embodiments[chunk.embodiment]
    ours = known.from_model(decoded, chunk.anchor, relative=True, fps=chunk.fps)
    theirs = to_relative(chunk.actions, chunk.anchor, known.layout, chunk.mask)
    errors = physical_errors(
        ours, theirs, chunk.mask & known.valid.to(chunk.mask.device), known.layout
    )
    return {group: value.item() for group, value in errors.items()}
