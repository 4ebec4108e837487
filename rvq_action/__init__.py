"""rvq-action: residual-VQ action tokenizers for vision-language-action models."""

from rvq_action.chunk import ActionChunk
from rvq_action.layout import WALL_26, ActionLayout, Channel, DeltaRule, joint_space

__all__ = ["WALL_26", "ActionChunk", "ActionLayout", "Channel", "DeltaRule", "joint_space"]
