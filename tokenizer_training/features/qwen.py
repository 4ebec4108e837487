"""Qwen2.5-VL as a teacher: what a vision-language model makes of all views and the instruction.

One moment is one sequence, read in one forward pass:

    system | instruction | view 1 | view 2 | ...

Attention is causal, so the instruction stands before the views: the hidden states of every view
depend on it, and those of a view on the views before it. A view's feature is the mean of the chosen
layer's hidden states over the view's image tokens. Where there is no instruction its place is left
empty.

The *layer* counts as `hidden_states` does in transformers: 0 is the embedding, i the output of the
i-th layer, the last one what the final norm makes of that; negative numbers count from the end.
Layers beyond it are not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tokenizer_training.features.network import NetworkSettings, NetworkTeacher
from tokenizer_training.features.teacher import Frames

PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "{instruction}{views}"
)
VIEW = "<|vision_start|>{tokens}<|vision_end|>"


@dataclass(frozen=True)
class QwenSettings(NetworkSettings):
    """Attributes:
    layer: Whose hidden states are taken.
    """

    layer: int = -3


class QwenTeacher(NetworkTeacher):
    """A frozen Qwen2.5-VL.

    Raises:
        ValueError: The model is another one, or has no such layer.
    """

    kind = "qwen2_5_vl"

    def __init__(self, settings: QwenSettings) -> None:
        from transformers import AutoConfig

        super().__init__(settings)
        self.config = AutoConfig.from_pretrained(self.folder)
        if self.config.model_type != self.kind:
            raise ValueError(
                f"{self.source} is a {self.config.model_type}, no Qwen2.5-VL. Vision models are "
                "read with --teacher vision."
            )
        states = self.config.text_config.num_hidden_layers + 1
        if not -states <= settings.layer < states:
            raise ValueError(
                f"--layer must lie between {-states} and {states - 1}, got {settings.layer}."
            )
        self.layers = settings.layer % states
        self.decisive = {"layer": self.layers}

    @property
    def reads_instruction(self) -> bool:
        return True

    @property
    def width(self) -> int:
        return self.config.text_config.hidden_size

    @cached_property
    def network(self) -> torch.nn.Module:
        """The model, cut off after the chosen layer."""
        network = self.load()
        text = network.language_model
        if self.layers < len(text.layers):
            text.layers = text.layers[: self.layers]
            text.norm = torch.nn.Identity()
        return network.to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    def look(self, frames: Frames, instruction: str) -> Tensor:
        """[N, cameras, W] in the card's dtype, on the CPU."""
        views = [view for moment in zip(*frames.values(), strict=True) for view in moment]
        inputs = self.processor(views, return_tensors="pt", input_data_format="channels_last")
        grids = inputs["image_grid_thw"]
        counts = (grids[: len(frames)].prod(1) // self.processor.merge_size**2).tolist()
        ids = self._tokens(instruction, counts).expand(len(views) // len(frames), -1)
        is_view = ids == self.config.image_token_id
        inputs |= {"input_ids": ids, "mm_token_type_ids": is_view.int()}
        output = self.network(**inputs.to(self.device, self.dtype), use_cache=False)
        hidden = output.last_hidden_state.float().cpu()[:, is_view[0]]
        pooled = [view.mean(1) for view in hidden.split(counts, dim=1)]
        return torch.stack(pooled, dim=1).to(self.dtype)

    def _tokens(self, instruction: str, counts: list[int]) -> Tensor:
        """[1, L] int64: the prompt, with so many image tokens in each view."""
        token = self.tokenizer.convert_ids_to_tokens(self.config.image_token_id)
        views = "".join(VIEW.format(tokens=token * count) for count in counts)
        prompt = PROMPT.format(instruction=instruction, views=views)
        return self.tokenizer(prompt, return_tensors="pt")["input_ids"]
