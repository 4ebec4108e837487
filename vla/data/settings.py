"""DataSettings: what a policy is trained on."""

from __future__ import annotations

from dataclasses import dataclass

from vla.data.augment import ImageAugmentation, ProprioNoise
from vla.data.plan import BatchPlan


@dataclass(frozen=True)
class DataSettings:
    """Datasets, files, and how they are mixed.

    Attributes:
        datasets: Folders of LeRobotDatasets.
        conversations: JSON or JSONL files of conversations; without any, robots alone.
        mapping: Of the datasets; each one's own where None.
        seconds: Of a chunk; the action tokenizer's where None.
        batch_size: Samples of a micro-batch.
        accumulation: Micro-batches per step and process.
        robots: Parts of every global batch that are robots' windows.
        others: Parts that are conversations.
        power: A (source, task) group of n windows is drawn in proportion to n^power.
        cap: Largest share of a group; the surplus goes to the others in proportion.
        step_share: How often the step is told where a dataset has goals and steps.
        seed: Of every draw.
        frame_memory: GB (10^9 bytes) that decoded pictures of robots may take, of all datasets and
            once for all workers; a dataset whose pictures do not fit is decoded as it is needed.
        action_tokens: Whether robots' samples hold action tokens; without, only the flow acts.
        workers: Processes that read ahead; 0 reads in the training process.
        augmentation: Of robots' pictures.
        proprio: What is told of robots' states.
    """

    datasets: tuple[str, ...]
    conversations: tuple[str, ...] = ()
    mapping: str | None = None
    seconds: float | None = None
    batch_size: int = 8
    accumulation: int = 1
    robots: int = 9
    others: int = 1
    power: float = 0.5
    cap: float = 0.25
    step_share: float = 0.5
    seed: int = 0
    frame_memory: float = 2.0
    action_tokens: bool = True
    workers: int = 2
    augmentation: ImageAugmentation = ImageAugmentation()
    proprio: ProprioNoise = ProprioNoise()

    def __post_init__(self) -> None:
        for name in ("datasets", "conversations"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list of paths, got {getattr(self, name)!r}.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.datasets:
            raise ValueError("No dataset to train on. Name at least one LeRobotDataset.")
        if not 0 <= self.step_share <= 1 or self.workers < 0 or self.seed < 0:
            raise ValueError("step_share lies in [0, 1]; workers and seed start at 0.")
        if not self.frame_memory >= 0:
            raise ValueError(f"frame_memory must be 0 GB or more, got {self.frame_memory}.")
        if self.robots < 1:
            raise ValueError(f"robots must be at least 1 part of a batch, got {self.robots}.")
        self.plan()

    def plan(self, rank: int = 0, world_size: int = 1) -> BatchPlan:
        """How batches are put together for one of several processes."""
        others = self.others if self.conversations else 0
        ratio = self.robots, others
        return BatchPlan(self.batch_size, *ratio, rank, world_size, self.accumulation)
