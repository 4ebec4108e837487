"""TokenizerModel: normalised chunk in, codes and reconstruction out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rvq_action.blocks import Condition
from rvq_action.config import TokenizerConfig
from rvq_action.decoder import Decoder
from rvq_action.encoder import Encoder
from rvq_action.quantizer import SlotResidualVQ
from rvq_action.semantic import SemanticEncoder, with_semantic_part
from rvq_action.time_basis import fill_masked, to_frequencies
from rvq_action.vocabulary import ABSENT

OF_A_HALF = ("mean", "components", "latent_scale", "error_scale")
PER_PATH = {f"{half}.{name}" for half in ("encoder", "decoder") for name in OF_A_HALF}
PER_PATH |= {"semantic.scale"}
"""Buffers with a row for every linear path."""


@dataclass(frozen=True)
class TokenizerOutput:
    """What one pass through the tokenizer leaves.

    Attributes:
        reconstruction: [B, T, D] model space.
        latents: [B, s, C] before quantisation, of the s slots that the robot fills.
        quantized: [B, s, C] after quantisation, of all codes.
        codes: int64 [B, s, K].
        commitment: Scalar.
    """

    reconstruction: Tensor
    latents: Tensor
    quantized: Tensor
    codes: Tensor
    commitment: Tensor


class TokenizerModel(nn.Module):
    """Encoder → residual VQ → decoder over [B, T, D] chunks in model space.

    All chunks of a batch are of one robot, whose linear path and slots `Condition.path` says.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.semantic = SemanticEncoder(config) if config.semantic_slots else None
        self.quantizer = SlotResidualVQ(config)
        self.decoder = Decoder(config)

    def latents(self, x: Tensor, mask: Tensor, condition: Condition) -> Tensor:
        """[B, T, D] with its mask -> latents [B, s, C]."""
        return self.latents_of_whole(fill_masked(x, mask), condition)

    def latents_of_whole(self, x: Tensor, condition: Condition) -> Tensor:
        """[B, T, D] in which no channel has gaps -> latents [B, s, C]."""
        coefficients = to_frequencies(x, self.config.num_frequencies)
        latents = self.encoder(coefficients, condition)
        if self.semantic is None:
            return latents
        return with_semantic_part(latents, self.semantic(latents, condition), self.config)

    def encode(self, x: Tensor, mask: Tensor, condition: Condition) -> Tensor:
        """[B, T, D] with its mask -> codes int64 [B, s, K]."""
        return self.quantizer.encode(self.latents(x, mask, condition))

    def decode(
        self, codes: Tensor, horizon: int, condition: Condition, channels: int | None = None
    ) -> Tensor:
        """Codes int64 [B, s, k], absent = -1 -> [B, horizon, D] in model space.

        Only the first `channels` of the D where so many are asked for.
        The condition may lack an anchor that is known unless the decoder listens.
        """
        quantized, present = self.quantizer.dequantize(codes), None
        if self.decoder.listens:
            missing = self.config.num_quantizers - codes.shape[-1]
            present = nn.functional.pad(codes != ABSENT, (0, missing))
        return self.decoder(quantized, present, condition, horizon, channels)

    def forward(
        self, x: Tensor, mask: Tensor, condition: Condition, keep: Tensor | None = None
    ) -> TokenizerOutput:
        """Encode, quantise and decode.

        Args:
            x: [B, T, D] model space, masked entries 0.
            mask: bool [B, T, D], True = real.
            condition: What the networks may know beside the chunk.
            keep: bool [B, s, K], codes the decoder may see; all where omitted.
        """
        latents = self.latents(x, mask, condition)
        result = self.quantizer.quantize(latents)
        vectors = result.vectors
        if keep is None:
            keep = torch.ones_like(result.codes, dtype=torch.bool)
        else:
            kept = self.quantizer.dequantize(result.codes.masked_fill(~keep, ABSENT))
            vectors = latents + (kept - latents).detach()
        frames = self.decoder(vectors, keep, condition, x.shape[1])
        return TokenizerOutput(frames, latents, result.vectors, result.codes, result.commitment)
