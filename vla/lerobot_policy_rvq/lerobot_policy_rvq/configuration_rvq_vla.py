"""`--policy.type=rvq_vla`: every option of our policy inside LeRobot.

What is not here is LeRobot's own: `--batch_size`, `--steps`, `--dataset.*`, `--peft.*`.
"""

import math
from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.policies.rtc.configuration_rtc import RTCConfig

from lerobot_policy_rvq.optimization import RvqVlaOptimizerConfig, RvqVlaSchedulerConfig
from lerobot_policy_rvq.refusals import said_aloud
from lerobot_policy_rvq.tokens import find_embodiment, tokens_of
from rvq_action.chunk import MAX_HORIZON, MIN_HORIZON
from rvq_action.data.windows import horizon_frames
from vla.data.augment import ImageAugmentation, ProprioNoise
from vla.losses import LossWeights


@PreTrainedConfig.register_subclass("rvq_vla")
@dataclass
class RvqVlaConfig(PreTrainedConfig):
    """Our policy's options; LeRobot's parser reads them as `--policy.NAME`.

    Attributes:
        action_tokenizer_name: Folder or hub id of the action tokenizer (`rvq-train fit` makes one).
        base_policy: Folder or hub id of a policy of ours (`rvq-vla train`) to go on from, with its
            own tokenizer.
        shape: Packaged name (tiny, wall-oss) or YAML of a new policy's shape.
        embodiment: Which of the tokenizer's robots this is; needed only if it knows several.
        chunk_size: Frames of a chunk; where None as many as the tokenizer was trained on, or as
            last as long at the `fps` that are given.
        n_action_steps: Frames that are executed before the next look; half a chunk where None.
        fps: Of the actions [Hz]; the dataset's where None.
        denoise_steps: Of the sampler; the shape's where None.
        image_size: Pixels per side, of a new policy; the shape's where None.
        committed_frames: Up to how many first frames of a chunk are given away in training, so that
            real-time chunks go on from them without guidance; as the shape or `base_policy` has it
            where None.
        dtype: Of the experts' weights: float32 or bfloat16.
        weights: Of the three terms of the loss.
        flow_draws: Draws of noise and flow time for every demonstration in a step.
        augmentation: Of pictures, in training.
        proprio: How the state that is told differs from the one that is known, in training.
        gradient_checkpointing: Compute activations again in the backward pass.
        seed: Of a new policy's weights, of noise, flow times and changes of the samples.
        rtc_config: Of real-time chunking, where a program asks for it.
        trained_steps: How many steps have been taken; kept by the program.
    """

    action_tokenizer_name: str | None = None
    base_policy: str | None = None
    shape: str = "tiny"
    embodiment: str | None = None
    chunk_size: int | None = None
    n_action_steps: int | None = None
    fps: float | None = None
    denoise_steps: int | None = None
    image_size: int | None = None
    committed_frames: int | None = None
    dtype: str = "float32"

    weights: LossWeights = field(default_factory=LossWeights)
    flow_draws: int = 1
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)
    proprio: ProprioNoise = field(default_factory=ProprioNoise)
    gradient_checkpointing: bool = False
    seed: int = 0

    optimizer_name: str = "adamw"
    optimizer_lr: float = 1e-4
    optimizer_vl_rate: float = 1.0
    optimizer_weight_decay: float = 0.01
    optimizer_betas: tuple[float, float] = (0.9, 0.95)
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 100
    scheduler_last_rate: float = 0.0

    rtc_config: RTCConfig | None = None
    trained_steps: int = 0
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(
            ("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        with said_aloud():
            self._check()

    def _check(self) -> None:
        if self.action_tokenizer_name and self.base_policy:
            raise ValueError(
                "action_tokenizer_name and base_policy: give one of them. A policy brings its own "
                "tokenizer."
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is float32 or bfloat16, got {self.dtype!r}.")
        if self.flow_draws < 1:
            raise ValueError(f"flow_draws must be at least 1, got {self.flow_draws}.")
        if self.denoise_steps is not None and self.denoise_steps < 1:
            raise ValueError(f"denoise_steps must be at least 1, got {self.denoise_steps}.")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number, got {self.fps}.")
        if self.chunk_size is None and (self.action_tokenizer_name or self.base_policy):
            tokens = tokens_of(self.action_tokenizer_name, self.base_policy)
            known = tokens.embodiments[find_embodiment(tokens, self.embodiment)]
            self.chunk_size = horizon_frames(self.fps or known.fps, tokens.seconds)
        if self.chunk_size is not None:
            self._check_chunk(self.chunk_size)

    def _check_chunk(self, frames: int) -> None:
        if not MIN_HORIZON <= frames <= MAX_HORIZON:
            raise ValueError(
                f"chunk_size must be {MIN_HORIZON} to {MAX_HORIZON} frames, which is what the "
                f"action tokenizer codes, got {frames}."
            )
        if self.n_action_steps is None:
            self.n_action_steps = max(1, frames // 2)
        if not 1 <= self.n_action_steps <= frames:
            raise ValueError(
                f"n_action_steps must be 1 to chunk_size ({frames}) frames, got "
                f"{self.n_action_steps}: a chunk has no more to execute."
            )

    def validate_features(self) -> None:
        """Checked where the policy is built, see `lerobot_policy_rvq.features`."""

    def get_optimizer_preset(self) -> RvqVlaOptimizerConfig:
        return RvqVlaOptimizerConfig(
            name=self.optimizer_name,
            lr=self.optimizer_lr,
            vl_rate=self.optimizer_vl_rate,
            weight_decay=self.optimizer_weight_decay,
            betas=self.optimizer_betas,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> RvqVlaSchedulerConfig:
        return RvqVlaSchedulerConfig(self.scheduler_warmup_steps, self.scheduler_last_rate)

    @property
    def observation_delta_indices(self) -> None:
        """The present alone."""

    @property
    def action_delta_indices(self) -> list[int]:
        """The frames of a chunk, the present one first.

        Raises:
            ValueError: Nothing says how many.
        """
        if self.chunk_size is None:
            raise ValueError(
                "Which action tokenizer? Give --policy.action_tokenizer_name=DIR (`rvq-train fit` "
                "makes one), or --policy.base_policy=DIR to go on with a policy and its own."
            )
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """None are used."""
