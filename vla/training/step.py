"""The terms of a training step, whoever takes the step."""

from __future__ import annotations

from collections.abc import Sequence

from vla.losses import SampleLosses
from vla.model import VLAModel
from vla.sequence import Batch
from vla.training.noise import draw_flow


def step_losses(
    model: VLAModel, batch: Batch, keys: Sequence[Sequence[int]], flow_draws: int
) -> SampleLosses:
    """The three terms of every sample.

    Args:
        model: What is trained.
        batch: The samples.
        keys: What each sample's noise and flow time depend on: (seed, step, number in the batch).
        flow_draws: Draws of noise and flow time for every demonstration.
    """
    batch, config = batch.repeat_flow(flow_draws), model.config
    told = config.time_alpha, config.time_scale, config.committed_frames
    draw = draw_flow(batch, keys, *told)
    return model(batch, draw).each
