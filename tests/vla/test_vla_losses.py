"""Three terms, three knobs."""

import pytest
import torch

from vla.losses import Losses, LossWeights, SampleLosses, token_losses


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


def test_cross_entropies_are_means_of_a_sample_s_own_tokens():
    logits, targets = torch.randn(6, 7), torch.tensor([0, 1, 2, 3, 4, 5])
    is_action = torch.tensor([True, True, True, False, False, False])
    rows = torch.tensor([0, 0, 2, 3, 3, 3])
    every = -logits.log_softmax(-1)[torch.arange(6), targets]
    action, text = token_losses(logits, targets, is_action, rows, 4)
    torch.testing.assert_close(
        action, torch.stack([every[:2].mean(), *every.new_zeros(1), every[2], *every.new_zeros(1)])
    )
    torch.testing.assert_close(text, torch.stack([*every.new_zeros(3), every[3:].mean()]))


def test_nothing_to_predict_costs_nothing_and_keeps_the_graph():
    logits = torch.zeros(0, 7, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.int64)
    action, text = token_losses(logits, nothing, nothing.bool(), nothing, 2)
    (action + text).sum().backward()
    assert not action.any() and not text.any()


def test_parts_of_a_batch_add_up_to_the_whole():
    terms = [torch.rand(5) for _ in range(3)]
    robots = torch.tensor([True, True, True, False, False])
    terms = [
        torch.where(mask, t, 0.0) for t, mask in zip(terms, (robots, robots, ~robots), strict=True)
    ]
    whole = SampleLosses(*terms, robots).mean()
    assert whole.flow.item() == pytest.approx(terms[0][:3].mean().item())
    assert whole.multimodal_ce.item() == pytest.approx(terms[2][3:].mean().item())
    parts = [slice(0, 2), slice(2, 5)]
    means = [SampleLosses(*(t[p] for t in terms), robots[p]).mean(3, 2) for p in parts]
    for name in ("flow", "action_ce", "multimodal_ce"):
        added = sum(getattr(mean, name) for mean in means)
        torch.testing.assert_close(added, getattr(whole, name))
