"""rvq-action: residual-VQ action tokenizers for vision-language-action models.

The names below load what they need when they are first used, so that a command's `--help` does
not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvq_action.adaptive_length.tolerance import ToleranceWarning as ToleranceWarning
    from rvq_action.chunk import ActionChunk as ActionChunk
    from rvq_action.layout import WALL_26 as WALL_26
    from rvq_action.layout import ActionLayout as ActionLayout
    from rvq_action.layout import Channel as Channel
    from rvq_action.layout import DeltaRule as DeltaRule
    from rvq_action.layout import joint_space as joint_space
    from rvq_action.novelty.fit_watch import OutOfDistributionWarning as OutOfDistributionWarning
    from rvq_action.novelty.range_watch import OutOfRangeWarning as OutOfRangeWarning
    from rvq_action.tokenizer import ActionTokenizer as ActionTokenizer
    from rvq_action.vocabulary import ActionVocabulary as ActionVocabulary

    __version__: str

_HOMES = {
    "WALL_26": "layout",
    "ActionChunk": "chunk",
    "ActionLayout": "layout",
    "ActionTokenizer": "tokenizer",
    "ActionVocabulary": "vocabulary",
    "Channel": "layout",
    "DeltaRule": "layout",
    "OutOfDistributionWarning": "novelty.fit_watch",
    "OutOfRangeWarning": "novelty.range_watch",
    "ToleranceWarning": "adaptive_length.tolerance",
    "joint_space": "layout",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("rvq-action")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
