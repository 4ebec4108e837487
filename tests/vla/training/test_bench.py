"""`rvq-vla bench-training`: real steps of a random network."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vla.cli import main
from vla.inference.bench.subject import sized
from vla.inspection import Workload
from vla.losses import LossWeights
from vla.training.bench import study
from vla.training.bench.settings import TrainingBenchSettings
from vla.training.bench.study import compute
from vla.training.step import step_losses

MINI = TrainingBenchSettings("mini", views=1, words=8, horizon=4, steps=3)


def test_the_command_times_every_size_and_writes_everything(tmp_path, capsys):
    out = tmp_path / "new" / "bench.json"
    words = "--config mini --batch_sizes 1 3 --views 2 --size 56 --horizon 4 --steps 3"
    assert main(["bench-training", *words.split(), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "batch of 1: " in said and "batch of 3: " in said and "bf16-mixed" in said
    found = json.loads(out.read_text())
    assert f"{found['parameters']:,} parameters" in said and found["rates"] is None
    assert found["parameters"] == found["trained"] and found["tokens"]["patches"] == 2 * 16
    one, three = found["entries"]
    assert (one["batch_size"], three["batch_size"]) == (1, 3)
    assert three["tflops"] == pytest.approx(3 * one["tflops"], abs=2e-3)
    for entry in (one, three):
        assert len(entry["steps_ms"]) == 3 and entry["ms"] > 0 and entry["peak_gb"] is None


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_moves_all_that_is_trained(monkeypatch, optimizer):
    """All three terms' weights, and with adapters those alone."""
    built = []
    network = study._network

    def remember(*told):
        model = network(*told)
        built.append((model, {n: p.detach().clone() for n, p in model.named_parameters()}))
        return model

    monkeypatch.setattr(study, "_network", remember)
    for rank in (0, 2):
        compute(replace(MINI, optimizer=optimizer, lora_rank=rank))
        model, before = built.pop()
        for name, weight in model.named_parameters():
            still = torch.equal(weight, before[name])
            assert still != weight.requires_grad, name
        assert any(".lora_" in name for name in before) == bool(rank)


def test_what_does_not_fit_is_said_and_the_next_size_goes_on(monkeypatch):
    """Also where an optimizer's first step is cut off in the middle."""
    step, full = torch.optim.AdamW.step, []

    def cut_off(self, closure=None):
        if full:
            return step(self, closure)
        full.append(True)
        for weight in self.param_groups[0]["params"]:
            self.state[weight] = {"step": torch.tensor(0.0), "exp_avg": weight.detach().clone()}
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", cut_off)
    found = compute(replace(MINI, batch_sizes=(2, 1)))
    assert [entry.ms is None for entry in found.entries] == [True, False]
    assert found.entries[0].steps_ms == []


def test_weights_that_do_not_fit_are_one_clear_line(monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(study, "_network", full)
    assert main(["bench-training", "--config", "mini"]) == 1
    assert "The weights of mini alone do not fit the memory of cpu" in capsys.readouterr().err


@pytest.mark.parametrize("rank", [0, 2])
def test_it_counts_what_the_network_multiplies(rank):
    """Held against the count of torch, which leaves out attention on a CPU."""
    told = replace(MINI, config="tiny", size=56, lora_rank=rank, gradient_checkpointing=False)
    model = study._network(told, torch.device("cpu"))
    batch = study._batch(model, told, 1)
    with FlopCounterMode(display=False) as counter:
        step_losses(model, batch, [(0, 0, 0)], 1).mean().total(LossWeights()).backward()
    load = Workload(told.views, told.words, told.horizon)
    claimed = study._flops(sized(model.config, 56, 1), load, told)
    assert 0.85 < counter.get_total_flops() / claimed < 1.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--config nothing", "no configuration 'nothing'"),
        ("--config mini --batch_sizes 0", r"batch_sizes start at 1, got \[0\]"),
        ("--config mini --steps 2", "at least 3 steps, got 2"),
        ("--config mini --horizon 0", "horizon start at 1"),
        ("--config mini --size 57", "57 is no multiple of 28"),
        ("--config mini --device nonsense", "no kind of device 'nonsense'"),
    ],
)
def test_what_cannot_be_timed_is_one_clear_line(words, message, capsys):
    assert main(["bench-training", *words.split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rvq-vla bench-training: ") and error.count("\n") == 1
    assert re.search(message, error)
