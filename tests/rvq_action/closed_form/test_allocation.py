"""Water-filling against brute force, dealing out, and k-means."""

from __future__ import annotations

import pytest
import torch

from rvq_action.closed_form.allocation import deal, largest_power_of_two, water_fill
from rvq_action.closed_form.kmeans import kmeans, nearest


def distortion(energies: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """Gaussian distortion [...] of components [N] at rates [..., N]."""
    return (energies * 4.0**-rates).sum(-1)


@pytest.mark.parametrize("bits", [0.0, 0.3, 2.0, 10.0, 200.0])
@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_bits_add_up(bits, count):
    energies = torch.rand(count, generator=torch.Generator().manual_seed(count)) ** 4
    rates = water_fill(energies, bits)
    assert (rates >= 0).all() and float(rates.sum()) == pytest.approx(bits, abs=1e-6)


@pytest.mark.parametrize("bits", [0.5, 2.0, 6.0])
def test_nothing_beats_it(bits):
    energies = torch.tensor([4.0, 1.0, 0.1], dtype=torch.float64)
    steps = torch.linspace(0, bits, 201, dtype=torch.float64)
    first, second = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([first, second, bits - first - second], dim=-1)
    best = distortion(energies, grid[(grid >= 0).all(-1)]).min()
    ours = distortion(energies, water_fill(energies, bits))
    assert ours <= best + 1e-9
    assert ours == pytest.approx(float(best), rel=2e-3)


def test_a_component_without_energy_is_worth_nothing():
    assert water_fill(torch.tensor([1.0, 0.0]), 8.0).tolist() == [8.0, 0.0]


def test_no_component_takes_no_bits():
    assert water_fill(torch.zeros(0), 8.0).shape == (0,)


def test_less_than_no_bits_are_none():
    assert water_fill(torch.tensor([1.0, 0.5]), -3.0).tolist() == [0.0, 0.0]


def test_slots_carry_about_the_same():
    rates = [9.0, 7.0, 4.0, 3.0, 2.5, 2.0, 1.0, 0.5]
    slots = deal(rates, [[i] for i in range(8)], [4, 4, 4])
    assert sorted(sum(slots, [])) == list(range(8))
    loads = [sum(rates[i] for i in slot) for slot in slots]
    assert max(loads) - min(loads) <= 1.0


def test_items_stay_together():
    assert [3, 4] in deal([1.0, 5.0], [[0], [3, 4]], [4, 4])


@pytest.mark.parametrize(
    ("value", "power"), [(0.2, 1), (1, 1), (3.9, 2), (4, 4), (1000, 512), (1024.0, 1024)]
)
def test_largest_power_of_two(value, power):
    assert largest_power_of_two(value) == power


def test_nearest_centroids():
    x, centroids = torch.randn(5000, 3), torch.randn(40, 3)
    index, distance = nearest(x, centroids)
    expected = torch.cdist(x, centroids).min(dim=1)
    assert torch.equal(index, expected.indices)
    assert torch.allclose(distance, expected.values.square(), atol=1e-4)


def test_kmeans_finds_well_separated_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 4, generator=generator) * 20
    x = centres.repeat(50, 1) + 0.1 * torch.randn(600, 4, generator=generator)
    _, distance = nearest(x, kmeans(x, 24, 8, generator))
    assert distance.mean() < 0.05


def test_kmeans_lowers_the_distance():
    x = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0))
    means = [
        float(nearest(x, kmeans(x, 32, n, torch.Generator().manual_seed(1)))[1].mean())
        for n in (1, 4, 16)
    ]
    assert means[0] > means[1] > means[2]


@pytest.mark.parametrize("samples", [1, 3, 15])
def test_fewer_samples_than_codes_give_usable_codes(samples):
    x = torch.randn(samples, 3)
    codes = kmeans(x, 16, 5, torch.Generator().manual_seed(0))
    assert codes.shape == (16, 3) and codes.isfinite().all()
    assert nearest(x, codes)[1].max() < 0.1


def test_samples_that_are_all_alike():
    codes = kmeans(torch.ones(50, 2), 8, 3, torch.Generator().manual_seed(0))
    assert torch.equal(codes, torch.ones(8, 2))


def test_kmeans_is_reproducible():
    x = torch.randn(200, 3)
    first, second = (kmeans(x, 16, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
