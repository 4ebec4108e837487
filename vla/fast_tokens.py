"""FastTokens: FAST's words in the space of an action tokenizer, to hold the two against each other.

fast.json   scale, alphabet and length
bpe.json    the byte-pair encoding
space/      the action tokenizer whose space it is; its own words are not used
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action import ActionChunk, ActionLayout, ActionTokenizer
from rvq_action.baselines.fast import FastTokenizer
from rvq_action.config import TokenizerConfig
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.idle import IdleRule
from rvq_action.data.rows import RowMapping
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.housekeeping.json_file import read_json, write_json
from rvq_action.inputs import read_actions, read_anchor
from rvq_action.model import TokenizerModel
from rvq_action.vocabulary import ABSENT, ActionVocabulary
from vla.data.splits import choose_split

FAST, BPE, SPACE = "fast.json", "bpe.json", "space"
FORMAT_VERSION = 1
NUMBERS = ("scale", "min_token", "vocab_size")
BATCH = 1024
"""Windows that are prepared at a time."""


@dataclass(frozen=True)
class FastTokens:
    """FAST with the robots of an action tokenizer.

    A window's frames behind the end of its episode stay where the last real one is: FAST has no
    gaps. A sequence that stands for no chunk decodes to zeros in model space, as published.

    Attributes:
        space: Knows the robots; chunks are coded in its model space.
        fast: Fitted in that space.
        longest: Tokens of the longest chunk it was fitted on; longer ones are cut off.
    """

    space: ActionTokenizer
    fast: FastTokenizer
    longest: int

    @classmethod
    def fit(
        cls,
        space: ActionTokenizer,
        datasets: Sequence[str | Path],
        mapping: str | None = None,
        scale: float = 10,
        vocab_size: int = 1024,
    ) -> FastTokens:
        """Train the byte-pair encoding on the windows that a policy is trained on.

        Args:
            space: Knows the datasets' robots, and which episodes are held out.
            datasets: Folders.
            mapping: Of the datasets; each one's own where None.
            scale: Multiplies the DCT coefficients before rounding.
            vocab_size: V.

        Raises:
            FileNotFoundError: A dataset is missing.
            ValueError: One cannot be used, or V is too small for the scale.
        """
        chunks: list[np.ndarray] = []
        for path in datasets:
            windows = training_windows(path, space, mapping)
            for first in range(0, len(windows), BATCH):
                rows = range(first, min(first + BATCH, len(windows)))
                chunks += motions(space, windows.chunk(rows))
        fast = FastTokenizer.fit(chunks, scale, vocab_size)
        return cls(space, fast, max(map(len, fast.encode(chunks))))

    @property
    def model(self) -> TokenizerModel:
        return self.space.model

    @property
    def config(self) -> TokenizerConfig:
        return self.space.config

    @property
    def embodiments(self) -> Mapping[str, Embodiment]:
        return self.space.embodiments

    @property
    def metadata(self) -> dict[str, Any]:
        return self.space.metadata

    @property
    def seconds(self) -> float | None:
        return self.space.seconds

    @property
    def vocabulary(self) -> ActionVocabulary:
        return ActionVocabulary(self.longest, 1, self.fast.vocab_size)

    def vocabulary_of(self, embodiment: str | None = None) -> ActionVocabulary:
        """The same for all robots."""
        self.layout(embodiment)
        return self.vocabulary

    @property
    def tokens_per_chunk(self) -> int:
        return self.longest

    @property
    def spelling(self) -> str:
        """All that the words are made by."""
        return repr([getattr(self.fast, name) for name in NUMBERS]) + self.fast.bpe.to_str()

    def layout(self, embodiment: str | None = None) -> ActionLayout:
        return self.space.layout(embodiment)

    def mapping(self, embodiment: str | None = None) -> RowMapping:
        return self.space.mapping(embodiment)

    def prepare(self, chunk: ActionChunk, relative: bool = False) -> ModelInput:
        return self.space.prepare(chunk, relative)

    def encode(
        self,
        actions: Tensor,
        proprio: Tensor | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Chunks [B, T, D] -> codes int64 [B, S, 1]; arguments as of `ActionTokenizer.encode`."""
        layout = self.layout(embodiment)
        name = embodiment or next(iter(self.embodiments))
        known = self.embodiments[name]
        values, real = read_actions(actions, mask, layout, actions.device)
        required = known.anchored(real.any(1), False)
        anchor = read_anchor(proprio, layout, required, actions.device)
        chunk = ActionChunk(values, real, *anchor, known.fps if fps is None else fps, name)
        codes = torch.full((len(actions), self.longest, 1), ABSENT)
        for row, tokens in enumerate(self.fast.encode(motions(self.space, chunk))):
            said = torch.tensor(tokens[: self.longest], dtype=torch.int64)
            codes[row, : len(said), 0] = said
        return codes

    def decode(
        self,
        codes: np.ndarray,
        horizon: int,
        proprio: np.ndarray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
    ) -> np.ndarray:
        """Codes [B, S, 1] -> float32 [B, T, D]; arguments as of `ActionTokenizer.decode`."""
        layout = self.layout(embodiment)
        known = self.embodiments[embodiment or next(iter(self.embodiments))]
        said = [row[row != ABSENT].tolist() for row in codes[..., 0]]
        moved = torch.from_numpy(self.fast.decode(said, horizon, layout.width)).float()
        required = known.needed.expand(len(codes), -1)
        anchor, _ = read_anchor(proprio, layout, required, moved.device)
        return known.from_model(moved, anchor, relative=False, fps=fps).numpy()

    def save_pretrained(self, path: str | Path) -> None:
        """Write the folder."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        self.space.save_pretrained(path / SPACE)
        self.fast.bpe.save(str(path / BPE))
        numbers = {name: getattr(self.fast, name) for name in NUMBERS}
        told = {"format_version": FORMAT_VERSION, "longest": self.longest, **numbers}
        write_json(told, path / FAST)

    @staticmethod
    def is_in(path: Path) -> bool:
        """Whether a folder holds one."""
        return (path / FAST).is_file()

    @classmethod
    def from_pretrained(cls, path: str | Path) -> FastTokens:
        """Load what `save_pretrained` wrote; strict.

        Raises:
            ValueError: Something is missing, damaged or of another version.
        """
        from tokenizers import Tokenizer

        path = Path(path)
        told = read_json(path / FAST)
        wanted = {"format_version", "longest", *NUMBERS}
        if set(told) != wanted or told["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{path / FAST} must hold {sorted(wanted)} in version {FORMAT_VERSION}, got "
                f"{told}. Fit FAST again: rvq-vla ablate --arms fast."
            )
        try:
            bpe = Tokenizer.from_file(str(path / BPE))
        except Exception as error:  # the library has no class of its own for it
            raise ValueError(f"{path / BPE} is missing or damaged ({error}).") from error
        fast = FastTokenizer(bpe, *(told[name] for name in NUMBERS))
        return cls(ActionTokenizer.from_pretrained(path / SPACE), fast, told["longest"])


def training_windows(path: str | Path, space: ActionTokenizer, mapping: str | None) -> Windows:
    """What a policy is trained on: windows of training episodes, tails included.

    Args:
        path: Folder of a dataset.
        space: Knows its split.
        mapping: Of the dataset; its own where None.
    """
    dataset = RobotDataset.open(path, mapping)
    split = choose_split(dataset, space.metadata)
    horizon = horizon_frames(dataset.fps, space.seconds)
    episodes = [dataset.episodes[number] for number in split.train]
    return Windows(episodes, horizon, tails=True, idle=IdleRule())


def motions(space: ActionTokenizer, chunk: ActionChunk) -> list[np.ndarray]:
    """Chunks in model space, [T, D] each; frames that are not there stay at the last one."""
    given = space.prepare(chunk)
    width = space.layout(chunk.embodiment).width
    last = given.mask.any(-1).sum(1).clamp(min=1) - 1
    frames = torch.minimum(torch.arange(given.x.shape[1])[None, :], last[:, None])
    held = given.x.gather(1, frames[..., None].expand_as(given.x))
    return list(held[..., :width].numpy())
