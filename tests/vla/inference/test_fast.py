"""The fast path gives what the cached and the plain path give, whatever it is asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.vla.conftest import SIZE, learn, observe, picture, start
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.protocol import RobotObservation
from vla.flow import Given
from vla.inference.expert import FusedExpert
from vla.inference.fast import FastSampler
from vla.inference.plan import BUCKET, Plan, Shape
from vla.policy import VLAPolicy
from vla.real_time_chunking import RealTimeGuidance
from vla.sequence import Batch

EXACT = {"atol": 1e-5, "rtol": 1e-5}


def prompts(policy: VLAPolicy, robots=("arm",), horizon=9, padding="right", **more) -> Batch:
    """What robots see, with instructions of different lengths."""
    words = "pick up the cube", "push it", "open the drawer on the left of the table"
    samples = [
        policy.samples.to_act(
            observe(robot, n, words[n]), horizon + n if more.get("ragged") else horizon
        )
        for n, robot in enumerate(robots)
    ]
    return policy.batch(samples, padding)


def drawn(batch: Batch, seed: int = 0) -> Tensor:
    return torch.randn(batch.actions.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("robots", "ragged"),
    [
        (("arm",), False),
        (("wall",), False),
        (("arm", "arm"), False),
        (("arm", "wall", "arm"), True),
    ],
)
@pytest.mark.parametrize(("horizon", "steps"), [(2, 4), (13, 1)])
def test_plain_cached_and_fast_agree(policy, robots, ragged, horizon, steps):
    """One robot and several, prompts and chunks of different lengths."""
    batch = prompts(policy, robots, horizon, ragged=ragged)
    noise = drawn(batch)
    plain, cached = (
        policy.model.sample_actions(batch, noise, steps, cached=kept) for kept in (False, True)
    )
    fast = FastSampler(policy.model).sample_actions(batch, noise, steps)
    torch.testing.assert_close(cached, plain, **EXACT)
    torch.testing.assert_close(fast, plain, **EXACT)
    assert fast.dtype == torch.float32 and plain.std() > 0.1
    assert (fast[~batch.action_mask] == 0).all()


@pytest.mark.parametrize(
    ("robots", "counts"), [(("arm",), [3]), (("arm", "wall", "arm"), [0, 8, 2])]
)
def test_given_frames_are_given_to_it_too(policy, robots, counts):
    """From one plan with the chunks that are free, in any order."""
    batch = prompts(policy, robots, ragged=True)
    noise, sampler = drawn(batch), FastSampler(policy.model)
    given = Given(drawn(batch, 1), torch.tensor(counts))
    other = Given(drawn(batch, 2), torch.tensor(counts[::-1]))
    for told in (None, given, None, other, given):
        fast = sampler.sample_actions(batch, noise, 4, given=told)
        plain = policy.model.sample_actions(batch, noise, 4, cached=False, given=told)
        torch.testing.assert_close(fast, plain, **EXACT)
        assert (fast[~batch.action_mask] == 0).all()
    assert len(sampler.shapes) == 1
    free = sampler.sample_actions(batch, noise, 4)
    assert (sampler.sample_actions(batch, noise, 4, given=given) - free).abs().max() > 1e-2


def test_one_sampler_serves_all_shapes_in_any_order(policy):
    sampler = FastSampler(policy.model, plans=2)
    batches = [prompts(policy, r, t) for r, t in ((("arm",), 4), (("wall",), 4), (("arm",), 7))]
    for number in (0, 1, 0, 2, 1, 2, 0):
        batch, noise = batches[number], drawn(batches[number], number)
        expected = policy.model.sample_actions(batch, noise)
        torch.testing.assert_close(sampler.sample_actions(batch, noise), expected, **EXACT)
    assert len(sampler.shapes) == 2, "only so many are kept"
    assert sampler.shapes[-1].horizon == 4 and sampler.shapes[-1].steps == 10


def test_results_of_one_shape_are_kept_apart(policy):
    """A second observation of the same shape is not answered with the first, nor overwrites it."""
    sampler = FastSampler(policy.model)
    now = observe("arm")
    other = replace(now, images={name: 255 - image for name, image in now.images.items()})
    pair = [policy.batch([policy.samples.to_act(o, 6)]) for o in (now, other)]
    noise = drawn(pair[0])
    found = [sampler.sample_actions(batch, noise, 3) for batch in pair]
    for batch, actions in zip(pair, found, strict=True):
        torch.testing.assert_close(actions, policy.model.sample_actions(batch, noise, 3), **EXACT)
    assert (found[0] - found[1]).abs().max() > 1e-2 and len(sampler.shapes) == 1


@pytest.mark.parametrize("more", [1, 40])
def test_a_prompt_may_be_padded_to_a_larger_bucket(policy, more):
    """As on a GPU, where one recording serves prompts of several lengths."""
    batch = prompts(policy, ("arm", "wall"))
    shape = Shape.of(batch, 3)
    wide = shape._replace(length=shape.length + more, masked=True)
    plan = Plan.of(policy.model, FusedExpert.of(policy.model, 3), wide, batch)
    expected = policy.model.sample_actions(batch, drawn(batch), 3)
    torch.testing.assert_close(plan.act(batch, drawn(batch)), expected, **EXACT)


def test_discrete_tokens_stay_unseen(policy):
    """A training sample's own action tokens do not tell the flow what to do."""
    batch = policy.batch([learn(policy, "arm")])
    fast = FastSampler(policy.model).sample_actions(batch, drawn(batch), 3)
    expected = policy.model.sample_actions(batch, drawn(batch), 3, cached=False)
    torch.testing.assert_close(fast, expected, **EXACT)


