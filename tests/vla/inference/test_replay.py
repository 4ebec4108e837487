"""Recording, as far as it goes without a GPU: the order of things, and what happens if it fails."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager

import pytest
import torch

from vla.inference import replay
from vla.inference.replay import WARM_UP, CaptureWarning, make_replay, record

GPU = torch.device("cuda:0")


class Recorder:
    """Stands where torch.cuda is, and notes what is asked of it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.Stream = lambda: self
        self.current_stream = lambda: self
        self.CUDAGraph = lambda: self

    def wait_stream(self, _) -> None:
        self.notes.append("wait")

    def replay(self) -> None:
        self.notes.append("replay")

    @contextmanager
    def _inside(self, name):
        self.notes.append(f"{name} begins")
        yield
        self.notes.append(f"{name} ends")

    def device(self, _):
        return self._inside("device")

    def stream(self, _):
        return self._inside("side stream")

    def graph(self, *_, **__):
        return self._inside("recording")


def test_the_cpu_calls_the_function_itself():
    def run() -> torch.Tensor:
        return torch.zeros(1)

    assert make_replay(run, torch.device("cpu")) is run


def test_warm_up_runs_beside_and_one_run_is_recorded(monkeypatch):
    cuda = Recorder()
    monkeypatch.setattr(replay.torch, "cuda", cuda)
    output = torch.ones(2)

    def run() -> torch.Tensor:
        cuda.notes.append("run")
        return output

    recorded = record(run, GPU)
    side = ["wait", "side stream begins", *["run"] * WARM_UP, "side stream ends", "wait"]
    graph = ["recording begins", "run", "recording ends"]
    assert cuda.notes == ["device begins", *side, *graph, "device ends"]
    cuda.notes.clear()
    assert recorded() is output and cuda.notes == ["replay"]


def test_what_the_graph_reads_stays(monkeypatch):
    """A graph knows addresses; the tensors there are kept by nobody else."""
    monkeypatch.setattr(replay.torch, "cuda", Recorder())

    def plan():
        table = torch.ones(3)

        def run() -> torch.Tensor:
            return table.sum()

        return record(run, GPU), weakref.ref(table)

    recorded, table = plan()
    gc.collect()
    assert table() is not None
    del recorded
    gc.collect()
    assert table() is None


def test_where_nothing_can_be_recorded_it_says_so_and_goes_on(monkeypatch):
    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(replay, "record", fail)
    with pytest.warns(CaptureWarning, match=r"one by one. \(operation not permitted .*capturing\)"):
        found = make_replay(lambda: torch.full((1,), 7.0), GPU)
    assert found().item() == 7.0


def test_faults_of_ours_are_not_taken_for_a_failed_recording(monkeypatch):
    def wrong():
        raise TypeError("a mistake")

    monkeypatch.setattr(replay.torch, "cuda", Recorder())
    with pytest.raises(TypeError, match="a mistake"):
        make_replay(wrong, GPU)
