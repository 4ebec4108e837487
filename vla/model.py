"""VLAModel: tensors in, tensors out. Physical units, words and pictures are policy.py's.

Batch ─ embeddings, pictures, state ─┐                    ┌─ LM head on labelled tokens
                                     ├─ MoT layers ─ norm ┤
actions + noise ─ action head ───────┘                    └─ velocities of the flow slots
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vla.action_head import ActionHead, ProprioToken
from vla.backbone import recompute
from vla.config import VLAConfig
from vla.experts import ActionLayer
from vla.flow import FlowDraw, Given, Guide, flow_loss, integrate, sampler_steps
from vla.losses import Losses, SampleLosses, token_losses
from vla.masks import flow_mask, vl_mask
from vla.mot import Cache, Entrance, JointLayer, MixtureOfTransformers
from vla.rotary import RotarySettings
from vla.sequence import UNLABELLED, Batch, shift_labels
from vla.tokens import TokenType
from vla.vision import PicturePlans, attend_side_by_side, see


@dataclass(frozen=True)
class VLAOutput:
    """What a training step needs.

    Attributes:
        each: The three terms, sample by sample.
        velocity: float32 [B, T, D], or None where the batch has no flow slots.
        logits: [M, rows], of the labelled places alone.
        targets: int64 [M], the ids to predict there.
    """

    each: SampleLosses
    velocity: Tensor | None
    logits: Tensor
    targets: Tensor

    @property
    def losses(self) -> Losses:
        """The three terms of the batch by itself."""
        return self.each.mean()


class VLAModel(nn.Module):
    """Qwen2.5-VL and an Action Expert beside it.

    Args:
        config: The policy's.
        vl_expert: transformers' `Qwen2_5_VLForConditionalGeneration` with the rows of the action
            tokens. Its layers move into the joint layers; `whole_vl_expert` lends them back.
    """

    def __init__(self, config: VLAConfig, vl_expert: Any) -> None:
        super().__init__()
        text = vl_expert.config.text_config
        if getattr(text, "use_sliding_window", False):
            raise ValueError("The backbone uses sliding windows; give one with full attention.")
        self.config = config
        self.rotary = RotarySettings.of(text)
        heads = text.num_attention_heads, text.num_key_value_heads
        widths = (count * self.rotary.head_dim for count in heads)
        shape = config.action_hidden, config.action_intermediate, *widths, text.rms_norm_eps
        vl_layers = list(vl_expert.model.language_model.layers)
        action_layers = [ActionLayer(*shape) for _ in vl_layers]
        vl_expert.model.language_model.layers = nn.ModuleList()
        self.vl_expert, self.picture_plans = vl_expert, PicturePlans()
        attend_side_by_side(vl_expert.model.visual)
        self.mot = MixtureOfTransformers(
            vl_layers, action_layers, self.rotary.head_dim, config.stop_gradient
        )
        width = config.action_width
        self.action_head = ActionHead(width, config.action_hidden, text.rms_norm_eps)
        token = ProprioToken(width, text.hidden_size) if config.proprio_token else None
        self.proprio_token = token

    @classmethod
    def load(cls, config: VLAConfig, vl_expert: Any, weights: dict[str, Tensor]) -> VLAModel:
        """A model whose Action Expert has the given weights (`action_weights`), strictly.

        Raises:
            ValueError: Names or shapes are not those of the configuration.
        """
        with torch.device("meta"):
            model = cls(config, vl_expert)
        wanted = {name: tensor.shape for name, tensor in model.action_weights().items()}
        found = {name: tensor.shape for name, tensor in weights.items()}
        wrong = sorted(n for n in wanted | found if wanted.get(n) != found.get(n))
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"The Action Expert's weights do not fit its configuration: {len(wrong)} names or "
                f"shapes differ, the first {name}: {found.get(name)} instead of {wanted.get(name)}."
            )
        model.load_state_dict(weights, strict=False, assign=True)
        return model

    def action_weights(self) -> dict[str, Tensor]:
        """All that is not the VL Expert's, by name."""
        return {n: t for n, t in self.state_dict().items() if not is_vl(n)}

    @property
    def dtype(self) -> torch.dtype:
        """Of the experts."""
        return self.vl_expert.get_input_embeddings().weight.dtype

    @property
    def device(self) -> torch.device:
        return self.vl_expert.get_input_embeddings().weight.device

    def cast(self, dtype: torch.dtype) -> VLAModel:
        """Cast the experts' weights; the maps of actions and state keep float32.

        Buffers keep it too: the vision tower's rotary frequencies are among them.
        """
        for parameter in (*self.vl_expert.parameters(), *self.mot.parameters()):
            parameter.data = parameter.data.to(dtype)
        return self

    def checkpoint_gradients(self, enabled: bool = True) -> None:
        """Compute activations of joint layers and vision tower again when they are needed."""
        self.mot.gradient_checkpointing = enabled
        recompute(self.vl_expert.model.visual, enabled)

    @contextmanager
    def whole_vl_expert(self) -> Iterator[Any]:
        """transformers' model with its layers, to save or to run it alone."""
        language = self.vl_expert.model.language_model
        language.layers = nn.ModuleList(cast(JointLayer, layer).vl for layer in self.mot.layers)
        try:
            yield self.vl_expert
        finally:
            language.layers = nn.ModuleList()

    def forward(self, batch: Batch, draw: FlowDraw | None = None) -> VLAOutput:
        """One training step's losses.

        Args:
            batch: Any mixture of robots' samples and others.
            draw: Noise and flow time; drawn where not given, with no frame given away.
        """
        config, flow = self.config, None
        if draw is None:
            draw = FlowDraw.sample(batch.actions, config.time_alpha, config.time_scale)
        if batch.horizon:
            noisy = draw.noisy(batch.actions, batch.action_mask)
            flow = self._flow_entrance(batch, noisy, draw.time)
        streams = self.mot(self._entrance(batch), flow)
        labels = shift_labels(batch.labels)
        labelled = labels != UNLABELLED
        logits = self.logits(streams.tokens[labelled])
        is_action = shift_labels(batch.types)[labelled] == TokenType.ACTION
        place = is_action, labelled.nonzero()[:, 0], len(batch)
        token_terms = token_losses(logits, labels[labelled], *place)
        velocity, flow_term = None, torch.zeros_like(token_terms[0])
        if streams.flow is not None:
            velocity = self.action_head.velocity(streams.flow)
            data = batch.actions, batch.action_mask, draw
            flow_term = flow_loss(velocity, *data, config.flow_objective)
        robots = batch.slots.any(-1) | (batch.types == TokenType.ACTION).any(-1)
        each = SampleLosses(flow_term, *token_terms, robots)
        return VLAOutput(each, velocity, logits, labels[labelled])

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., width] from the layers -> [..., rows]."""
        return self.vl_expert.lm_head(self.vl_expert.model.language_model.norm(hidden))

    def read(self, batch: Batch) -> tuple[Tensor, Cache]:
        """The VL Expert alone: hidden states [B, L, width], and what flow slots may see."""
        streams = self.mot(self._entrance(batch), None)
        assert streams.tokens is not None
        return streams.tokens, streams.cache

    def read_next(
        self, ids: Tensor, position: Tensor, past: Cache, real: Tensor
    ) -> tuple[Tensor, Cache]:
        """Go on behind sequences that end together.

        Args:
            ids: int64 [B, n], the next tokens.
            position: int64 [B], of the first of them.
            past: All tokens before.
            real: bool [B, L], False where the sequences were padded, on the left.
        """
        count, before = ids.shape[1], past[0].key.shape[2]
        places = position[:, None] + torch.arange(count, device=ids.device)
        embedded = self.vl_expert.get_input_embeddings()(ids)
        rotary = self.rotary.at(places.expand(3, -1, -1), embedded.dtype)
        seen = pad(real, (0, before + count - real.shape[1]), value=True)
        causal = torch.ones(count, before + count, dtype=torch.bool, device=ids.device)
        mask = causal.tril(before) & seen[:, None, :]
        streams = self.mot(Entrance(embedded, rotary, mask), None, past)
        return streams.tokens, streams.cache

    def velocity(
        self, batch: Batch, noisy: Tensor, time: Tensor, past: Cache | None = None
    ) -> Tensor:
        """Velocities float32 [B, T, D] at noisy actions [B, T, D] and flow times [B].

        Args:
            batch: Says what the flow slots see, and where they are.
            noisy: 0 where masked.
            time: [B], or [B, T] frame by frame; 0 = noise, 1 = data.
            past: What `read` left of the batch; without it the tokens are read again.
        """
        flow = self._flow_entrance(batch, noisy, time)
        streams = self.mot(None if past else self._entrance(batch), flow, past)
        return self.action_head.velocity(streams.flow)

    @torch.no_grad()
    def sample_actions(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        steps: int | None = None,
        cached: bool = True,
        guide: Guide | None = None,
        given: Given | None = None,
    ) -> Tensor:
        """Act: from noise to a chunk.

        Args:
            batch: With `action_mask` of the channels to fill; its actions are not looked at.
            noise: float32 [B, T, D]; drawn where not given.
            steps: Of Euler's method; the configuration's where not given.
            cached: Read the prompt once, or with every step.
            guide: Makes another velocity field of the model's: `RealTimeGuidance`.
            given: First frames that are there already.

        Returns:
            float32 [B, T, D] in model space, masked entries 0.
        """
        mask, count = batch.action_mask, sampler_steps(steps, self.config.denoise_steps)
        past = self.read(batch)[1] if cached else None
        velocity = partial(self.velocity, batch, past=past)
        noise = torch.randn_like(batch.actions) if noise is None else noise
        field = velocity if guide is None else guide(velocity)
        if given is not None:
            noise, field = given.start(noise), given(field)

        def masked(actions: Tensor, time: Tensor) -> Tensor:
            return torch.where(mask, field(actions, time), 0.0)

        start = torch.where(mask, noise, 0.0)
        return integrate(masked, start, count, self.config.time_scale)

    def _entrance(self, batch: Batch) -> Entrance:
        embedded = self.embed(batch)
        rotary = self.rotary.at(batch.positions, embedded.dtype)
        return Entrance(embedded, rotary, vl_mask(batch.types))

    def _flow_entrance(self, batch: Batch, noisy: Tensor, time: Tensor) -> Entrance:
        embedded = self.action_head.embed(noisy, batch.action_mask, time).to(self.dtype)
        rotary = self.rotary.at(batch.slot_positions, embedded.dtype)
        return Entrance(embedded, rotary, flow_mask(batch.types, batch.slots, batch.draws))

    def embed(self, batch: Batch, seen: Tensor | None = None) -> Tensor:
        """[B, L, width]: rows of the table, pictures and state in their places.

        Args:
            batch: Of ids, pictures and states.
            seen: The pictures' tokens, where the vision tower has run already.
        """
        embedded = self.vl_expert.get_input_embeddings()(batch.ids)
        if batch.pixels is not None and batch.grids is not None:
            if seen is None:
                visual = self.vl_expert.model.visual
                plan = self.picture_plans.of(visual, batch.grids, batch.pixels.device)
                seen = see(visual, batch.pixels, plan)
            place = (batch.types == TokenType.IMAGE).unsqueeze(-1)
            embedded = embedded.masked_scatter(place, seen.to(embedded.dtype))
        if self.proprio_token is not None:
            state = self.proprio_token(batch.proprio, batch.proprio_mask).to(embedded.dtype)
            place = (batch.types == TokenType.PROPRIO).unsqueeze(-1)
            embedded = torch.where(place, state.unsqueeze(1), embedded)
        return embedded


def backbone_name(name: str) -> str:
    """A weight of the VL Expert as transformers' own model calls it, given our name of it."""
    layer = re.sub(r"^mot\.(layers\.\d+\.)vl\.", r"model.language_model.\1", name)
    return layer.removeprefix("vl_expert.")


def is_vl(name: str) -> bool:
    """Whether a weight of that name is the VL Expert's."""
    return name.startswith("vl_expert.") or ".vl." in name
