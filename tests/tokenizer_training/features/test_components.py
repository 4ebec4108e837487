"""Principal components: exact ones of small pictures, the leading ones of wide features."""

from __future__ import annotations

import pytest
import torch

from tokenizer_training.features.components import leading_components, principal_components


def wide(samples: int, rank: int = 24, width: int = 2048) -> torch.Tensor:
    """[samples, width], nearly all of whose variance lies in `rank` directions; far from 0."""
    generator = torch.Generator().manual_seed(0)
    told = torch.randn(samples, rank, generator=generator) * torch.linspace(3, 1, rank)
    directions = torch.linalg.qr(torch.randn(width, rank, generator=generator)).Q
    return told @ directions.T + 0.01 * torch.randn(samples, width, generator=generator) + 5


@pytest.mark.parametrize("samples", [40, 400])
def test_components_are_those_of_an_exact_decomposition(samples):
    """Whether there are more samples than pixels or fewer."""
    data = torch.randn(samples, 100, generator=torch.Generator().manual_seed(0))
    data *= torch.linspace(3, 0.1, 100)
    mean, components = principal_components(data, 5)
    seen = (data - mean) @ components
    assert seen.var(0, correction=0).sum() == pytest.approx(1, abs=1e-4)
    _, energy, directions = torch.linalg.svd(data - data.mean(0), full_matrices=False)
    expected = (
        (data - data.mean(0)) @ directions[:5].T / (energy[:5].square().sum() / samples) ** 0.5
    )
    assert torch.allclose(seen.abs(), expected.abs(), atol=1e-3)


def test_what_pictures_do_not_have_is_zero():
    """Two moments have one direction; a camera that shows the same all the time has none."""
    two = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))
    mean, components = principal_components(two, 4)
    seen = (two - mean) @ components
    assert seen[:, 1:].eq(0).all() and torch.allclose(seen[:, 0].abs(), torch.ones(2), atol=1e-5)
    assert principal_components(torch.ones(9, 30), 4)[1].eq(0).all()


def test_leading_components_keep_nearly_all_of_the_variance():
    data = wide(400)
    mean, directions = leading_components(data, 32)
    assert mean.shape == (2048,) and directions.shape == (2048, 32)
    torch.testing.assert_close(directions.T @ directions, torch.eye(32), atol=1e-4, rtol=0)
    kept = ((data - mean) @ directions).square().sum(0)
    energies = torch.linalg.svdvals(data - mean).square()
    assert kept.sum() > 0.999 * energies[:32].sum() and kept.sum() > 0.97 * energies.sum()
    torch.testing.assert_close(kept[:24], energies[:24], rtol=1e-3, atol=0)


def test_leading_components_are_drawn_alike_and_draw_nothing_from_elsewhere():
    data, before = wide(60), torch.get_rng_state()
    mean, directions = leading_components(data, 8)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    again = leading_components(data, 8)
    assert torch.equal(again[0], mean) and torch.equal(again[1], directions)


def test_directions_that_few_samples_do_not_have_are_zero():
    """Five samples have four directions around their mean; what never changes has none."""
    _, directions = leading_components(wide(5), 8)
    assert directions[:, 4:].eq(0).all() and directions[:, :4].any(0).all()
    assert leading_components(torch.ones(9, 30), 4)[1].eq(0).all()
