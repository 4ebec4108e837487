"""A policy trains on a GPU, in the ways that the packaged configurations choose."""

from __future__ import annotations

import math

import pytest
import torch

from vla.policy import VLAPolicy

pytestmark = pytest.mark.cuda
GPU = ("--trainer.accelerator", "gpu", "--trainer.max_steps", "4")
MIXED = ("--trainer.precision", "bf16-mixed", "--model.gradient_checkpointing", "true")
WAYS = {
    "float32": (),
    "finetune": MIXED,
    "lora": (*MIXED, "--vla.dtype", "bfloat16", "--model.lora.rank", "2", "--model.average", "0"),
    "muon": (*MIXED, "--model.optimizer.name", "muon"),
    "fsdp2": (*MIXED, "--trainer.strategy", "fsdp2", "--model.average", "0"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_with_a_policy_that_acts(run, way):
    folder = run(*GPU, *WAYS[way])
    policy = VLAPolicy.from_pretrained(folder / "policy", "cuda")
    weights = policy.model.state_dict().values()
    assert all(torch.isfinite(w).all() for w in weights if w.is_floating_point())
    assert policy.model.device.type == "cuda"


def test_the_first_step_loses_what_it_loses_on_the_cpu(run):
    """In float32, from the same seed and batches."""
    losses = []
    for where in ("cpu", "gpu"):
        folder = run("--trainer.max_steps", "1", "--trainer.accelerator", where, name=where)
        file = folder / "checkpoints" / "last.ckpt"
        state = torch.load(file, weights_only=True, map_location="cpu")
        losses.append(state["state_dict"])
    for name, weight in losses[0].items():
        other = losses[1][name]
        assert math.isfinite(float(other.float().abs().max())), name
        assert (weight - other).abs().mean() < 1e-3 * weight.abs().mean() + 1e-6, name
