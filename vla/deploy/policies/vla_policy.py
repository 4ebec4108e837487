"""DeployedVLA: a VLAPolicy in front of one robot."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from rvq_action.data.windows import horizon_frames
from rvq_action.embodiment import ModelInput
from vla.action_tokens import ActionTokens, robot_of
from vla.config import VLAConfig
from vla.deploy.policies.policy import Committed, PolicyDescription, Request
from vla.flow import Given, sampler_steps, seeded
from vla.generation import in_groups
from vla.images import fit
from vla.policy import VLAPolicy
from vla.real_time_chunking import MAX_GUIDANCE, RealTimeGuidance, soft_mask
from vla.samples import Observation

logger = logging.getLogger(__name__)
SAMPLED = 16
"""Numbers of every weight that tell policies apart."""


def describe(
    config: VLAConfig,
    tokenizer: ActionTokens,
    embodiment: str | None = None,
    cameras: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> PolicyDescription:
    """What a policy is in front of a robot; arguments and errors as of `DeployedVLA`."""
    name = robot_of(tokenizer, embodiment)
    own, given = config.cameras[name], cameras or {}
    if unknown := sorted(set(given) - set(own)):
        raise ValueError(f"The policy has no camera {unknown}; it looks through {list(own)}.")
    fps = tokenizer.embodiments[name].fps
    horizon = horizon_frames(fps, tokenizer.seconds if seconds is None else seconds)
    views = {camera: given.get(camera, camera) for camera in own}
    return PolicyDescription(name, tokenizer.layout(name), fps, horizon, views, real_time=True)


def check_sampling(steps: int | None, seed: int) -> None:
    """Refuse a sampler that would give its noise back, and a seed that is none.

    Raises:
        ValueError: Says which.
    """
    sampler_steps(steps, usual=1)
    if seed < 0:
        raise ValueError(f"seed starts at 0, got {seed}.")


class DeployedVLA:
    """Acts by the flow head of a policy.

    The noise of a chunk follows from the seed and the number of the request, so that a run can be
    repeated.

    Args:
        policy: The policy.
        embodiment: The robot it acts as; may be left out where it knows only one.
        cameras: Its cameras -> those of the robot, where their names differ.
        seconds: Of a chunk; the action tokenizer's where None, else one.
        steps: Of the sampler; the policy's own where None.
        seed: Of the noise.
        max_guidance: Of real-time chunking, where it takes guidance.
        committed_frames: Up to so many frames that it is committed to are given to the sampler;
            with 0 it is guided towards them. As many as the policy was trained for where None.

    Raises:
        KeyError: The policy has no normalisation for such a robot.
        ValueError: It knows several robots, has no such camera, or a number is not usable.
    """

    def __init__(
        self,
        policy: VLAPolicy,
        embodiment: str | None = None,
        cameras: Mapping[str, str] | None = None,
        seconds: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        max_guidance: float = MAX_GUIDANCE,
        committed_frames: int | None = None,
    ) -> None:
        check_sampling(steps, seed)
        trained = policy.config.committed_frames
        self.committed_frames = trained if committed_frames is None else committed_frames
        if not 0 <= self.committed_frames <= trained:
            raise ValueError(
                f"The policy was trained to go on from {trained} given frames at most, got "
                f"committed_frames={committed_frames}."
            )
        self._has_told = False
        self.policy, self.steps, self.seed = policy, steps, seed
        self.max_guidance = max_guidance
        known = policy.config, policy.tokenizer
        self.description = describe(*known, embodiment, cameras, seconds)
        self.embodiment, self.cameras = self.description.embodiment, self.description.cameras
        self.fps, self.horizon = self.description.fps, self.description.horizon

    def reset(self) -> None:
        """Nothing is remembered from chunk to chunk."""

    @property
    def image_size(self) -> int:
        """Pixels per side of the pictures that it sees; others are scaled."""
        return self.policy.config.image_size

    @property
    def needs(self) -> tuple[str, ...]:
        """The channels of the state that it must be told."""
        known = self.policy.tokenizer.embodiments[self.embodiment]
        names = known.layout.names
        return tuple(names[i] for i in known.proprio.seen.nonzero().flatten().tolist())

    @cached_property
    def fingerprint(self) -> str:
        """Tells policies of one shape apart: a digest of some numbers of every weight."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.policy.model.state_dict().items()):
            some = weight.flatten()[:SAMPLED].to("cpu", torch.float64)
            digest.update(f"{name} {list(weight.shape)} ".encode() + some.numpy().tobytes())
        return digest.hexdigest()[:16]

    def check(self, instruction: str) -> None:
        """Refuse what it cannot be told.

        Raises:
            ValueError: It is empty, or holds a special token of the language model.
        """
        self.policy.samples.prompter.check(instruction, "instruction")

    def act(self, request: Request) -> np.ndarray:
        """A chunk float32 [T, D], physical units, absolute; errors as `VLAPolicy.act`."""
        return self.act_many([request])[0]

    def act_many(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Chunks for several robots of the kind at once, none dependent on the others.

        Those that are guided are computed one by one: their gradients would make more of the
        rounding of a batch than may be.
        """
        keys = [place if self._is_guided(r) else -1 for place, r in enumerate(requests)]
        return in_groups(requests, keys, lambda alike, _: self._act_alike(alike))

    def _act_alike(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Any number that are free or go on from given frames, or one that is guided."""
        seen, guide, given = [self._observe(r) for r in requests], None, None
        if self._is_guided(requests[0]):
            assert requests[0].committed is not None
            guide = self._guidance(seen[0], requests[0].committed)
        elif any(r.committed is not None for r in requests):
            given = self._given(seen, [r.committed for r in requests])
        noise = [seeded(self.seed if r.seed is None else r.seed, r.number) for r in requests]
        return self.policy.act(seen, self.horizon, self.steps, noise, guide, given)

    def _observe(self, request: Request) -> Observation:
        views = {own: request.observation.images[name] for own, name in self.cameras.items()}
        scaled = {name: fit(view, self.image_size) for name, view in views.items()}
        told = request.observation.proprio, request.instruction, self.embodiment, self.fps
        return Observation(scaled, *told)

    @property
    def most_given(self) -> int:
        """Committed frames that the sampler can be given; with 0 it is guided towards them."""
        return min(self.committed_frames, self.horizon - 1)

    def _is_guided(self, request: Request) -> bool:
        return request.committed is not None and not self.most_given

    def _given(self, seen: Sequence[Observation], committed: Sequence[Committed | None]) -> Given:
        """The frames that the robot will have executed, as far as it was trained to be given them.

        Frames beyond them would repeat what the robot may do anyway, and move the seam to where the
        last chunk ends: where one can be chosen, `joining` finds a better one.
        """
        frames = [0 if c is None else min(self.most_given, c.delay) for c in committed]
        width, device = self.policy.config.action_width, self.policy.model.device
        actions = torch.zeros(len(seen), self.horizon, width)
        for row, (now, told) in enumerate(zip(seen, committed, strict=True)):
            if told is not None:
                actions[row] = self._from_here(now, told).x[0]
        return Given(actions.to(device), torch.tensor(frames, device=device))

    def _guidance(self, seen: Observation, committed: Committed) -> RealTimeGuidance:
        """Towards the committed frames."""
        self._tell()
        target, known = self._from_here(seen, committed), len(committed.actions)
        weights = soft_mask(self.horizon, committed.delay, min(known, self.horizon))
        mask, device = weights[:, None] * target.mask, self.policy.model.device
        return RealTimeGuidance(target.x.to(device), mask.to(device), self.max_guidance)

    def _from_here(self, seen: Observation, committed: Committed) -> ModelInput:
        """A chunk of the committed frames, relative to the state of now; the last one stays."""
        frames = committed.actions[: self.horizon]
        filled = np.pad(frames, ((0, self.horizon - len(frames)), (0, 0)), mode="edge")
        return self.policy.samples.in_flow_space(seen, filled)

    def _tell(self) -> None:
        """Say once that chunks take longer than they would have to, and why."""
        if not self._has_told and not self.policy.config.committed_frames:
            logger.info(
                "Chunks in real time are guided, which takes a gradient in every step: this policy "
                "was not trained to go on from given frames (--vla.committed_frames)."
            )
        self._has_told = True
