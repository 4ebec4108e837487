"""ActionTokens: what a policy needs of an action tokenizer, whichever that is.

Two things in one: the *space* that the flow head acts in (a robot's channels, relative and
normalised), and the *words* that the VL Expert says, as codes int64 [B, S, K] in which -1 stands
for none. A tokenizer whose chunks differ in length has one level and as many slots as its longest
chunk has tokens; shorter ones end with -1, and in the sequence with the end token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rvq_action import ActionChunk, ActionLayout, ActionTokenizer
from rvq_action.config import TokenizerConfig
from rvq_action.data.rows import RowMapping
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.model import TokenizerModel
from rvq_action.vocabulary import ActionVocabulary


class ActionTokens(Protocol):
    """`ActionTokenizer`, or what takes its place."""

    @property
    def model(self) -> TokenizerModel:
        """Of the space."""
        ...

    @property
    def config(self) -> TokenizerConfig:
        """Of the space: `width` channels."""
        ...

    @property
    def embodiments(self) -> Mapping[str, Embodiment]: ...

    @property
    def metadata(self) -> dict[str, Any]: ...

    @property
    def seconds(self) -> float | None: ...

    @property
    def vocabulary(self) -> ActionVocabulary: ...

    def vocabulary_of(self, embodiment: str | None = None) -> ActionVocabulary:
        """The same ids, for a robot's number of slots."""
        ...

    @property
    def tokens_per_chunk(self) -> int:
        """At most."""
        ...

    def layout(self, embodiment: str | None = None) -> ActionLayout: ...

    def mapping(self, embodiment: str | None = None) -> RowMapping: ...

    def prepare(self, chunk: ActionChunk, relative: bool = False) -> ModelInput: ...

    def encode(
        self,
        actions: Tensor,
        proprio: Tensor | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: Tensor | None = None,
    ) -> Tensor: ...

    def decode(
        self,
        codes: np.ndarray,
        horizon: int,
        proprio: np.ndarray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
    ) -> np.ndarray: ...

    def save_pretrained(self, path: str | Path) -> None: ...


def load_tokens(path: str | Path) -> ActionTokens:
    """Load whatever kind of tokenizer is in a folder, or in a repository of the hub.

    Raises:
        ValueError: It is damaged, or none.
    """
    from vla.fast_tokens import FastTokens

    if FastTokens.is_in(Path(path)):
        return FastTokens.from_pretrained(path)
    return ActionTokenizer.from_pretrained(path)


def robot_of(tokens: ActionTokens, name: str | None) -> str:
    """The name of a robot; may be left out where there is only one.

    Raises:
        ValueError: It was left out, and there are several.
        KeyError: The policy does not know it.
    """
    robots = sorted(tokens.embodiments)
    if name is None and len(robots) != 1:
        raise ValueError(f"Say which robot: one of {robots}.")
    if name is not None and name not in robots:
        raise KeyError(f"Unknown robot {name!r}; this policy knows {robots}.")
    return robots[0] if name is None else name


def digest(tokens: ActionTokens) -> str:
    """Equal for equal words in equal spaces."""
    found = hashlib.sha256(repr(tokens.vocabulary).encode())
    for name, tensor in sorted(tokens.model.state_dict().items()):
        found.update(name.encode() + tensor.to("cpu", torch.float32).numpy().tobytes())
    spelling = getattr(tokens, "spelling", None)
    found.update(b"" if spelling is None else str(spelling).encode())
    return found.hexdigest()
