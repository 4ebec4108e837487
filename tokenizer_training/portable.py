"""A tokenizer as plain numbers, texts, lists and dicts: all that a checkpoint may hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment
from rvq_action.model import TokenizerModel
from rvq_action.statistics import EmbodimentStatistics
from rvq_action.tokenizer import ActionTokenizer


def to_portable(tokenizer: ActionTokenizer) -> dict[str, Any]:
    """Everything but the weights."""
    return {
        "config": asdict(tokenizer.config),
        "embodiments": {
            name: {**known.to_dict(), "statistics": asdict(known.statistics)}
            for name, known in tokenizer.embodiments.items()
        },
        "metadata": tokenizer.metadata,
    }


def from_portable(data: dict[str, Any], weights: dict[str, Tensor]) -> ActionTokenizer:
    """Inverse of `to_portable`, given the weights of the model."""
    model = TokenizerModel(TokenizerConfig(**data["config"]))
    model.load_state_dict(weights)
    embodiments = {
        name: Embodiment.from_dict(entry, EmbodimentStatistics.from_dict(entry["statistics"], name))
        for name, entry in data["embodiments"].items()
    }
    return ActionTokenizer(model.eval(), embodiments, data["metadata"])
