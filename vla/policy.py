"""VLAPolicy: pictures, words and a state in; actions in physical units, tokens or words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvq_action import ActionTokenizer
from vla import artifact
from vla.backbone import Backbone, load_backbone
from vla.config import VLAConfig
from vla.generation import continue_greedily
from vla.images import Image
from vla.model import VLAModel
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
    """

    config: VLAConfig
    model: VLAModel
    tokenizer: ActionTokenizer
    backbone: Backbone
    vocabulary: VLAVocabulary
    samples: SampleBuilder

    @classmethod
    def start(
        cls, config: VLAConfig, tokenizer: ActionTokenizer, dtype: torch.dtype = torch.float32
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
    ) -> VLAPolicy:
        """Load what `save_pretrained` wrote; strict.

        Args:
            path: The folder.
            device: Where the network goes; the action tokenizer stays on the CPU.
            dtype: Of the experts' weights; as they were saved where not given.

        Raises:
            ValueError: A file is missing, damaged, or does not fit the others.
        """
        loaded = artifact.load(Path(path), dtype)
        model = VLAModel.load(loaded.config, loaded.backbone.model, loaded.action_weights)
        model = (model if dtype is None else model.cast(dtype)).to(device).eval()
        parts = loaded.tokenizer, loaded.backbone, loaded.vocabulary
        return cls.assemble(loaded.config, model, *parts)

    def save_pretrained(self, path: str | Path, shard_size: str = "5GB") -> None:
        """Write a folder with all that the policy needs, its tokenizer included.

        Args:
            path: A new folder, or one that holds a policy, which is replaced in the end.
            shard_size: Larger weights are spread over several files.

        Raises:
            ValueError: The path holds something else; nothing is overwritten.
        """
        with self.model.whole_vl_expert():
            artifact.save(
                Path(path),
                artifact.Contents(
                    self.config,
                    self.backbone,
                    self.model.action_weights(),
                    self.tokenizer,
                    self.vocabulary,
                ),
                shard_size,
            )

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Samples side by side, where the network is."""
        return collate(samples, self.backbone.images.merge_size).to(self.model.device)

    def act(
        self,
        observations: Sequence[Observation],
        horizon: int,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> list[np.ndarray]:
        """The flow head's actions for several robots at once.

        Args:
            observations: Of each.
            horizon: T, frames.
            steps: Of the sampler; the configuration's where not given.
            generator: Of the noise.

        Returns:
            float32 [T, D] each: physical units, absolute, within the training range.

        Raises:
            ValueError: An observation is incomplete or wrong.
            KeyError: An unknown robot.
            FloatingPointError: The network gave a number that is none.
        """
        batch = self.batch([self.samples.to_act(o, horizon) for o in observations])
        place = self.model.device if generator is None else generator.device
        noise = torch.randn(batch.actions.shape, generator=generator, device=place)
        moved = self.model.sample_actions(batch, noise.to(self.model.device), steps).cpu()
        if not moved.isfinite().all():
            raise FloatingPointError("The policy gave actions that are not finite; do not move.")
        return [self._physical(o, x) for o, x in zip(observations, moved, strict=True)]

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
        batch = self.batch([self.samples.to_act(now, horizon)])
        name = self.samples.embodiment(embodiment)
        vocabulary = self.vocabulary.of_slots(self.tokenizer.vocabulary_of(name).num_slots)
        end, actions = self.samples.prompter.end_id, vocabulary.actions

        def allowed(position: int) -> Tensor:
            may_end = [end] if position else []
            return torch.tensor([*vocabulary.valid_ids(position), *may_end])

        limit = actions.num_slots * actions.num_levels
        ids = continue_greedily(self.model, batch, allowed, end, limit)
        codes = actions.to_codes(torch.tensor([ids])).numpy()
        anchor = torch.as_tensor(proprio).numpy()[None]
        return ActionCodes(codes[0], self.tokenizer.decode(codes, horizon, anchor, name, fps)[0])

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
        ids = continue_greedily(self.model, batch, lambda _: words, end, max_tokens)
        return prompter.read(ids)

    def _physical(self, observation: Observation, moved: Tensor) -> np.ndarray:
        """Model space [T, D_model] -> physical [T, D]."""
        name = self.samples.embodiment(observation.embodiment)
        anchor = torch.as_tensor(observation.proprio, dtype=torch.float32).nan_to_num(0.0)
        known = self.tokenizer.embodiments[name]
        return known.from_model(moved[None], anchor[None], relative=False)[0].numpy()

    @classmethod
    def assemble(
        cls,
        config: VLAConfig,
        model: VLAModel,
        tokenizer: ActionTokenizer,
        backbone: Backbone,
        vocabulary: VLAVocabulary,
    ) -> VLAPolicy:
        """Put together what belongs together; nothing is checked or loaded."""
        image_id = backbone.model.config.image_token_id
        prompter = Prompter(backbone.text, image_id, vocabulary.proprio_id)
        samples = SampleBuilder(config, tokenizer, vocabulary, prompter, backbone.images)
        return cls(config, model, tokenizer, backbone, vocabulary, samples)
