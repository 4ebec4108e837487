"""RvqVlaPolicy: a `VLAPolicy` of ours behind LeRobot's interface; the library computes.

pretrained_model/config.json    LeRobot's account of the policy
pretrained_model/policy/        the policy as `VLAPolicy.save_pretrained` writes it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig
from lerobot_policy_rvq.demonstrations import to_act, to_learn
from lerobot_policy_rvq.features import (
    camera_features,
    check_cameras,
    check_features,
    check_names,
)
from lerobot_policy_rvq.guidance import go_on_from, without_padding
from lerobot_policy_rvq.tokens import find_embodiment, tokens_of
from rvq_action.artifact.directory import locate
from vla.artifact import PATTERNS
from vla.config import VLAConfig
from vla.data.changes import Changes
from vla.losses import SampleLosses
from vla.model import is_vl
from vla.policy import VLAPolicy
from vla.training.lora import MAPS
from vla.training.step import step_losses

FOLDER = "policy"


class RvqVlaPolicy(PreTrainedPolicy):
    """The policy type `rvq_vla`.

    Args:
        config: Its options, with LeRobot's features.
        dataset_stats: LeRobot's; not used, the statistics are the tokenizer's.
        dataset_meta: Of the dataset that is trained or recorded on.
        policy: A policy of ours to be this one; started, or loaded from `base_policy`, where None.

    Raises:
        ValueError: Features, cameras, robot and tokenizer do not fit; says what differs.
    """

    config_class = RvqVlaConfig
    name = "rvq_vla"

    def __init__(
        self,
        config: RvqVlaConfig,
        dataset_stats: dict[str, Any] | None = None,
        dataset_meta: Any = None,
        policy: VLAPolicy | None = None,
        **_: Any,
    ) -> None:
        super().__init__(config)
        tokens = policy.tokenizer if policy else tokens_of(*_sources(config))
        robot = getattr(dataset_meta, "robot_type", None)
        config.embodiment = find_embodiment(tokens, config.embodiment, robot)
        if config.fps is None:
            known = tokens.embodiments[config.embodiment].fps
            config.fps = float(getattr(dataset_meta, "fps", known))
        rows = tokens.mapping(config.embodiment)
        self.policy = policy or _start(config)
        looks = self.policy.config.cameras[config.embodiment]
        check_features(config, rows, looks)
        if dataset_meta is not None:
            check_names(rows, dataset_meta.features)
        found = camera_features(config)
        self.cameras = {name: found[name] for name in looks}
        self.model = self.policy.model
        self.model.checkpoint_gradients(config.gradient_checkpointing)
        if not config.optimizer_vl_rate:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(not is_vl(name))
        self.reset()

    @property
    def place(self) -> tuple[str, float]:
        """Embodiment and frames per second."""
        assert self.config.embodiment is not None and self.config.fps is not None
        return self.config.embodiment, self.config.fps

    def get_optim_params(self) -> dict[str, torch.nn.Parameter]:
        """By the library's names, which say what is whose."""
        return dict(self.model.named_parameters())

    def reset(self) -> None:
        """An episode begins: nothing is left to execute."""
        self._queue: deque[Tensor] = deque()

    def drop_queued_actions(self) -> None:
        """The task is another from now on: the next action is of a new chunk."""
        self._queue.clear()

    def forward(
        self, batch: dict[str, Any], reduction: str = "mean"
    ) -> tuple[Tensor, dict[str, float]]:
        """A training step's loss, and its terms.

        Args:
            batch: LeRobot's, behind the preprocessor.
            reduction: `mean`, or `none` for the loss of every row.
        """
        found = self._loss(batch, self.config.trained_steps, reduction)
        if self.training:
            self.config.trained_steps += 1
        return found

    def _loss(
        self, batch: dict[str, Any], step: int, reduction: str
    ) -> tuple[Tensor, dict[str, float]]:
        config, rows = self.config, len(batch["action"])
        first = rows * _rank()
        keys = [(config.seed, step, first + row) for row in range(rows)]
        changes = Changes(config.augmentation, config.proprio)
        given = to_learn(self.policy, batch, self.cameras, self.place, changes, keys)
        each = step_losses(self.model, given, keys, config.flow_draws)
        losses = each.mean()
        terms = {name: float(getattr(losses, name).detach()) for name in asdict(config.weights)}
        if reduction == "none":
            return _of_rows(each, config), terms
        return losses.total(config.weights), terms

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: dict[str, Any],
        noise: Tensor | None = None,
        inference_delay: int | None = None,
        prev_chunk_left_over: Tensor | None = None,
        execution_horizon: int | None = None,
        **_: Any,
    ) -> Tensor:
        """A chunk from what is seen now, in the layout's channels: the postprocessor makes rows.

        Args:
            batch: LeRobot's observations, behind the preprocessor.
            noise: Must be None: the policy draws its own, from torch's generator.
            inference_delay: Frames that will have been executed when the chunk arrives.
            prev_chunk_left_over: [n, D] or [B, n, D], what this method returned for the frames from
                now on: the new chunk goes on from them (real-time chunking).
            execution_horizon: The most of these frames to heed.

        Returns:
            float32 [B, chunk_size, D], physical units, absolute.
        """
        if noise is not None:
            raise ValueError("rvq_vla draws its own noise: call torch.manual_seed for a given one.")
        self.eval()
        config = self.config
        assert config.chunk_size is not None
        with torch.inference_mode(False), torch.no_grad():
            seen = to_act(self.policy, batch, self.cameras, self.place)
            going_on: dict[str, Any] = {}
            if prev_chunk_left_over is not None:
                most = execution_horizon or getattr(config.rtc_config, "execution_horizon", None)
                limit = getattr(config.rtc_config, "max_guidance_weight", None)
                left = prev_chunk_left_over.detach().to("cpu", torch.float32).clone()[..., :most, :]
                left, told = without_padding(left), (config.chunk_size, inference_delay or 0)
                going_on = go_on_from(self.policy, seen, left, *told, limit)
            chunks = self.policy.act(seen, config.chunk_size, config.denoise_steps, **going_on)
        return torch.from_numpy(np.stack(chunks)).to(self.model.device)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **told: Any) -> Tensor:
        """The next action float32 [B, D]; a new chunk every `n_action_steps`."""
        if not self._queue:
            chunk = self.predict_action_chunk(batch, **told)[:, : self.config.n_action_steps]
            self._queue.extend(chunk.transpose(0, 1))
        return self._queue.popleft()

    def supports_rtc(self) -> bool:
        """LeRobot asks before it takes chunks in real time."""
        return True

    def init_rtc_processor(self) -> None:
        """LeRobot's real-time inference calls this; the guidance here is the library's own."""

    def _get_default_peft_targets(self) -> dict[str, Any]:
        """Adapters on both experts' maps; what actions go in and out by is trained in full."""
        heads = ["action_head", *(["proprio_token"] if self.model.proprio_token else [])]
        maps = rf"model\.mot\.layers\.\d+\.(vl|action)\.{MAPS}"
        return {"target_modules": maps, "modules_to_save": heads}

    def _save_pretrained(
        self, save_directory: Path, state_dict: Mapping[str, Tensor] | None = None
    ) -> None:
        """By the first process alone; the weights are a state dict's, where one is given."""
        if _rank():
            return
        self.config._save_pretrained(save_directory)
        weights = None
        if state_dict is not None:
            weights = {name.removeprefix("model."): w for name, w in state_dict.items()}
        self.policy.save_pretrained(Path(save_directory) / FOLDER, weights=weights)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: RvqVlaConfig | None = None,
        revision: str | None = None,
        dataset_stats: dict[str, Any] | None = None,
        dataset_meta: Any = None,
        **options: Any,
    ) -> RvqVlaPolicy:
        """Load a checkpoint of LeRobot's.

        Args:
            pretrained_name_or_path: Its `pretrained_model` folder, or a hub id.
            config: Its options, where they are to differ.
            revision: Of the repository.
            dataset_stats: As in the constructor.
            dataset_meta: As in the constructor.
            options: LeRobot's for downloads; not used.

        Raises:
            ValueError: There is no policy in it, or a part is damaged or does not fit.
        """
        patterns = ("config.json", "*.json", *(f"{FOLDER}/{pattern}" for pattern in PATTERNS))
        path = locate(pretrained_name_or_path, revision, patterns)
        if not (path / FOLDER).is_dir():
            raise ValueError(
                f"{path} holds no {FOLDER}/: it is no checkpoint of rvq_vla. To go on with a "
                f"policy of `rvq-vla train`, give --policy.type=rvq_vla "
                f"--policy.base_policy={path}, or turn it into a checkpoint: lerobot-rvq-policy "
                "to-lerobot POLICY OUT."
            )
        if config is None:
            config = PreTrainedConfig.from_pretrained(path)
        policy = VLAPolicy.from_pretrained(path / FOLDER)
        trained = policy.config.committed_frames
        if config.committed_frames not in (None, trained):
            raise ValueError(
                f"committed_frames={config.committed_frames}, but {path} was trained with "
                f"{trained}. To train on with another number, start from its policy: "
                f"--policy.type=rvq_vla --policy.base_policy={path / FOLDER}."
            )
        return cls(config, dataset_stats, dataset_meta, policy).to(config.device).eval()


