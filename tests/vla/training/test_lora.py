"""LoRA touches what it says and nothing else, and what is exported needs no adapter."""

from __future__ import annotations

import copy

import pytest
import torch

from vla.data.settings import DataSettings
from vla.data.stream import SampleStream
from vla.losses import LossWeights
from vla.model import is_vl
from vla.policy import VLAPolicy
from vla.training.average import Average
from vla.training.export import shipped_weights
from vla.training.lora import LoraSettings, adapt

CASES = {
    "vl": (LoraSettings(2, vocabulary=False), {"mot.layers.0.vl."}),
    "vocabulary": (LoraSettings(2), {"mot.layers.0.vl."}),
    "action": (
        LoraSettings(2, action_expert=True, vision=True, vocabulary=False),
        {"mot.layers.0.vl.", "mot.layers.0.action.", "vl_expert.model.visual.blocks.0."},
    ),
}


def own(policy: VLAPolicy) -> VLAPolicy:
    """A copy to change."""
    return copy.deepcopy(policy)


@pytest.mark.parametrize("case", CASES)
def test_adapters_stand_where_they_should_and_the_rest_is_frozen(policy, case):
    settings, places = CASES[case]
    model = own(policy).model
    before = {name: p.shape for name, p in model.named_parameters()}
    adapt(model, settings, policy.vocabulary.language_size)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    adapters = {name for name in trained if ".lora_" in name}
    maps = {name.split(".lora_")[0] for name in adapters}
    for place in places:
        first = {name.removeprefix(place) for name in maps if name.startswith(place)}
        assert len(first) == (5 if "visual" in place else 7), first
    layers = 3 * sum("mot" in place for place in places) * 7
    assert len(maps) == layers + 2 * 5 * settings.vision and len(adapters) == 2 * len(maps)
    whole = trained - adapters
    heads = {name for name in before if name.startswith(("action_head.", "proprio_token."))}
    expert = {n.replace(".base_layer", "") for n in before if ".action." in n}
    tables = {name for name in whole if "embed_tokens" in name or "lm_head" in name}
    assert bool(tables) == settings.vocabulary
    assert whole - tables == (heads if settings.action_expert else heads | expert)


def test_only_what_is_trained_moves(policy, recordings, talks):
    policy = own(policy)
    start = {n: t.clone() for n, t in shipped_weights(policy.model, None).items()}
    adapt(policy.model, LoraSettings(2), policy.vocabulary.language_size)
    for step in range(3):
        learn(policy, recordings, talks, step)
    moved = shipped_weights(policy.model, None)
    rows = policy.vocabulary.language_size
    changed = {name for name in start if not torch.equal(start[name], moved[name])}
    table = next(name for name in start if "embed_tokens" in name)
    assert torch.equal(start[table][:rows], moved[table][:rows])
    assert not torch.equal(start[table][rows:], moved[table][rows:])
    backbone = {name for name in changed if is_vl(name)}
    assert not any(".visual." in name or "norm" in name for name in backbone)
    assert {n for n in changed if ".vl." in n} == {
        n for n in start if ".vl." in n and n.endswith("proj.weight")
    }


def test_what_is_exported_does_the_same_without_adapters(policy, recordings, talks, tmp_path):
    policy = own(policy)
    adapt(policy.model, LoraSettings(2, action_expert=True), policy.vocabulary.language_size)
    for step in range(2):
        batch = learn(policy, recordings, talks, step)
    policy.save_pretrained(tmp_path / "policy", weights=shipped_weights(policy.model, None))
    loaded = VLAPolicy.from_pretrained(tmp_path / "policy")
    assert not any("lora" in name for name in loaded.model.state_dict())
    noise = torch.randn(batch.actions.shape)
    found = [p.model.eval().sample_actions(batch, noise, 2) for p in (policy, loaded)]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_the_average_of_adapters_is_what_is_merged(policy):
    policy = own(policy)
    adapt(policy.model, LoraSettings(2, vocabulary=False), policy.vocabulary.language_size)
    average, model = Average(policy.model, 0.5), policy.model
    layer = model.mot.layers[0].vl.self_attn.q_proj
    averages = average.lookup()
    first, second = (getattr(layer, f"lora_{x}")["default"].weight for x in "AB")
    averages[id(second)].fill_(0.5)
    expected = layer.base_layer.weight + 2 * averages[id(second)] @ averages[id(first)]
    name = "mot.layers.0.vl.self_attn.q_proj.weight"
    torch.testing.assert_close(shipped_weights(model, average)[name], expected.detach())


def learn(policy: VLAPolicy, recordings, talks, step: int):
    """One step of plain gradient descent."""
    settings = DataSettings((str(recordings),), (str(talks),), batch_size=10, workers=0)
    batch = SampleStream.open(policy.samples, settings).batch(step)
    model = policy.model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1)
    model(batch).losses.total(LossWeights(1.0, 1.0, 1.0)).backward()
    optimizer.step()
    optimizer.zero_grad()
    return batch
