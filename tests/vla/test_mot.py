"""The joint model against transformers' own, and what each branch may know of the other."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.vla.conftest import CAMERAS, answer, learn, observe, start, stir
from vla.backbone import load_backbone
from vla.config import VLAConfig
from vla.flow import FlowDraw
from vla.losses import LossWeights
from vla.model import VLAModel
from vla.policy import VLAPolicy
from vla.sequence import UNLABELLED, Batch, collate
from vla.tokens import TokenType
from vla.vocabulary import VLAVocabulary, grow


@pytest.fixture(scope="module")
def pair(tokenizer):
    """A policy, and transformers' model with the same weights."""
    config = VLAConfig.tiny().for_tokenizer(tokenizer, CAMERAS)
    backbone = load_backbone("mini")
    vocabulary = VLAVocabulary.behind(backbone.language_size, config)
    grow(backbone.model, vocabulary)
    stir(backbone.model)
    reference = copy.deepcopy(backbone.model).eval()
    model = VLAModel(config, backbone.model).eval()
    return VLAPolicy.assemble(config, model, tokenizer, backbone, vocabulary), reference


def draw_for(batch: Batch, seed: int = 0) -> FlowDraw:
    return FlowDraw.sample(batch.actions, 1.5, 0.999, torch.Generator().manual_seed(seed))


def velocity(policy: VLAPolicy, batch: Batch, seed: int = 0) -> torch.Tensor:
    drawn = draw_for(batch, seed)
    with torch.no_grad():
        return policy.model.velocity(
            batch, drawn.noisy(batch.actions, batch.action_mask), drawn.time
        )


def logits_of(reference, batch: Batch) -> torch.Tensor:
    """What transformers' own model says."""
    shown = {}
    if batch.pixels is not None:
        shown = {"pixel_values": batch.pixels.to(reference.dtype), "image_grid_thw": batch.grids}
        shown["mm_token_type_ids"] = (batch.types == TokenType.IMAGE).int()
    real = (batch.types != TokenType.PADDING).long()
    try:
        return reference(input_ids=batch.ids, attention_mask=real, **shown).logits
    except TypeError:  # transformers 4 finds the pictures by their ids
        shown.pop("mm_token_type_ids", None)
        return reference(input_ids=batch.ids, attention_mask=real, **shown).logits


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("images", [(0, 0), (1, 0), (2, 1)])
@torch.no_grad()
def test_without_actions_it_is_transformers_own_model(pair, padding, images):
    policy, reference = pair
    words = "a red cube", "it is a blue box on the table"
    samples = [answer(policy, n, w) for n, w in zip(images, words, strict=True)]
    batch = collate(samples, 2, padding)
    hidden, _ = policy.model.read(batch)
    real = batch.types != TokenType.PADDING
    found = policy.model.logits(hidden)[real]
    expected = logits_of(reference, batch)[real]
    assert expected.std() > 0.5
    if any(images):
        # The tower adds up in another order than transformers does: neither is the exact one.
        exact = logits_of(copy.deepcopy(reference).double(), batch)[real]
        assert (found - exact).abs().max() < 2 * (expected - exact).abs().max() < 1e-3
    else:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_vl_expert_is_lent_whole(pair):
    policy, reference = pair
    with policy.model.whole_vl_expert() as whole:
        state = whole.state_dict()
    assert state.keys() == reference.state_dict().keys()
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    assert not any("language_model.layers" in name for name in policy.model.state_dict())


@torch.no_grad()
def test_the_rows_of_the_backbone_are_left_alone(tokenizer):
    config = VLAConfig.tiny().for_tokenizer(tokenizer, CAMERAS)
    torch.manual_seed(3)
    plain = load_backbone("mini").model.get_input_embeddings().weight.clone()
    torch.manual_seed(3)
    policy = VLAPolicy.start(config, tokenizer)
    rows = policy.model.vl_expert.get_input_embeddings().weight
    torch.testing.assert_close(rows[: len(plain)], plain, rtol=0, atol=0)
    assert len(rows) == policy.vocabulary.rows and rows[len(plain) :].std() > 0
    assert policy.model.vl_expert.lm_head.weight is rows


def test_the_flow_does_not_know_the_action_tokens(policy):
    batch = policy.batch([learn(policy, "arm")])
    other = batch.ids.clone()
    action = batch.types == TokenType.ACTION
    other[action] = batch.ids[action].roll(1)
    assert (other != batch.ids).any()
    changed = replace(batch, ids=other)
    torch.testing.assert_close(velocity(policy, batch), velocity(policy, changed), rtol=0, atol=0)


def test_leaving_the_action_tokens_out_changes_nothing_for_the_flow(policy):
    sample = learn(policy, "arm")
    kept = sample.types != TokenType.ACTION
    assert not kept.all()
    short = replace(
        sample, ids=sample.ids[kept], types=sample.types[kept], labels=sample.labels[kept]
    )
    found = [velocity(policy, policy.batch([s])) for s in (sample, short)]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_action_tokens_do_not_know_the_flow(policy):
    batch = policy.batch([learn(policy, "arm")])
    first, second = (policy.model(batch, draw_for(batch, seed)) for seed in (0, 1))
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=0)
    assert (first.velocity - second.velocity).abs().max() > 0.01