def test_without_pictures_or_state_token(tokenizer):
    policy = start(tokenizer, proprio="text")
    config = replace(policy.config, cameras={"arm": (), "wall": ()})
    blind = VLAPolicy.assemble(
        config, policy.model, policy.tokenizer, policy.backbone, policy.vocabulary
    )
    now = replace(observe("arm"), images={})
    batch = blind.batch([blind.samples.to_act(now, 5)])
    assert batch.pixels is None
    fast = FastSampler(policy.model).sample_actions(batch, drawn(batch), 3)
    torch.testing.assert_close(
        fast, policy.model.sample_actions(batch, drawn(batch), 3, cached=False), **EXACT
    )


def test_bfloat16_stays_as_near_as_the_cached_path_does(tokenizer):
    """Rounding differs in order only: held against float32, neither is further away."""
    policy = start(tokenizer)
    batch = prompts(policy, ("arm", "wall"), 8)
    noise = drawn(batch)
    exact = policy.model.sample_actions(batch, noise, 4)
    policy.model.cast(torch.bfloat16)
    rough = policy.model.sample_actions(batch, noise, 4)
    fast = FastSampler(policy.model).sample_actions(batch, noise, 4)
    assert fast.dtype == torch.float32 and not torch.equal(fast, exact)
    near = (rough - exact).abs().mean()
    assert (fast - exact).abs().mean() < 1.5 * near
    assert (fast - rough).abs().mean() < 1.5 * near


def double(model: torch.nn.Module, part: str) -> None:
    with torch.no_grad():
        model.get_parameter(part).mul_(2.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: double(model, "mot.layers.1.action.self_attn.k_proj.weight"),
        lambda model: double(model, "mot.layers.1.vl.self_attn.k_proj.weight"),
        lambda model: double(model, "action_head.enter.weight"),
        lambda model: model.load_state_dict(
            {n: t.roll(1, 0) for n, t in model.state_dict().items()}
        ),
        lambda model: model.cast(torch.bfloat16).cast(torch.float32),
    ],
    ids=["action expert", "vl expert", "head", "other weights", "cast there and back"],
)
def test_changed_weights_are_noticed(tokenizer, change):
    policy = start(tokenizer)
    sampler, batch = FastSampler(policy.model), prompts(policy)
    before = sampler.sample_actions(batch, drawn(batch), 3)
    change(policy.model)
    after = sampler.sample_actions(batch, drawn(batch), 3)
    torch.testing.assert_close(after, policy.model.sample_actions(batch, drawn(batch), 3), **EXACT)
    assert (after - before).abs().max() > 1e-4


def test_uncounted_changes_take_a_word(tokenizer):
    policy = start(tokenizer)
    sampler, batch = FastSampler(policy.model), prompts(policy)
    sampler.sample_actions(batch, drawn(batch), 3)
    policy.model.get_parameter("action_head.enter.weight").data.mul_(2.0)
    sampler.forget()
    found = sampler.sample_actions(batch, drawn(batch), 3)
    torch.testing.assert_close(found, policy.model.sample_actions(batch, drawn(batch), 3), **EXACT)


