"""Who is moved by what, how fast, and the average that follows."""

from __future__ import annotations

import copy

import pytest
import torch

from vla.training.average import Average
from vla.training.optimizers import MuonWithAdamW, OptimizerSettings, build_optimizer


def groups_by_name(policy, **settings) -> dict[str, dict]:
    """Name of a parameter -> its group."""
    optimizer = build_optimizer(policy.model.named_parameters(), OptimizerSettings(**settings))
    names = {id(p): name for name, p in policy.model.named_parameters()}
    return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}


def test_matrices_decay_and_nothing_else_does(policy):
    groups = groups_by_name(policy, weight_decay=0.3)
    assert set(groups) == {name for name, _ in policy.model.named_parameters()}
    for name, parameter in policy.model.named_parameters():
        table = "embed_tokens" in name or "lm_head" in name
        assert groups[name]["weight_decay"] == (0.3 if parameter.ndim > 1 and not table else 0.0)


def test_muon_moves_the_matrices_of_the_experts_alone(policy):
    groups = groups_by_name(policy, name="muon", vl_rate=0.5, learning_rate=1e-3)
    muon = {name for name, group in groups.items() if group["algorithm"] == "muon"}
    assert muon == {
        name
        for name, p in policy.model.named_parameters()
        if p.ndim == 2 and (name.startswith("mot.layers.") or ".visual.blocks." in name)
    }
    assert groups["mot.layers.0.vl.mlp.up_proj.weight"]["lr"] == 5e-4
    assert groups["mot.layers.0.action.mlp.up_proj.weight"]["lr"] == 1e-3


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_checkpoint_of_a_gpu_does_not_bring_its_kernels(policy, name):
    settings = OptimizerSettings(name=name)
    optimizer = build_optimizer(policy.model.named_parameters(), settings)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["fused"] = True
    optimizer.load_state_dict(state)
    adam = [g for g in optimizer.param_groups if g["algorithm"] == "adamw"]
    assert adam and not any(group["fused"] for group in adam)


def test_muon_with_adamw_takes_the_steps_that_each_would_and_can_be_stored():
    torch.manual_seed(0)
    start = [torch.randn(6, 4), torch.randn(4)]

    def build(parameters):
        groups = [
            {"params": [parameters[0]], "algorithm": "muon", "lr": 0.1, "weight_decay": 0.0},
            {"params": [parameters[1]], "algorithm": "adamw", "lr": 0.1, "weight_decay": 0.0},
        ]
        return MuonWithAdamW(groups, (0.9, 0.95))

    def steps(parameters, optimizers, count, first=0):
        for step in range(first, first + count):
            for number, p in enumerate(parameters):
                p.grad = torch.sin(p.detach() + step + number)
            for optimizer in optimizers:
                optimizer.step()

    joint = [torch.nn.Parameter(t.clone()) for t in start]
    optimizer = build(joint)
    steps(joint, [optimizer], 2)
    stored = [p.detach().clone() for p in joint], copy.deepcopy(optimizer.state_dict())
    steps(joint, [optimizer], 2, first=2)

    apart = [torch.nn.Parameter(t.clone()) for t in start]
    usual = {"momentum": 0.9, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0}
    muon = torch.optim.Muon([apart[0]], lr=0.1, **usual)
    adamw = torch.optim.AdamW([apart[1]], lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
    steps(apart, [muon, adamw], 4)
    assert all(torch.equal(a, b) for a, b in zip(joint, apart, strict=True))

    again = [torch.nn.Parameter(t) for t in stored[0]]
    other = build(again)
    other.load_state_dict(stored[1])
    steps(again, [other], 2, first=2)
    assert all(torch.equal(a, b) for a, b in zip(joint, again, strict=True))


def test_the_rate_rises_and_falls():
    settings = OptimizerSettings(warmup_steps=4, last_rate=0.1)
    rates = [settings.rate(step, 14) for step in range(15)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and max(rates) == rates[3] == rates[4] == 1.0
    assert rates[9] == pytest.approx(0.55) and rates[14] == pytest.approx(0.1)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"beta2": 1.0}, {"weight_decay": -1.0}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        OptimizerSettings(**wrong)


def test_the_average_follows_and_can_be_looked_at():
    model = torch.nn.Linear(3, 2)
    average = Average(model, 0.9)
    start = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1.0
    average.update(10_000)
    torch.testing.assert_close(average.lookup()[id(model.weight)], start + 0.1)
    new = model.weight.detach().clone()
    average.swap()
    torch.testing.assert_close(model.weight, start + 0.1)
    average.swap()
    assert torch.equal(model.weight, new)
