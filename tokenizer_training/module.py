"""TokenizerModule: steps and logs; the maths is in `losses`, the networks in `rvq_action`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rvq_action.blocks import ConditionEmbedding
from rvq_action.config import TokenizerConfig
from rvq_action.model import TokenizerModel, TokenizerOutput
from rvq_action.semantic import LEVEL, semantic_part
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training import losses
from tokenizer_training.dropout import (
    DropoutRates,
    drop_condition,
    prefix_mask,
    token_positions,
)
from tokenizer_training.features.narrow import Narrowing
from tokenizer_training.heads import MaskedModellingHead, VisualHeads, build_heads, key
from tokenizer_training.losses import LossWeights
from tokenizer_training.portable import to_portable
from tokenizer_training.start import CalibrationWindows
from tokenizer_training.visual import Sample, VisualTargets

logger = logging.getLogger(__name__)

NOTHING_COMMITTED = (
    "--model.weights.commitment %g changes nothing: nothing in front of the codebooks learns. "
    "Give 0, an --model.encoder_rate above 0, or --closed_form.semantic_slots."
)


class TokenizerModule(LightningModule):
    """Trains the networks of a tokenizer that starts as a closed form.

    Args:
        weights: Of the loss terms.
        dropout: What is withheld, and how often.
        learning_rate: Peak of AdamW's.
        encoder_rate: The encoder's learning rate as a share of that; 0 leaves it as it is.
        visual_rate: The learning rate of the semantic network and of all heads as a share of it.
        codebook_every_n_steps: Steps from one move of the codebooks towards the latents to the
            next, which costs as much as two steps without; 0 leaves them as they are.
        balance: How far a chunk's error counts relative to what its prefix usually leaves over:
            0 = as it is, so that short prefixes decide; 1 = in units of that, all alike.
        averaging: Decay of the moving average of the weights that is validated and exported.
        weight_decay: AdamW's.
        warmup_steps: Steps over which the learning rate rises, before a cosine to zero.
        masked_modelling_start: Share of the steps after which masked modelling sets in.
        seed: Of the dropout.

    Attributes:
        start: The artefact that training starts from; to be set before the trainer runs.
        usual_errors: [tokens] mean squared error of the start by number of tokens, per
            embodiment; to be set before the trainer runs.
        fitted_targets: What was seen around windows of fitted episodes, by dataset; to be set
            before the trainer runs.
        narrowings: What that and the batches were narrowed by, where it was wide; to be set
            before the trainer runs.
        calibration: What the tokenizer is calibrated on; to be set before the trainer runs.
        model: What the steps change.
        tokenizer: The tokenizer with the averaged weights.
        terms: Of the batch that was seen last, in this process.
    """

    start: Path
    usual_errors: Mapping[str, Tensor]
    fitted_targets: Mapping[str, VisualTargets]
    narrowings: Mapping[str, Narrowing]
    calibration: CalibrationWindows
    model: TokenizerModel
    tokenizer: ActionTokenizer

    def __init__(
        self,
        weights: LossWeights,
        dropout: DropoutRates,
        learning_rate: float = 1e-3,
        encoder_rate: float = 1.0,
        visual_rate: float = 3.0,
        codebook_every_n_steps: int = 1,
        balance: float = 1.0,
        averaging: float = 0.99,
        weight_decay: float = 0.01,
        warmup_steps: int = 100,
        masked_modelling_start: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.weights, self.dropout, self.seed = weights, dropout, seed
        self.learning_rate, self.encoder_rate = learning_rate, encoder_rate
        self.visual_rate = visual_rate
        self.codebook_every_n_steps = codebook_every_n_steps
        self.balance, self.averaging = balance, averaging
        self.weight_decay, self.warmup_steps = weight_decay, warmup_steps
        self.masked_modelling_start = masked_modelling_start
        self.average: AveragedModel | None = None
        self.terms: dict[str, Tensor] = {}

    def configure_model(self) -> None:
        """Load the start: here, not earlier, because codebooks of several processes keep together
        only if they are built after the processes know of one another."""
        if self.average is not None:
            return
        start = ActionTokenizer.from_pretrained(self.start)
        self.model = start.model.train()
        if self.dropout.anchor == 1:
            forget_anchor(self.model)
        self.model.encoder.requires_grad_(self.encoder_rate > 0)
        if self.weights.commitment and not self._moves_latents() and self.global_rank == 0:
            logger.warning(NOTHING_COMMITTED, self.weights.commitment)
        self.average = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(self.averaging)
        ).requires_grad_(False)
        averaged = self.average.module.eval()
        assert isinstance(averaged, TokenizerModel)
        self.tokenizer = replace(start, model=averaged)
        self._positions = {
            name: token_positions(start.vocabulary_of(name).order) for name in start.embodiments
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.heads = build_heads(start.config, self.fitted_targets, self.narrowings)
            self.masked_modelling = None
            if self.weights.masked_modelling:
                self.masked_modelling = MaskedModellingHead(start.config)

    def _moves_latents(self) -> bool:
        """Whether anything in front of the codebooks learns."""
        parts = ((self.model.encoder, self.encoder_rate), (self.model.semantic, self.visual_rate))
        return any(rate > 0 and any(True for _ in m.parameters()) for m, rate in parts if m)

    def training_step(self, batch: list[Sample], batch_idx: int) -> Tensor:
        generator = self._generator()
        size, sighted = sum(map(len, batch)), sum(sample.sighted for sample in batch)
        terms = {name: torch.zeros((), device=self.device) for name in self.weights.visual}
        latents = []
        for sample in batch:
            output, own = self._action_terms(sample, generator)
            latents.append(output.latents)
            add(terms, own, len(sample) / size)
            if self.weights.visual and sample.sighted:
                add(terms, self._visual_terms(output, sample), sample.sighted / sighted)
        if self.codebook_every_n_steps and self.global_step % self.codebook_every_n_steps == 0:
            self.model.quantizer.follow(*latents)
        total = self.weights.total(terms)
        self.terms = {name: term.detach() for name, term in terms.items()}
        if self.trainer.world_size > 1:
            total = total + self._nothing()
        self.log("train/total", total, prog_bar=True, batch_size=size)
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=size)
        return total

    def _action_terms(
        self, sample: Sample, generator: torch.Generator
    ) -> tuple[TokenizerOutput, dict[str, Tensor]]:
        """What the model made of the chunks of one dataset, and every term but the visual ones."""
        chunk = sample.chunk
        known = self.tokenizer.embodiments[chunk.embodiment]
        given = self.tokenizer.prepare(chunk)
        condition = drop_condition(given.condition, self.dropout, generator)
        positions = self._positions[chunk.embodiment]
        keep = prefix_mask(len(chunk), positions, self.dropout.prefix, generator)
        keep = keep.to(given.x.device)
        output = self.model(given.x, given.mask, condition, keep)
        channels = slice(known.layout.width)
        mask, target = given.mask[..., channels], given.x[..., channels]
        prediction = output.reconstruction[..., channels]
        unit = self._unit(chunk.embodiment, keep)
        scaled = prediction / unit, target / unit, mask
        terms = {
            "reconstruction": losses.reconstruction(*scaled, known.layout),
            "rotation": losses.rotation(prediction, target, mask, known.layout, known.actions),
            "dct": losses.dct(*scaled),
            "smoothness": losses.smoothness(*scaled),
            "commitment": output.commitment,
        }
        if self.masked_modelling is not None:
            terms["masked_modelling"] = self._masked_modelling(output, condition.path, generator)
        return output, terms

    def _visual_terms(self, output: TokenizerOutput, sample: Sample) -> dict[str, Tensor]:
        """The visual terms in use, on the chunks of one dataset."""
        path = self.tokenizer.path_number(sample.chunk.embodiment)
        heads, points = self.heads[key(sample.dataset)], semantic_part(output.latents, self.config)
        terms = heads(points, self._scaled(output.quantized, path), sample.targets)
        return {name: terms[name] for name in self.weights.visual}

    def _masked_modelling(
        self, output: TokenizerOutput, path: int, generator: torch.Generator
    ) -> Tensor:
        """The term of masked modelling; 0 until it sets in."""
        assert isinstance(self.masked_modelling, MaskedModellingHead)
        if self.global_step < self.masked_modelling_start * self.trainer.max_steps:
            return torch.zeros((), device=self.device)
        codes = output.codes[..., LEVEL]
        vectors = self.model.quantizer.first_level(output.latents, codes)
        return self.masked_modelling(self._scaled(vectors, path), codes, generator)

    @property
    def config(self) -> TokenizerConfig:
        return self.tokenizer.config

    def _scaled(self, latents: Tensor, path: int) -> Tensor:
        """Latents [B, s, C] in units of their usual size."""
        shape = self.config.num_slots, self.config.slot_width
        scale = self.model.decoder.latent_scale[path].unflatten(0, shape)
        return latents / scale[: latents.shape[1]]

    @torch.no_grad()
    def surprise(self, sample: Sample) -> float:
        """InfoNCE [nats] between what the codes of held-back chunks say and what was seen.

        Measured on quantised latents of the averaged model, among all chunks of the sample.
        """
        heads = self.heads[key(sample.dataset)]
        assert isinstance(heads, VisualHeads) and sample.targets is not None
        model, given = self.tokenizer.model, self.tokenizer.prepare(sample.chunk)
        codes = model.encode(given.x, given.mask, given.condition)
        points = semantic_part(model.quantizer.dequantize(codes), self.config)
        heads.eval()
        nats = heads.surprise(points, sample.targets).item()
        heads.train()
        return nats

    def _unit(self, embodiment: str, keep: Tensor) -> Tensor:
        """[B, 1, 1] what an error is measured in, given the codes [B, s, K] that are kept."""
        usual = self.usual_errors[embodiment].to(keep.device).sqrt() ** self.balance
        return usual[keep.flatten(1).sum(-1) - 1][:, None, None]

    def _generator(self) -> torch.Generator:
        """Randomness that depends on nothing but seed, step and process."""
        state = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        return torch.Generator().manual_seed(int(state.generate_state(1)[0]))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        assert self.average is not None
        self.average.update_parameters(self.model)

    def configure_optimizers(self) -> Any:
        decoder, encoder = (list(m.parameters()) for m in (self.model.decoder, self.model.encoder))
        parts = ((decoder, 1.0), (encoder, self.encoder_rate))
        parts += ((self._visual_parameters(), self.visual_rate),)
        groups = [{"params": p, "lr": self.learning_rate * rate} for p, rate in parts if p]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _visual_parameters(self) -> list[torch.nn.Parameter]:
        """Of the semantic network and of all heads."""
        parts = (self.model.semantic, self.heads, self.masked_modelling)
        return [p for part in parts if part is not None for p in part.parameters()]

    def _nothing(self) -> Tensor:
        """Zero, in which every head takes part: processes wait for one another's gradients, though
        not every batch has pictures."""
        zero = torch.zeros((), device=self.device)
        return zero + sum(0 * p.sum() for p in self._visual_parameters())

    def _rate(self, step: int) -> float:
        """Share of the peak learning rate: a linear rise, then half a cosine."""
        rise, total = self.warmup_steps, self.trainer.max_steps
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the weights alone do not say, so that a checkpoint can be exported."""
        checkpoint["tokenizer"] = to_portable(self.calibration.calibrate(self.tokenizer))


def add(terms: dict[str, Tensor], more: Mapping[str, Tensor], share: float) -> None:
    """Add a share of some terms to those so far."""
    for name, term in more.items():
        terms[name] = terms.get(name, torch.zeros_like(term)) + term * share


def forget_anchor(model: TokenizerModel) -> None:
    """Make networks that never see the anchor in training blind to it for good."""
    for part in model.modules():
        if isinstance(part, ConditionEmbedding):
            torch.nn.init.zeros_(part.anchor.weight)
