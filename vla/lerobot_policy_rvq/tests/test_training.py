"""`lerobot-train` takes the steps that our own trainer takes, and goes on after a kill."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy
from lerobot_policy_rvq.overhead import measure
from lightning import Trainer
from safetensors.torch import load_file

from vla.action_tokens import load_tokens
from vla.config import VLAConfig
from vla.data.changes import Changes, Moment, known_proprio
from vla.data.plan import BatchPlan
from vla.data.robot_source import RobotSource
from vla.losses import LossWeights
from vla.policy import VLAPolicy
from vla.sequence import Batch
from vla.training.lora import LoraSettings
from vla.training.module import VLAModule
from vla.training.optimizers import OptimizerSettings

STEPS, ROWS, SEED = 20, 4, 7
RECORDER = """
import os, signal
import torch
from lerobot.scripts import lerobot_train as program
from lerobot.utils.import_utils import register_third_party_plugins

seen, step = [], program.update_policy

def recorded(metrics, policy, batch, *given, **named):
    rows = {k: batch[k] for k in ("index", "episode_index")}
    pictures = {k: v.clone() for k, v in batch.items() if k.startswith("observation.images.")}
    done = step(metrics, policy, batch, *given, **named)
    seen.append({**rows, **pictures, "loss": torch.tensor(metrics.loss.val, dtype=torch.float64)})
    return done

program.update_policy = recorded
register_third_party_plugins()
program.train()
torch.save(seen, "seen.pt")
"""
"""LeRobot's program itself, with a look at what goes into its step and what comes out."""


def flags(demos: Path, tokens: Path, out: Path, steps: int = STEPS) -> list[str]:
    """A small run."""
    return [
        *("--policy.type=rvq_vla", "--policy.shape=mini", f"--policy.seed={SEED}"),
        *(f"--policy.action_tokenizer_name={tokens}", "--policy.push_to_hub=false"),
        *("--policy.device=cpu", "--policy.optimizer_lr=1e-3", "--policy.flow_draws=2"),
        *("--policy.scheduler_warmup_steps=5", "--dataset.repo_id=local/demos"),
        *(f"--dataset.root={demos}", f"--output_dir={out}", f"--steps={steps}"),
        *(f"--batch_size={ROWS}", "--num_workers=0", "--log_freq=1"),
        *("--save_freq=10", "--seed=1"),
    ]


@pytest.fixture(scope="module")
def trained(run, demos, tokens, tmp_path_factory) -> Path:
    """20 steps of LeRobot's program; what it saw lies in `seen.pt`."""
    folder = tmp_path_factory.mktemp("trained")
    run("python", "-c", RECORDER, *flags(demos, tokens, folder / "run"), cwd=folder)
    return folder


