"""TokenType: what a place of the VL Expert's sequence holds."""

from __future__ import annotations

from enum import IntEnum


class TokenType(IntEnum):
    """Attributes:
    PADDING: Nothing; seen by nobody.
    TEXT: Words, asked or answered.
    IMAGE: A merged patch of a picture.
    PROPRIO: The projected state of the robot.
    ACTION: A discrete action token, or the end of them; unseen by flow slots.
    """

    PADDING = 0
    TEXT = 1
    IMAGE = 2
    PROPRIO = 3
    ACTION = 4
