"""Three terms, three knobs."""

import pytest
import torch

from vla.losses import Losses, LossWeights, token_losses


def test_the_total_is_the_weighted_sum():
    losses = Losses(*(torch.tensor(x) for x in (2.0, 3.0, 5.0)))
    assert losses.total(LossWeights()).item() == pytest.approx(2.0 + 0.03 + 0.05)
    assert losses.total(LossWeights(0.0, 2.0, 1.0)).item() == pytest.approx(11.0)


def test_a_weight_of_zero_leaves_a_broken_term_out():
    losses = Losses(torch.tensor(1.0), torch.tensor(float("nan")), torch.tensor(2.0))
    assert losses.total(LossWeights(action_ce=0)).item() == pytest.approx(1.02)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "1"])
def test_a_weight_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="weight of action_ce"):
        LossWeights(action_ce=wrong)


def test_an_unknown_term_is_refused():
    with pytest.raises(TypeError, match="flo_w"):
        LossWeights(flo_w=1.0)


def test_cross_entropies_are_means_of_their_own_tokens():
    logits, targets = torch.randn(5, 7), torch.tensor([0, 1, 2, 3, 4])
    is_action = torch.tensor([True, False, True, True, False])
    every = -logits.log_softmax(-1)[torch.arange(5), targets]
    action, text = token_losses(logits, targets, is_action)
    torch.testing.assert_close(action, every[is_action].mean())
    torch.testing.assert_close(text, every[~is_action].mean())


def test_nothing_to_predict_costs_nothing_and_keeps_the_graph():
    logits = torch.zeros(0, 7, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.int64)
    action, text = token_losses(logits, nothing, nothing.bool())
    (action + text).backward()
    assert action == 0 and text == 0
