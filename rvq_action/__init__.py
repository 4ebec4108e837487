"""rvq-action: residual-VQ action tokenizers for vision-language-action models."""

from rvq_action.chunk import ActionChunk
from rvq_action.layout import WALL_26, ActionLayout, Channel, DeltaRule, joint_space
from rvq_action.tokenizer import ActionTokenizer
from rvq_action.vocabulary import ActionVocabulary

__all__ = [
    "WALL_26",
    "ActionChunk",
    "ActionLayout",
    "ActionTokenizer",
    "ActionVocabulary",
    "Channel",
    "DeltaRule",
    "joint_space",
]
