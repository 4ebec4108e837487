"""Where one chunk meets the next: a policy of many minds, with and without real-time chunking.

Its chunks are drawn from a Gaussian by the exact flow: smooth in themselves, and every one another.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE, FakePolicy, drive
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.flow import integrate
from vla.real_time_chunking import RealTimeGuidance, soft_mask

HORIZON, SEAM = 20, 5
TIMES = torch.arange(HORIZON, dtype=torch.float64)
COVARIANCE = torch.exp(-0.5 * ((TIMES[:, None] - TIMES) / 5).square()) + 1e-4 * torch.eye(HORIZON)


@cache
def gain(at: float) -> torch.Tensor:
    """[T, T]: what is expected of the data is the gain times the noisy actions."""
    spread = at**2 * COVARIANCE + (1 - at) ** 2 * torch.eye(HORIZON, dtype=torch.float64)
    return at * COVARIANCE @ torch.linalg.inv(spread)


def exact(actions: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    at = float(time[0])
    return (gain(at) @ actions - actions) / (1 - at)


class ManyMinds(FakePolicy):
    """Draws every chunk anew."""

    def __init__(self) -> None:
        super().__init__()
        self.description = PolicyDescription("arm", ARM, RATE, HORIZON, real_time=True)

    def act(self, request: Request) -> np.ndarray:
        generator = torch.Generator().manual_seed(request.number)
        noise = torch.randn(1, HORIZON, 4, generator=generator, dtype=torch.float64)
        field, committed = exact, request.committed
        if committed is not None:
            known = len(committed.actions)
            target = np.pad(committed.actions, ((0, HORIZON - known), (0, 0)))
            weights = soft_mask(HORIZON, committed.delay, known).double()[:, None]
            field = RealTimeGuidance(torch.from_numpy(target)[None], weights)(exact)
        return integrate(field, noise, 10, 0.999)[0].numpy()


def boundary_jump(mode: str) -> float:
    """Mean |a(new) - 2 a(-1) + a(-2)| at the seams (three periods of delay)."""
    told = {"periods": 200, "execute_frames": SEAM, "latency": 3 / RATE}
    report, robot, _ = drive(None, ManyMinds(), mode=mode, **told)
    sent = robot.sent()
    bends = np.abs(np.diff(sent, 2, axis=0)).mean(1)
    seams = np.arange(SEAM + 3, len(sent), SEAM)
    assert report.chunks > 35 and "no frame of any chunk is due" not in report.held
    return float(bends[seams[seams >= 2] - 2].mean())


def test_real_time_chunking_at_least_halves_the_jump_between_chunks():
    naive, real_time = boundary_jump("asynchronous"), boundary_jump("real_time")
    assert naive > 0.5 and real_time < 0.5 * naive
