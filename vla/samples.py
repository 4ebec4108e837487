"""From pictures, words, states and actions to Samples: one way for training and inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action import ActionChunk
from rvq_action.embodiment import ModelInput
from rvq_action.inputs import read_actions, read_anchor
from vla.action_tokens import ActionTokens, robot_of
from vla.config import VLAConfig
from vla.images import Image, Pixels, check_size, cut_pixels, read_pixels, robot_views, shrink
from vla.prompt import Prompter, state_text
from vla.sequence import UNLABELLED, Sample
from vla.tokens import TokenType
from vla.vocabulary import VLAVocabulary


@dataclass(frozen=True)
class Observation:
    """What a robot sees, knows of itself and is told.

    Attributes:
        images: Camera -> uint8 [H, W, 3] RGB.
        proprio: float [D] just before the actions, physical units, in the layout's channels.
        instruction: What to do.
        embodiment: Name of the robot; None where the policy knows one only.
        fps: Of the actions [Hz]; None: as in its training data.
    """

    images: Mapping[str, Image]
    proprio: np.ndarray | Tensor
    instruction: str
    embodiment: str | None = None
    fps: float | None = None


@dataclass(frozen=True)
class SampleBuilder:
    """Builds the sequences of a policy.

    Attributes:
        config: The policy's.
        tokenizer: Its action tokenizer.
        vocabulary: Its ids.
        prompter: Its words.
        processor: Its image processor.
    """

    config: VLAConfig
    tokenizer: ActionTokens
    vocabulary: VLAVocabulary
    prompter: Prompter
    processor: Any

    def __post_init__(self) -> None:
        check_size(self.processor, self.config.image_size)

    def to_act(self, observation: Observation, horizon: int) -> Sample:
        """The prompt and empty flow slots: what inference starts from.

        Args:
            observation: Now.
            horizon: T, frames to act.

        Raises:
            ValueError: A camera or a state is missing or wrong, the instruction is empty.
            KeyError: An unknown robot.
        """
        name = self.embodiment(observation.embodiment)
        layout = self.tokenizer.layout(name)
        blank = torch.zeros(1, horizon, layout.width)
        everything = torch.ones_like(blank, dtype=torch.bool)
        chunk = self._chunk(observation, name, blank, everything)
        known = self.tokenizer.embodiments[name]
        unread = known.proprio.seen & torch.as_tensor(observation.proprio).isnan()
        if unread.any():
            names = [layout.names[i] for i in unread.nonzero().flatten().tolist()]
            raise ValueError(
                f"proprio is NaN for {names}, which {name!r} had in training. A robot that does "
                "not know its state must not act."
            )
        given = self.tokenizer.prepare(chunk, relative=True)
        return self._robot_sample(observation, name, chunk.fps, given, [])

    def in_flow_space(self, observation: Observation, actions: np.ndarray | Tensor) -> ModelInput:
        """Actions as the flow head would give them to this observation.

        Args:
            observation: Whose state they become relative to.
            actions: [T, D] physical units, absolute.
        """
        name = self.embodiment(observation.embodiment)
        frames = torch.as_tensor(actions, dtype=torch.float32)[None]
        everything = torch.ones_like(frames, dtype=torch.bool)
        return self.tokenizer.prepare(self._chunk(observation, name, frames, everything))

    def to_learn(
        self,
        observation: Observation,
        actions: np.ndarray | Tensor,
        mask: np.ndarray | Tensor | None = None,
        codes: np.ndarray | Tensor | None = None,
        shown_proprio: np.ndarray | Tensor | None = None,
    ) -> Sample:
        """The prompt, the demonstrated actions as tokens, and as what the flow is to reach.

        Args:
            observation: Before the actions; NaN in proprio is *unknown*.
            actions: [T, D] absolute, physical units.
            mask: bool [T, D], True = real; everything is where omitted.
            codes: int64 [s, K] of those actions, where they are known already.
            shown_proprio: [D], the state that the prompt tells, where it is to differ from the one
                that the actions are relative to: dropped (NaN) or perturbed.

        Raises:
            ValueError: As `to_act`; actions that are not finite or lack their anchor.
            KeyError: An unknown robot.
        """
        name = self.embodiment(observation.embodiment)
        known, proprio = self.tokenizer.embodiments[name], torch.as_tensor(observation.proprio)
        mask = None if mask is None else torch.as_tensor(mask)[None]
        frames = torch.as_tensor(actions)[None]
        frames, real = read_actions(frames, mask, known.layout, frames.device)
        read_anchor(proprio[None], known.layout, known.anchored(real.any(1), False), frames.device)
        if codes is None:
            told = proprio[None], name, observation.fps
            codes = self.tokenizer.encode(frames, *told, mask=real)[0]
        chunk = self._chunk(observation, name, frames, real)
        given = self.tokenizer.prepare(chunk)
        if shown_proprio is not None:
            other = replace(observation, proprio=shown_proprio)
            shown = self._chunk(other, name, frames, real)
            given = replace(given, condition=self.tokenizer.prepare(shown, True).condition)
        codes = torch.as_tensor(codes)
        actions_vocabulary = self.vocabulary.actions.of_slots(len(codes))
        ids = actions_vocabulary.to_ids(codes[None])[0].tolist()
        return self._robot_sample(observation, name, chunk.fps, given, ids)

    def to_ask(self, images: Sequence[Image], question: str) -> Sample:
        """A question about pictures, without its answer."""
        pixels = self._pictures(images)
        return self._sample(self.prompter.question(pixels.tokens, question), [], pixels)

    def to_answer(
        self,
        images: Sequence[Image],
        question: str,
        answer: str,
        before: Sequence[tuple[str, str]] = (),
    ) -> Sample:
        """A question about pictures and its answer, for training.

        Args:
            images: uint8 [H, W, 3] each, of any size; may be none.
            question: What is asked.
            answer: What is to be said.
            before: Questions and answers that led to it, oldest first; they are not learnt.

        Raises:
            ValueError: No picture where one should be, empty words, special tokens in them.
        """
        pixels = self._pictures(images)
        head = self.prompter.question(pixels.tokens, question, before)
        return self._sample(head, self.prompter.answer(answer), pixels)

    def embodiment(self, name: str | None) -> str:
        """The name of a robot; arguments and errors as of `robot_of`."""
        return robot_of(self.tokenizer, name)

    def _pictures(self, images: Sequence[Image]) -> Pixels:
        """Of no robot's camera: any sizes, within the configuration's bound."""
        return read_pixels(self.processor, [shrink(i, self.config.max_pixels) for i in images])

    def _chunk(
        self, observation: Observation, name: str, actions: Tensor, mask: Tensor
    ) -> ActionChunk:
        layout = self.tokenizer.layout(name)
        proprio = torch.as_tensor(observation.proprio, dtype=torch.float32)
        if proprio.shape != (layout.width,) or proprio.isinf().any():
            raise ValueError(
                f"proprio must be [{layout.width}] finite numbers, the channels of layout "
                f"{layout.name!r} ({', '.join(layout.names)}), got {list(proprio.shape)}."
            )
        known = ~proprio.isnan()
        fps = self.tokenizer.embodiments[name].fps if observation.fps is None else observation.fps
        anchor = torch.where(known, proprio, 0.0)[None]
        return ActionChunk(actions, mask, anchor, known[None], fps, name)

    def _robot_sample(
        self, observation: Observation, name: str, fps: float, given: ModelInput, ids: list[int]
    ) -> Sample:
        config, condition = self.config, given.condition
        cameras = config.cameras[name]
        views = robot_views(observation.images, cameras, config.image_size, name)
        pixels = cut_pixels(self.processor, views)
        width = self.tokenizer.layout(name).width
        assert condition.anchor is not None and condition.anchor_mask is not None
        state = state_text(condition.anchor[0, :width], condition.anchor_mask[0, :width])
        head = self.prompter.robot(
            name,
            fps,
            list(zip(cameras, pixels.tokens, strict=True)),
            observation.instruction,
            state if config.proprio_text else None,
            config.proprio_token,
        )
        tail = [*ids, self.prompter.end_id] if ids else []
        return self._sample(head, tail, pixels, given, TokenType.ACTION)

    def _sample(
        self,
        head: list[int],
        tail: list[int],
        pixels: Pixels,
        given: ModelInput | None = None,
        tail_type: TokenType = TokenType.TEXT,
    ) -> Sample:
        """A sequence whose head is given and whose tail is to be predicted."""
        ids = torch.tensor(head + tail)
        types = torch.full_like(ids, TokenType.TEXT)
        image_id = self.prompter.text.convert_tokens_to_ids(self.prompter.image_token)
        types[ids == image_id] = TokenType.IMAGE
        types[ids == self.vocabulary.proprio_id] = TokenType.PROPRIO
        types[len(head) :] = tail_type
        labels = torch.full_like(ids, UNLABELLED)
        labels[len(head) :] = ids[len(head) :]
        return Sample(ids, types, labels, pixels.patches, pixels.grids, *self._motion(given))

    def _motion(self, given: ModelInput | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Proprio [D], actions [T, D] and their masks; nothing without a robot."""
        width = self.config.action_width
        if given is None:
            state, motion = torch.zeros(width), torch.zeros(0, width)
            return state, state.bool(), motion, motion.bool()
        anchor, known = given.condition.anchor, given.condition.anchor_mask
        assert anchor is not None and known is not None
        return anchor[0], known[0], given.x[0], given.mask[0]