def _sources(config: RvqVlaConfig) -> tuple[str | None, str | None]:
    return config.action_tokenizer_name, config.base_policy


def _start(config: RvqVlaConfig) -> VLAPolicy:
    """A new policy, or the one that is to learn more."""
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]
    found = camera_features(config)
    if config.base_policy:
        policy = VLAPolicy.from_pretrained(config.base_policy, dtype=dtype)
        check_cameras(policy.config.cameras[str(config.embodiment)], found)
        changed = replace(policy.config, **_changes(config, "committed_frames"))
        policy.model.config = changed
        parts = policy.model, policy.tokenizer, policy.backbone, policy.vocabulary
        return VLAPolicy.assemble(changed, *parts)
    tokens = tokens_of(*_sources(config))
    cameras: Mapping[str, tuple[str, ...]] = {
        name: tuple(found) if name == config.embodiment else () for name in tokens.embodiments
    }
    shape = VLAConfig.named(config.shape)
    shape = replace(shape, **_changes(config, "image_size", "committed_frames"))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return VLAPolicy.start(shape.for_tokenizer(tokens, cameras), tokens, dtype)


def _changes(config: RvqVlaConfig, *names: str) -> dict[str, Any]:
    """Fields of VLAConfig that the options set."""
    given = {name: getattr(config, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _of_rows(each: SampleLosses, config: RvqVlaConfig) -> Tensor:
    """[B], the weighted sum of every row's terms."""
    weights = config.weights
    return weights.flow * each.flow + weights.action_ce * each.action_ce


def _rank() -> int:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if distributed else 0
