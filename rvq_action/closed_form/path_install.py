"""A robot's linear path as a model holds it, and models with one path more."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.closed_form.linear_path import SMALLEST_SCALE, LinearPath, fit_path, slots_for
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.closed_form.transform import Windows, binary_patterns
from rvq_action.closed_form.unit_search import search_units
from rvq_action.config import TokenizerConfig
from rvq_action.inputs import read_count
from rvq_action.model import PER_PATH, TokenizerModel
from rvq_action.time_basis import fill_masked, to_frequencies


@torch.no_grad()
def install_path(
    model: TokenizerModel, number: int, path: LinearPath, unit: Tensor, errors: Tensor
) -> None:
    """Make a path one of the model's.

    Args:
        model: Changed.
        number: Of the path.
        path: The path.
        unit: [s, C] what the robot's latents are divided by.
        errors: [K+1, S, C] root mean square, in shared units, of its latents and of what each
            level leaves over, by which the networks' say is measured.
    """
    config = model.config
    components, filled = path.components, path.filled[..., None]
    scale = torch.where(
        _whole(filled, config)[:, 0], errors[0].flatten().clamp(min=SMALLEST_SCALE), 1.0
    )
    if config.semantic_slots:
        semantic = slice(config.semantic_slots), slice(-config.semantic_width, None)
        scale.view(config.num_slots, -1)[semantic] = config.semantic_width**-0.5
    model.encoder.components[number] = _whole(components / unit[..., None], config)
    model.decoder.components[number] = _whole(components * unit[..., None], config)
    for half in (model.encoder, model.decoder):
        half.mean[number] = path.transform.mean
        half.latent_scale[number] = scale
    if model.semantic is not None:
        model.semantic.scale[number] = scale
    model.encoder.error_scale[number] = errors[-1].flatten()
    model.decoder.error_scale[number] = errors


@torch.no_grad()
def with_path(model: TokenizerModel, windows: Windows, slots: int | None) -> TokenizerModel:
    """A copy of a model with a path more, for a robot whose windows it was never fitted on.

    Codebooks and networks stay as they are. The networks, which were not taught what the robot's
    latents are, have no say in them.

    Args:
        model: Left as it is.
        windows: Of the robot, as wide as the model.
        slots: How many to fill; by its moving channels where None. Never more than the model has.

    Raises:
        ValueError: No window, or nothing in them ever moves.
    """
    if not len(windows.x):
        raise ValueError("No window of the new robot. Add episodes, or shorten the horizon.")
    config = model.config
    samples = to_frequencies(fill_masked(windows.x, windows.mask), config.num_frequencies)
    samples = samples.flatten(1)
    moving = slots_for(windows, ClosedFormRecipe.slots_per_channel, config.semantic_slots)
    wanted = moving if slots is None else read_count(slots, "slots", config.semantic_slots + 1)
    count = min(wanted, config.num_slots)
    levels = [config.num_quantizers - (slot < config.semantic_slots) for slot in range(count)]
    typical, tried = _typical(model), []
    switches = binary_patterns([windows])
    for patterns in [{}, switches] if switches else [{}]:
        path = fit_path(samples, config.width, patterns, levels, math.log2(config.codebook_size))
        path = path.placed(samples, typical)
        tried.append((path, search_units(path, samples, typical, model.quantizer)))
    path, found = min(tried, key=lambda pair: pair[1].error)
    unit, grown = found.units, _grown(model, len(path.chosen))
    errors = torch.zeros(grown.decoder.error_scale.shape[1:])
    errors[0] = _whole((path.sizes / unit)[..., None], config).view(errors[0].shape)
    install_path(grown, -1, path, unit, errors)
    grown.decoder.error_scale[-1] = 0.0
    return grown


def _grown(model: TokenizerModel, slots: int) -> TokenizerModel:
    """A copy with room for a path more."""
    config = replace(model.config, path_slots=(*model.config.path_slots, slots))
    state = model.state_dict()
    for name in PER_PATH & state.keys():
        state[name] = torch.cat([state[name], torch.zeros_like(state[name][:1])])
    with torch.random.fork_rng(devices=[]):
        grown = TokenizerModel(config)
    grown.load_state_dict(state)
    return grown.to(model.encoder.mean.device).eval()


def _typical(model: TokenizerModel) -> Tensor:
    """[S, C] root mean square of the latents that the codebooks are made for."""
    config = model.config
    known = model.decoder.latent_scale[: config.num_embodiments].cpu()
    known = known.unflatten(1, (config.num_slots, config.slot_width)).clone()
    there = model.encoder.components[: config.num_embodiments].cpu().any(-1).view(known.shape)
    energy = torch.where(there, known.square(), 0.0)
    filled = torch.tensor(config.path_slots[: config.num_embodiments])[:, None]
    robots = (torch.arange(config.num_slots) < filled).sum(0)
    return (energy.sum(0) / robots[:, None]).sqrt()


def _whole(rows: Tensor, config: TokenizerConfig) -> Tensor:
    """[s, C of a robot, n] -> [S·C, n], 0 where the robot has none."""
    slots, width = config.num_slots - rows.shape[0], config.slot_width - rows.shape[1]
    return pad(rows, (0, 0, 0, width, 0, slots)).flatten(0, 1)