def test_what_no_plan_can_do_the_model_does(policy):
    sampler = FastSampler(policy.model)
    left = prompts(policy, ("arm", "wall"), padding="left")
    batch = prompts(policy)
    guide = RealTimeGuidance(torch.zeros_like(batch.actions), torch.ones(1, 9, 1))
    twice = batch.repeat_flow(2)
    for asked, how in ((left, None), (batch, guide), (twice, None)):
        noise = drawn(asked)
        found = sampler.sample_actions(asked, noise, 2, guide=how)
        assert torch.equal(found, policy.model.sample_actions(asked, noise, 2, guide=how))
    assert not sampler.shapes


def test_threads_take_turns(policy):
    sampler = FastSampler(policy.model)
    batches = [prompts(policy, (robot,), 5) for robot in ("arm", "wall")] * 2
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda b: sampler.sample_actions(b, drawn(b), 2), batches))
    for batch, actions in zip(batches, found, strict=True):
        expected = policy.model.sample_actions(batch, drawn(batch), 2)
        torch.testing.assert_close(actions, expected, **EXACT)


def test_noise_is_drawn_where_none_is_given(policy):
    sampler, batch = FastSampler(policy.model), prompts(policy)
    torch.manual_seed(5)
    expected = policy.model.sample_actions(batch)
    torch.manual_seed(5)
    torch.testing.assert_close(sampler.sample_actions(batch), expected, **EXACT)


def test_an_accelerated_policy_acts_the_same(policy):
    fast = policy.accelerated()
    assert policy.fast is None and fast.model is policy.model
    robots = [observe("arm"), observe("wall", 1, "a longer instruction than the other")]
    both = [p.act(robots, 8, generator=torch.Generator().manual_seed(0)) for p in (policy, fast)]
    for slow, quick in zip(*both, strict=True):
        np.testing.assert_allclose(quick, slow, **EXACT)
    assert fast.fast is not None and len(fast.fast.shapes) == 1


def test_a_robot_is_driven_by_it_with_committed_frames_too(policy):
    now = observe("arm")
    images = {name: picture(n, SIZE, SIZE) for n, name in enumerate(("front", "wrist"))}
    seen = RobotObservation(0.0, now.proprio.numpy(), images)
    slow, quick = (DeployedVLA(p, "arm", steps=3) for p in (policy, policy.accelerated()))
    first = slow.act(Request(seen, "wave"))
    np.testing.assert_allclose(quick.act(Request(seen, "wave")), first, **EXACT)
    going_on = Request(seen, "wave", 1, Committed(first[5:].astype(np.float64), 3))
    np.testing.assert_array_equal(quick.act(going_on), slow.act(going_on))


def test_adapters_that_are_not_merged_are_refused(tokenizer):
    policy = start(tokenizer)
    layer = policy.model.mot.layers[0].action.self_attn

    class Adapted(torch.nn.Linear):
        pass

    layer.q_proj = Adapted(*reversed(layer.q_proj.weight.shape))
    with pytest.raises(ValueError, match="has a Adapted where a Linear.*merged"):
        policy.accelerated()


def test_a_sampler_keeps_at_least_one_plan(policy):
    with pytest.raises(ValueError, match="plans must be at least 1, got 0"):
        FastSampler(policy.model, plans=0)


def test_a_step_is_one_graph_for_a_compiler(policy, monkeypatch):
    """Traced as torch.compile does, without the minute that writing the kernels takes."""
    compile_, graphs = torch.compile, []

    def trace(function, **options):
        graphs.append(options)
        return compile_(function, **options, fullgraph=True, backend="eager")

    monkeypatch.setattr(torch, "compile", trace)
    sampler, batch = policy.accelerated(compiled=True).fast, prompts(policy, ("arm", "wall"))
    found = sampler.sample_actions(batch, drawn(batch), 3)
    torch.testing.assert_close(found, policy.model.sample_actions(batch, drawn(batch), 3), **EXACT)
    assert graphs == [{"dynamic": False}]
    assert (sampler.shapes[0].length + 9) % BUCKET == 0, "few lengths, few graphs"
