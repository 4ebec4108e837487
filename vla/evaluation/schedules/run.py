"""Comparing schedules: every start once in every mode, kept on disk as soon as it is known.

OUT/trials.json                    what decides an attempt
OUT/attempts/MODE/TASK-000.json    what came of one
OUT/schedules.json                 all of it, and what it adds up to: written in the end
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rvq_action.housekeeping.console import writable_folder
from rvq_action.housekeeping.json_file import read_json, write_json
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.metaworld import ROBOT_TYPE
from vla.deploy.robots.rendering import select_backend
from vla.evaluation.closed_loop.run import fingerprint
from vla.evaluation.closed_loop.starts import Start, fresh_starts
from vla.evaluation.schedules.attempt import Attempts, measure_latency
from vla.evaluation.schedules.settings import ScheduleTrials, Way
from vla.evaluation.schedules.summary import summarize
from vla.policy import VLAPolicy

TRIALS, REPORT = "trials.json", "schedules.json"


@dataclass(frozen=True)
class Compared:
    """What came out.

    Attributes:
        report: The JSON file of it.
        latency_s: Of a chunk, and of one that is guided [s]; None on the real clock.
        modes: Way -> its figures.
    """

    report: Path
    latency_s: tuple[float, float] | None
    modes: dict[str, dict[str, Any]]


def compare_schedules(
    policy: Path, trials: ScheduleTrials, out: Path, progress: bool = True
) -> Compared:
    """Attempt every start of every task in every mode; goes on where it was stopped.

    The modes take turns at every start, so that whatever else the machine does meets all of them.

    Raises:
        FileNotFoundError: There is no such policy.
        ValueError: The policy cannot act there, or `out` holds attempts of something else.
        RenderingUnavailable: Off-screen rendering does not work on this machine.
    """
    claim = {"policy": fingerprint(policy), **trials.decisive()}
    known = _claimed(writable_folder(out), claim)
    select_backend()
    network = VLAPolicy.from_pretrained(policy)
    network = network.accelerated() if trials.fast else network
    players = deploy(network, trials), deploy(network, trials, committed_frames=0)
    starts = [s for t in trials.tasks for s in fresh_starts(t, trials.starts, trials.seed)]
    latency = trials.latency_s or known
    if latency is None and not trials.real_clock:
        latency = measure_latency(Attempts(*players, trials, (0.0, 0.0)), starts[0])
    write_json({**claim, "used_latency_s": latency and list(latency)}, out / TRIALS)
    attempts = Attempts(*players, trials, latency or (0.0, 0.0))
    pairs = [(start, way) for start in starts for way in trials.modes]
    bar = tqdm(pairs, "attempts", unit="run", disable=not progress)
    rows = [_kept(out, attempts, start, way) for start, way in bar]
    modes = summarize(rows)
    told = {"trials": claim, "used_latency_s": latency and list(latency)}
    write_json({**told, "modes": modes, "attempts": rows}, out / REPORT)
    return Compared(out / REPORT, latency, modes)


def deploy(
    policy: VLAPolicy, trials: ScheduleTrials, committed_frames: int | None = None
) -> DeployedVLA:
    """The policy in front of the simulated robot."""
    told: dict[str, Any] = {"steps": trials.steps, "seed": trials.seed}
    told["committed_frames"] = committed_frames
    if trials.max_guidance is not None:
        told["max_guidance"] = trials.max_guidance
    return DeployedVLA(policy, ROBOT_TYPE, **told)


def _claimed(out: Path, claim: dict[str, Any]) -> tuple[float, float] | None:
    """The latency that a run before this one has measured.

    Raises:
        ValueError: It was of something else.
    """
    if not (out / TRIALS).is_file():
        return None
    found = read_json(out / TRIALS)
    latency = found.pop("used_latency_s", None)
    found = {"fast": False} | found  # which it was before it could be told
    told = {key: list(v) if isinstance(v, tuple) else v for key, v in claim.items()}
    if differing := [key for key in told if found.get(key) != told[key]]:
        pairs = "; ".join(f"{key}: {found.get(key)!r}, not {told[key]!r}" for key in differing)
        raise ValueError(
            f"{out} holds attempts of something else ({pairs}). Give another --out, or delete it."
        )
    return latency and (latency[0], latency[1])


def _kept(out: Path, attempts: Attempts, start: Start, way: Way) -> dict[str, Any]:
    """What came of an attempt, made once."""
    path = out / "attempts" / way / f"{start.task}-{start.number:03d}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        write_json(attempts.play(start, way), partial)
        os.replace(partial, path)
    return read_json(path)