class SameBatches:
    """The frames that LeRobot drew, read by our own reader and built by our own trainer's way.

    Args:
        seen: What the program saw: frames and pictures.
        policy: Whose samples they are to be.
        demos: The dataset.
    """

    def __init__(self, seen: list[dict], policy: VLAPolicy, demos: Path) -> None:
        self.seen, self.policy, self.batch_size = seen, policy, ROWS
        given = policy.config, policy.tokenizer
        parts = [RobotSource.open(demos, *given, part=part) for part in ("train", "held_out")]
        self.where = {}
        for source in parts:
            windows = source.windows.__class__(
                source.windows.episodes, source.windows.horizon, tails=True
            )
            for i in range(len(windows)):
                self.where[windows.episode_of(i), windows.start_of(i)] = (source, windows, i)

    def __len__(self) -> int:
        return len(self.seen)

    def __iter__(self):
        return map(self.batch, range(len(self)))

    def batch(self, step: int) -> Batch:
        return self.policy.batch([self.sample(step, row) for row in range(ROWS)])

    def sample(self, step: int, row: int):
        drawn = self.seen[step]
        episode = int(drawn["episode_index"][row])
        first = sum(self.lengths[:episode])
        source, windows, window = self.where[episode, int(drawn["index"][row]) - first]
        rng = np.random.default_rng((SEED, step, row))
        told = source.scripts[episode].goals[windows.start_of(window)]
        shown = {
            name: (drawn[key][row] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            for name, key in source.cameras.items()
        }
        chunk = windows.chunk([window])
        codes = self.policy.tokenizer.encode(
            chunk.actions, known_proprio(chunk), chunk.embodiment, chunk.fps, mask=chunk.mask
        )
        moments = [Moment(told, shown)]
        return Changes().samples(self.policy.samples, chunk, codes, moments, [rng])[0]

    @property
    def lengths(self) -> list[int]:
        source = next(iter(self.where.values()))[0]
        return [len(episode) for episode in source.dataset.episodes]


class Recorded(VLAModule):
    """Our trainer's module, with a list of the losses that it took."""

    taken: list[float]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.taken.append(float(loss.detach()))
        return loss


def test_the_losses_are_those_of_our_own_trainer(trained, demos, tokens):
    seen = torch.load(trained / "seen.pt", weights_only=True)
    known = load_tokens(tokens)
    cameras = {"metaworld_sawyer": ("corner3", "gripperPOV")}
    torch.manual_seed(SEED)
    policy = VLAPolicy.start(VLAConfig.tiny().for_tokenizer(known, cameras), known)
    settings = OptimizerSettings(learning_rate=1e-3, warmup_steps=5)
    module = Recorded(LossWeights(), settings, LoraSettings(), average=0.0, flow_draws=2, seed=SEED)
    module.taken = []
    module.take(policy, BatchPlan(ROWS, others=0))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, SameBatches(seen, policy, demos))
    theirs = [float(row["loss"]) for row in seen]
    assert len(theirs) == STEPS and max(theirs) / min(theirs) > 1.05
    np.testing.assert_allclose(theirs, module.taken, rtol=0, atol=1e-5)


def test_its_checkpoint_loads_in_our_library(trained):
    folder = trained / "run/checkpoints/last/pretrained_model"
    ours, theirs = (
        VLAPolicy.from_pretrained(folder / "policy"),
        RvqVlaPolicy.from_pretrained(folder),
    )
    for name, weight in ours.model.state_dict().items():
        assert torch.equal(weight, theirs.model.state_dict()[name]), name
    assert theirs.config.trained_steps == STEPS


def test_the_wrappings_share_of_a_step_can_be_measured(trained, demos):
    found = measure(trained / "run/checkpoints/last/pretrained_model", demos, 2, rounds=2)
    assert set(found["seconds"]) == {"library", "wrapped"} and np.isfinite(found["overhead"])


def test_it_goes_on_after_a_kill_as_if_nothing_had_happened(run, demos, tokens, trained, tmp_path):
    """Killed after step 10: steps 11 to 20 start from the same weights, moments and rate."""
    out = tmp_path / "run"
    end = "if len(seen) == 11: os.kill(os.getpid(), signal.SIGKILL)\n    done = step("
    killed = RECORDER.replace("done = step(", end)
    done = run("python", "-c", killed, *flags(demos, tokens, out), cwd=tmp_path, fails=True)
    assert done.returncode == -signal.SIGKILL
    config = out / "checkpoints/last/pretrained_model/train_config.json"
    assert json.loads(config.read_text())["policy"]["trained_steps"] == 10
    again = run("lerobot-train", f"--config_path={config}", "--resume=true")
    assert re.findall(r"step:(\d+)", again.stderr)[0] == "11"
    places = (out / "checkpoints", trained / "run/checkpoints")
    state = "000020/training_state/"
    ours, whole = (json.loads((p / state / "scheduler_state.json").read_text()) for p in places)
    assert ours["last_epoch"] == whole["last_epoch"] == STEPS
    first = "000010/pretrained_model/policy/action_expert/model.safetensors"
    ours, whole = (load_file(p / first) for p in places)
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
