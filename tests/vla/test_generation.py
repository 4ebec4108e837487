"""Several robots speak and act together as each would alone."""

from __future__ import annotations

import numpy as np
import torch

from tests.vla.conftest import observe
from vla.generation import continue_greedily

ROBOTS = [
    observe("arm", 1, "go"),
    observe("wall", 2, "pick up the red cube and put it into the box"),
    observe("arm", 3, "turn around"),
]


def test_robots_speak_together_as_alone(policy):
    together = policy.act_by_codes(ROBOTS, 8)
    assert len({said.codes.tobytes() for said in together}) == 3
    for now, said in zip(ROBOTS, together, strict=True):
        (alone,) = policy.act_by_codes([now], 8)
        np.testing.assert_array_equal(alone.codes, said.codes)
        np.testing.assert_array_equal(alone.actions, said.actions)


def test_a_sequence_that_has_ended_waits_for_the_others(policy):
    batch = policy.batch([policy.samples.to_act(now, 8) for now in ROBOTS], "left")
    # Two ids beside the end, so that some sequences end soon and others do not.
    ids = torch.tensor([policy.samples.prompter.end_id, 30, 31])
    end = int(ids[0])
    said = continue_greedily(policy.model, batch, lambda _: ids, end, 12)
    for row, now in enumerate(ROBOTS):
        alone = policy.batch([policy.samples.to_act(now, 8)], "left")
        assert continue_greedily(policy.model, alone, lambda _: ids, end, 12) == [said[row]]
    assert len({len(words) for words in said}) > 1 and all(end not in words for words in said)


def test_noise_of_ones_own_makes_a_robot_independent_of_the_others(policy):
    def noise():
        return [torch.Generator().manual_seed(n) for n in range(3)]

    together = policy.act(ROBOTS, 8, 2, noise())
    for row, now in enumerate(ROBOTS):
        (alone,) = policy.act([now], 8, 2, noise()[row : row + 1])
        np.testing.assert_allclose(alone, together[row], atol=1e-5)