@pytest.mark.parametrize(("part", "where"), [("images", 0), ("instruction", 1), ("proprio", 2)])
def test_the_flow_sees_all_of_the_prompt(policy, part, where):
    """A change of any part of the observation changes where the flow goes."""
    now = observe("arm")
    other = [
        replace(now, images={n: 255 - i for n, i in now.images.items()}),
        replace(now, instruction="push it away"),
        replace(now, proprio=now.proprio + 0.3),
    ][where]
    pair = [policy.batch([policy.samples.to_act(o, 6)]) for o in (now, other)]
    assert (velocity(policy, pair[0]) - velocity(policy, pair[1])).abs().max() > 1e-3


@pytest.mark.parametrize("term", ["flow", "action_ce", "multimodal_ce"])
def test_every_term_reaches_the_backbone(tokenizer, term):
    policy = start(tokenizer)
    batch = policy.batch([learn(policy, "arm"), answer(policy)])
    losses = policy.model(batch, draw_for(batch)).losses
    getattr(losses, term).backward()
    reached = {n for n, p in policy.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(".visual." in name for name in reached)
    assert any("layers.0.vl.self_attn.k_proj" in name for name in reached)
    assert any("embed_tokens" in name for name in reached)
    assert any("action" in name for name in reached) == (term == "flow")


def test_knowledge_insulation_keeps_the_flow_out_of_the_backbone(tokenizer):
    policy = start(tokenizer, stop_gradient=True)
    batch = policy.batch([learn(policy, "arm"), answer(policy)])
    losses = policy.model(batch, draw_for(batch)).losses
    losses.flow.backward(retain_graph=True)
    reached = {n for n, p in policy.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached and all("action" in name for name in reached)
    losses.action_ce.backward()
    assert policy.model.vl_expert.get_input_embeddings().weight.grad.any()


@torch.no_grad()
def test_insulation_changes_gradients_only(tokenizer):
    plain, insulated = (start(tokenizer, stop_gradient=stop) for stop in (False, True))
    insulated.model.load_state_dict(plain.model.state_dict())
    batch = plain.batch([learn(plain, "arm")])
    torch.testing.assert_close(
        velocity(plain, batch), velocity(insulated, batch), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("padding", ["left", "right"])
@torch.no_grad()
def test_a_sample_is_the_same_in_any_batch(policy, padding):
    """Other robots, samples without any, padding and other numbers of pictures do not matter."""
    frames = torch.ones(20, 4, dtype=torch.bool)
    frames[13:] = False
    samples = [
        learn(policy, "arm", 0, mask=frames),
        answer(policy, 2, "a very long answer about what is there to be seen"),
        learn(policy, "wall", 1),
        answer(policy, 0),
    ]
    together = collate(samples, 2, padding)
    drawn = draw_for(together)
    output = policy.model(together, drawn)
    count = 0
    for row, sample in enumerate(samples):
        horizon = len(sample.actions)
        alone = collate([sample], 2)
        own = FlowDraw(drawn.noise[row : row + 1, :horizon], drawn.time[row : row + 1])
        single = policy.model(alone, own)
        labels = len(single.targets)
        logits = output.logits[count : count + labels]
        torch.testing.assert_close(logits, single.logits, atol=1e-4, rtol=1e-4)
        count += labels
        if horizon:
            real = alone.slots
            torch.testing.assert_close(
                output.velocity[row : row + 1, :horizon][real],
                single.velocity[real],
                atol=1e-4,
                rtol=1e-4,
            )
        else:
            assert single.velocity is None and single.losses.flow == 0
    assert count == len(output.targets)


def test_the_lm_head_runs_on_labelled_places_only(policy):
    batch = policy.batch([learn(policy, "arm"), answer(policy)])
    output = policy.model(batch)
    labelled = batch.labels[batch.labels != UNLABELLED]
    assert output.logits.shape == (len(labelled), policy.vocabulary.rows)
    torch.testing.assert_close(output.targets, labelled)
    hidden, _ = policy.model.read(batch)
    logits = policy.model.logits(hidden)[:, :-1].transpose(1, 2)
    every = torch.nn.functional.cross_entropy(logits, batch.labels[:, 1:], reduction="none")
    action = batch.types[:, 1:] == TokenType.ACTION
    text = (batch.labels[:, 1:] != UNLABELLED) & ~action
    torch.testing.assert_close(output.losses.action_ce, every[action].mean())
    torch.testing.assert_close(output.losses.multimodal_ce, every[text].mean())


def test_recomputed_activations_give_the_same_gradients(tokenizer):
    policy = start(tokenizer)
    model = policy.model.train()
    batch = policy.batch([learn(policy, "arm"), answer(policy)])
    runs: list[str] = []
    for name in ("mot.layers.0.vl.mlp", "mot.layers.0.action.mlp", "visual.blocks.0.mlp"):
        part = model.get_submodule(name if name.startswith("mot") else f"vl_expert.model.{name}")
        part.register_forward_pre_hook(lambda *_, name=name: runs.append(name))
    gradients, counts = [], []
    for enabled in (False, True):
        runs.clear()
        model.checkpoint_gradients(enabled)
        model.zero_grad()
        model(batch, draw_for(batch)).losses.total(LossWeights()).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
        counts.append(len(runs))
    assert counts == [3, 6], "every part runs once more in the backward pass"
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-5)


def test_bfloat16_experts_keep_float32_maps_and_stay_near(tokenizer):
    policy = start(tokenizer)
    batch = policy.batch([learn(policy, "arm")])
    exact = velocity(policy, batch)
    policy.model.cast(torch.bfloat16)
    assert policy.model.dtype == torch.bfloat16
    assert {p.dtype for p in policy.model.action_head.parameters()} == {torch.float32}
    rough = velocity(policy, batch)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.1 * exact.abs().mean()
