"""What is recorded must be recordable: it waits for nothing, and takes nothing from the host."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.vla.conftest import observe
from vla.inference.expert import FusedExpert
from vla.inference.plan import BUCKET, Plan, Shape
from vla.policy import VLAPolicy
from vla.sequence import Batch

WAITS = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique_dim", "_unique2"}
"""Operators whose result the host has to wait for."""
FROM_HOST = {"lift_fresh", "lift_fresh_copy", "scalar_tensor"}
"""What `torch.tensor(...)` comes down to: a copy from memory that a recording does not keep."""


class Watch(TorchDispatchMode):
    """Notes the names of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def batch_of(policy: VLAPolicy, horizon: int = 6) -> Batch:
    robots = [observe("arm"), observe("wall", 1, "a longer instruction than the first one")]
    return policy.batch([policy.samples.to_act(now, horizon) for now in robots])


def test_a_replay_can_be_recorded(policy):
    batch = batch_of(policy)
    plan = Plan.of(policy.model, FusedExpert.of(policy.model, 3), Shape.of(batch, 3, True), batch)
    with Watch() as watch:
        plan.replay()
    assert len(watch.names) > 100 and not set(watch.names) & (WAITS | FROM_HOST)


def test_the_watch_sees_what_it_is_to_see():
    with Watch() as watch:
        torch.tensor([1, 0]).nonzero()
        torch.ones(1).item()
    assert {"lift_fresh", "nonzero", "_local_scalar_dense"} <= set(watch.names)


def test_the_prompt_is_read_once_and_every_step_is_the_action_experts_alone(policy):
    """Operators grow with the steps by the same number, which does not depend on the prompt."""
    batch = batch_of(policy)
    counts = []
    for steps in (1, 2, 3):
        expert = FusedExpert.of(policy.model, steps)
        plan = Plan.of(policy.model, expert, Shape.of(batch, steps), batch)
        with Watch() as watch:
            plan.replay()
        counts.append(watch.names.count("mm") + watch.names.count("addmm"))
    layers = len(policy.model.mot.layers)
    assert counts[1] - counts[0] == counts[2] - counts[1] == 4 * layers + 3


def test_plans_are_in_buckets_where_asked(policy):
    batch = batch_of(policy)
    exact, wide = Shape.of(batch, 10), Shape.of(batch, 10, in_buckets=True)
    assert exact.length == batch.ids.shape[1] and exact.masked, "one prompt is shorter"
    assert wide.length >= exact.length and wide.masked
    assert (wide.length + wide.horizon) % BUCKET == 0
    alone = policy.batch([policy.samples.to_act(observe("arm"), 6)])
    assert not Shape.of(alone, 10).masked and Shape.of(alone, 10, in_buckets=True).masked
    assert exact.grids == ((1, 4, 4),) * 3


def test_a_plans_buffers_stay_where_they_are(policy):
    batch = batch_of(policy)
    plan = Plan.of(policy.model, FusedExpert.of(policy.model, 2), Shape.of(batch, 2), batch)
    before = [plan.inputs.ids.data_ptr(), plan.noise.data_ptr()]
    assert plan.inputs.ids.data_ptr() != batch.ids.data_ptr(), "the caller's batch is left alone"
    kept = batch.ids.clone()
    for _ in range(2):
        plan.act(batch_of(policy), torch.randn(batch.actions.shape))
    assert [plan.inputs.ids.data_ptr(), plan.noise.data_ptr()] == before
    assert torch.equal(batch.ids, kept)
