"""VLAPolicy: pictures, words and a state in; actions in physical units, tokens or words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rvq_action.artifact.directory import locate
from vla import artifact
from vla.action_tokens import ActionTokens
from vla.backbone import Backbone, load_backbone
from vla.config import VLAConfig
from vla.flow import Given, Guide, draw_noise
from vla.generation import continue_greedily, in_groups
from vla.images import Image
from vla.inference.fast import FastSampler
from vla.model import VLAModel, backbone_name, is_vl
from vla.prompt import Prompter
from vla.samples import Observation, SampleBuilder
from vla.sequence import Batch, Sample, collate
from vla.vocabulary import VLAVocabulary, grow


@dataclass(frozen=True)
class ActionCodes:
    """What the discrete branch says.

    Attributes:
        codes: int64 [S, K], absent = -1.
        actions: float32 [T, D], decoded: physical units, absolute.
    """

    codes: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class VLAPolicy:
    """A policy with everything it needs to be used.

    Attributes:
        config: Its shape.
        model: The network.
        tokenizer: Its action tokenizer.
        backbone: Text tokenizer and image processor, and the model that the VL Expert is.
        vocabulary: Where the action tokens are.
        samples: Builds its sequences.
        fast: Acts in the network's place, as it would but sooner; see `accelerated`.
    """

    config: VLAConfig
    model: VLAModel
    tokenizer: ActionTokens
    backbone: Backbone
    vocabulary: VLAVocabulary
    samples: SampleBuilder
    fast: FastSampler | None = None

    @classmethod
    def start(
        cls, config: VLAConfig, tokenizer: ActionTokens, dtype: torch.dtype = torch.float32
    ) -> VLAPolicy:
        """An untrained policy: the backbone as it is, a random Action Expert.

        Args:
            config: For this tokenizer, see `VLAConfig.for_tokenizer`.
            tokenizer: Whose tokens it is to speak.
            dtype: Of the experts' weights.

        Raises:
            ValueError: The configuration is for another tokenizer, or there is no such backbone.
        """
        config.check_tokenizer(tokenizer)
        backbone = load_backbone(config.backbone, dtype)
        vocabulary = VLAVocabulary.behind(backbone.language_size, config)
        grow(backbone.model, vocabulary)
        model = VLAModel(config, backbone.model).cast(dtype).eval()
        return cls.assemble(config, model, tokenizer, backbone, vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        revision: str | None = None,
    ) -> VLAPolicy:
        """Load what `save_pretrained` wrote; strict.

        Args:
            path: The folder, or the id of a repository of the hub.
            device: Where the network goes; the action tokenizer stays on the CPU.
            dtype: Of the experts' weights; as they were saved where not given.
            revision: Of the repository.

        Raises:
            ValueError: It is neither, or a file is missing, damaged, or does not fit the others.
        """
        loaded = artifact.load(locate(path, revision, artifact.PATTERNS), dtype)
        model = VLAModel.load(loaded.config, loaded.backbone.model, loaded.action_weights)
        model = (model if dtype is None else model.cast(dtype)).to(device).eval()
        parts = loaded.tokenizer, loaded.backbone, loaded.vocabulary
        return cls.assemble(loaded.config, model, *parts)

    def accelerated(self, compiled: bool = False) -> VLAPolicy:
        """The same policy by the fast path, docs/inference.md; arguments as `FastSampler`."""
        return replace(self, fast=FastSampler(self.model, compiled=compiled))

    def save_pretrained(
        self,
        path: str | Path,
        shard_size: str = "5GB",
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write a folder with all that the policy needs, its tokenizer included.

        Args:
            path: A new folder, or one that holds a policy, which is replaced in the end.
            shard_size: Larger weights are spread over several files.
            weights: By the names of the network's `state_dict`, where others than its own are to
                be saved: averaged ones, say, or those of a network in several processes.

        Raises:
            ValueError: The path holds something else; nothing is overwritten.
        """
        if weights is None:
            weights = self.model.state_dict()
        named: dict[bool, dict[str, Tensor]] = {True: {}, False: {}}
        for name, weight in weights.items():
            named[is_vl(name)][backbone_name(name) if is_vl(name) else name] = weight
        with self.model.whole_vl_expert():
            parts = self.config, self.backbone, named[False], self.tokenizer, self.vocabulary
            artifact.save(Path(path), artifact.Contents(*parts, named[True]), shard_size)

    def batch(
        self, samples: Sequence[Sample], padding: Literal["left", "right"] = "right"
    ) -> Batch:
        """Samples side by side, where the network is."""
        return collate(samples, self.backbone.images.merge_size, padding).to(self.model.device)

    def act(
        self,
        observations: Sequence[Observation],
        horizon: int,
        steps: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        guide: Guide | None = None,
        given: Given | None = None,
    ) -> list[np.ndarray]:
        """The flow head's actions for several robots at once.

        Args:
            observations: Of each.
            horizon: T, frames.
            steps: Of the sampler; the configuration's where not given.
            generator: Of the noise; with one for every robot none depends on the others.
            guide: Of the sampler, towards chunks that these go on from.
            given: First frames that chunks go on from; `SampleBuilder.in_flow_space` makes them.

        Returns:
            float32 [T, D] each: physical units, absolute, within the training range.

        Raises:
            ValueError: An observation is incomplete or wrong, or there are no steps.
            KeyError: An unknown robot.
            FloatingPointError: The network gave a number that is none.
        """
        batch = self.batch([self.samples.to_act(o, horizon) for o in observations])
        noise = draw_noise(batch.actions, generator).to(self.model.device)
        sampler = self.model if self.fast is None else self.fast
        moved = sampler.sample_actions(batch, noise, steps, guide=guide, given=given).cpu()
        if not moved.isfinite().all():
            raise FloatingPointError("The policy gave actions that are not finite; do not move.")
        goes_on = [guide is not None] * len(moved) if given is None else (given.frames > 0).tolist()
        return [self._physical(*row) for row in zip(observations, moved, goes_on, strict=True)]

    def generate_flow_action(
        self,
        images: Mapping[str, Image],
        proprio: np.ndarray | Tensor,
        instruction: str,
        horizon: int,
        embodiment: str | None = None,
        fps: float | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> np.ndarray:
        """Act by the flow head.

        Args:
            images: Camera -> uint8 [H, W, 3], every camera of the robot, `image_size` square.
            proprio: [D] now, physical units, in the layout's channels.
            instruction: What to do.
            horizon: T, frames.
            embodiment: Name of the robot; may be left out where there is only one.
            fps: Of the actions [Hz]; as in its training data where not given.
            steps: Of the sampler; the configuration's where not given.
            generator: Of the noise.

        Returns:
            float32 [T, D]: physical units, absolute, within the training range.

        Raises:
            ValueError: A camera is missing, a picture of the wrong size, the instruction empty,
                proprio NaN.
            KeyError: An unknown robot.
        """
        now = Observation(images, proprio, instruction, embodiment, fps)
        return self.act([now], horizon, steps, generator)[0]

    def generate_action_codes(
        self,
        images: Mapping[str, Image],
        proprio: np.ndarray | Tensor,
        instruction: str,
        horizon: int,
        embodiment: str | None = None,
        fps: float | None = None,
    ) -> ActionCodes:
        """Act by the discrete tokens, for comparison; arguments as `generate_flow_action`.

        Every token is one that may stand in its place, so that any answer decodes. Where the model
        ends early the chunk is coarser.
        """
        now = Observation(images, proprio, instruction, embodiment, fps)
        return self.act_by_codes([now], horizon)[0]

    def act_by_codes(self, observations: Sequence[Observation], horizon: int) -> list[ActionCodes]:
        """The discrete branch's actions for several robots at once; errors as `act`.

        Those whose codes have equally many slots write them together.
        """
        names = [self.samples.embodiment(o.embodiment) for o in observations]
        slots = [self.tokenizer.vocabulary_of(name).num_slots for name in names]
        return in_groups(observations, slots, lambda alike, n: self._speak(alike, horizon, n))

    def _speak(
        self, observations: Sequence[Observation], horizon: int, slots: int
    ) -> list[ActionCodes]:
        """The discrete branch's actions for robots that all have so many slots."""
        samples = [self.samples.to_act(o, horizon) for o in observations]
        vocabulary, end = self.vocabulary.of_slots(slots), self.samples.prompter.end_id
        actions, allowed = vocabulary.actions, partial(vocabulary.may_stand, end_id=end)
        batch = self.batch(samples, "left")
        said = continue_greedily(self.model, batch, allowed, end, actions.tokens_per_chunk)
        codes = actions.to_codes(said).numpy()
        return [self._spoken(o, c, horizon) for o, c in zip(observations, codes, strict=True)]

    def _spoken(self, observation: Observation, codes: np.ndarray, horizon: int) -> ActionCodes:
        """Codes int64 [s, K] -> with their actions."""
        name = self.samples.embodiment(observation.embodiment)
        anchor = torch.as_tensor(observation.proprio).numpy()[None]
        told = horizon, anchor, name, observation.fps
        return ActionCodes(codes, self.tokenizer.decode(codes[None], *told)[0])

    def generate_text(self, images: Sequence[Image], question: str, max_tokens: int = 128) -> str:
        """Answer a question about pictures.

        Args:
            images: uint8 [H, W, 3] each; may be none.
            question: What is asked.
            max_tokens: The longest answer.

        Raises:
            ValueError: No picture where one should be, or an empty question.
        """
        batch = self.batch([self.samples.to_ask(images, question)])
        prompter = self.samples.prompter
        words = torch.tensor(prompter.answer_ids)
        end = prompter.end_id
        ids = continue_greedily(self.model, batch, lambda _: words, end, max_tokens)[0]
        return prompter.read(ids)

    def _physical(self, seen: Observation, moved: Tensor, goes_on: bool = False) -> np.ndarray:
        """Model space [T, D_model] -> physical [T, D]."""
        known = self.tokenizer.embodiments[self.samples.embodiment(seen.embodiment)]
        anchor = torch.as_tensor(seen.proprio, dtype=torch.float32).nan_to_num(0.0)
        return known.from_model(moved[None], anchor[None], False, seen.fps, not goes_on)[0].numpy()

    @classmethod
    def assemble(
        cls,
        config: VLAConfig,
        model: VLAModel,
        tokenizer: ActionTokens,
        backbone: Backbone,
        vocabulary: VLAVocabulary,
    ) -> VLAPolicy:
        """Put together what belongs together; nothing is checked or loaded."""
        image_id = backbone.model.config.image_token_id
        prompter = Prompter(backbone.text, image_id, vocabulary.proprio_id)
        samples = SampleBuilder(config, tokenizer, vocabulary, prompter, backbone.images)
        return cls(config, model, tokenizer, backbone, vocabulary, samples)
