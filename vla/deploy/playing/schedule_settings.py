"""ScheduleSettings: in which of five ways chunks follow one another; `schedule.py` draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["receding", "asynchronous", "joined", "real_time", "ensemble"]


@dataclass(frozen=True)
class ScheduleSettings:
    """How chunks follow one another.

    Attributes:
        mode: `receding`, `asynchronous`, `joined`, `real_time` or `ensemble`; commands choose
            `real_time`, or `joined` where the policy cannot go on from committed frames.
        execute_frames: k, of a chunk before the next one is asked for; half of it where None, each
            one in an ensemble.
        ensemble_decay: m, see `chunking.ensemble`.
    """

    mode: Mode = "asynchronous"
    execute_frames: int | None = None
    ensemble_decay: float = 0.01

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode is one of {get_args(Mode)}, got {self.mode!r}.")
        if self.execute_frames is not None and self.execute_frames < 1:
            raise ValueError(f"execute_frames starts at 1, got {self.execute_frames}.")

    def frames(self, horizon: int) -> int:
        """k for chunks of T frames.

        Raises:
            ValueError: A chunk has fewer frames.
        """
        default = 1 if self.mode == "ensemble" else max(1, horizon // 2)
        frames = self.execute_frames or default
        if frames > horizon:
            raise ValueError(
                f"execute_frames is {frames}, but the policy's chunks have {horizon} frames. Give "
                f"1 to {horizon}."
            )
        return frames
