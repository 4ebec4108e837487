"""`rvq-vla bench`: what is timed, what is refused, and what is written down."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from vla.cli import main
from vla.config import VLAConfig
from vla.inference.bench.bounds import Bounds, Rates, bounds, measure_rates, streamed_bytes
from vla.inference.bench.race import WARM_UP, race
from vla.inference.bench.report import text
from vla.inference.bench.settings import BenchSettings
from vla.inference.bench.study import compute
from vla.inference.bench.subject import random_batch, random_model
from vla.inspection import Workload, meta_model
from vla.tokens import TokenType

CPU = torch.device("cpu")
MINI = BenchSettings(config="mini", views=(1,), steps=2, horizon=4, repeats=5)


def test_the_command_times_three_paths_and_writes_everything(tmp_path, capsys):
    out = tmp_path / "new" / "bench.json"
    words = "bench --config mini --views 0 2 --sizes 56 84 90 --steps 2 --horizon 5 --repeats 5"
    assert main([*words.split(), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "plain, ms" in said and "cached, ms" in said and "fast, ms" in said
    assert "90 x 90 left out: 90 is no multiple of 28" in said and "quote the ratios" in said
    found = json.loads(out.read_text())
    assert found["hardware"] in said and f"{found['parameters']:,} parameters" in said
    assert (found["steps"], found["dtype"], found["rates"]) == (2, "float32", None)
    assert found["settings"]["horizon"] == 5 and found["threads"] == torch.get_num_threads()
    assert [(e["views"], e["size"]) for e in found["entries"]] == [
        (0, 56),
        (2, 56),
        (0, 84),
        (2, 84),
    ]
    assert [e["tokens"] for e in found["entries"]] == [41, 41 + 8, 41, 41 + 18]
    for entry in found["entries"]:
        assert set(entry["ways"]) == {"plain", "cached", "fast"} and entry["bounds"] is None
        for way in entry["ways"].values():
            assert len(way["rounds_ms"]) == 5 and way["ms"] == np.median(way["rounds_ms"]) > 0
            assert way["apart"] <= 1e-5 and way["peak_gb"] is None
        assert entry["ways"]["plain"]["over_plain"] == 1.0 == entry["ways"]["cached"]["over_cached"]


def test_a_trained_policy_is_timed_as_it_is(policy, tmp_path):
    policy.save_pretrained(tmp_path / "policy")
    settings = replace(MINI, config=None, policy=str(tmp_path / "policy"), dtype="bfloat16")
    found = compute(settings)
    assert found.dtype == "bfloat16" and found.entries[0].size == policy.config.image_size
    assert found.parameters == sum(p.numel() for p in policy.model.parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--config.* or a policy"),
        ("--config mini --policy there", "one of them"),
        ("--config nothing", "no configuration 'nothing'"),
        ("--policy {nowhere}", "neither"),
        ("--config mini --dtype float16", "dtype must be one of"),
        ("--config mini --repeats 4", "at least 5 rounds; repeats is 4"),
        ("--config mini --views -1", r"Got views \[-1\]"),
        ("--config mini --steps 0", "steps start at 1"),
        ("--config mini --sizes 0", r"sizes are pixels per side, from 1; got \[0\]"),
        ("--config mini --sizes 57", "none of these sizes.*57 is no multiple of 28"),
        ("--config mini --threads 0", "threads start at 1, got 0"),
        ("--config mini --device nonsense", "no kind of device 'nonsense'"),
        ("--config mini --out {file}/x.json", "it is a file"),
    ],
)
def test_what_cannot_be_timed_is_one_clear_line(words, message, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    places = {name: str(tmp_path / name) for name in ("file", "nowhere")}
    assert main(["bench", *words.format(**places).split()]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rvq-vla bench: ") and error.count("\n") == 1
    assert re.search(message, error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="PyTorch sees no GPU here"):
        compute(replace(MINI, device="cuda"))


def test_every_round_asks_all_in_turn_and_warm_up_does_not_count():
    asked: list[str] = []

    def way(name):
        def act():
            asked.append(name)
            return torch.tensor(len(asked))

        return act

    timed = race({name: way(name) for name in "ab"}, 5, CPU)
    assert asked == ["a", "b"] * (WARM_UP + 5)
    assert all(len(t.ms) == 5 and (t.ms >= 0).all() and t.peak_gb is None for t in timed.values())
    assert timed["b"].actions.item() == len(asked), "of the last round"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_random_networks_have_the_shape_and_precision_asked_for(dtype):
    config = VLAConfig.named("mini")
    model = random_model(config, CPU, dtype)
    assert model.dtype == dtype and model.action_head.leave.weight.dtype == torch.float32
    frequencies = model.vl_expert.model.visual.rotary_pos_emb.inv_freq
    assert frequencies.dtype == torch.float32 and torch.get_default_dtype() == torch.float32
    assert all(p.isfinite().all() and not p.is_meta for p in model.parameters())


def test_random_observations_are_what_a_policy_would_give(policy):
    batch = random_batch(policy.model, MINI, 2, 84)
    kinds = {kind: int((batch.types == kind).sum()) for kind in TokenType}
    assert kinds == {
        TokenType.PADDING: 0,
        TokenType.TEXT: MINI.words,
        TokenType.IMAGE: 2 * 9,
        TokenType.PROPRIO: 1,
        TokenType.ACTION: 0,
    }
    assert batch.pixels is not None and batch.pixels.shape == (2 * 36, 3 * 2 * 14**2)
    assert batch.actions.shape == (1, MINI.horizon, policy.config.action_width)
    assert random_batch(policy.model, MINI, 0, 84).pixels is None


def test_bounds_count_weights_as_often_as_they_are_read():
    model = meta_model(VLAConfig.named("wall-oss"))
    once, ten = (streamed_bytes(model, steps) for steps in (1, 10))
    layers = sum(p.numel() for n, p in model.named_parameters() if ".action." in n)
    heads = sum(
        p.numel() for n, p in model.named_parameters() if "action_head" in n or "proprio" in n
    )
    assert ten - once == 9 * 4 * (layers + heads)
    rates = measure_rates(CPU, torch.float32, copied=2**20, matrix=64)
    assert rates.bytes_per_s > 1e6 and rates.flop_per_s > 1e6
    load = Workload(2, 40, 8)
    slow, quick = (bounds(model, Rates(1e9 * n, 1e9 * n), 224, 10, load) for n in (1, 2))
    assert slow.weights == pytest.approx(2 * quick.weights) == pytest.approx(1e3 * ten / 1e9)
    assert slow.flops == pytest.approx(2 * quick.flops) and quick.flops > 0


def test_a_gpus_table_has_rates_bounds_and_memory():
    found = compute(MINI)
    entry = found.entries[0]
    ways = {name: replace(way, ms=25.0, peak_gb=9.6) for name, way in entry.ways.items()}
    entry = replace(entry, ways=ways, bounds=Bounds(4.25, 1.5))
    shown = text(replace(found, device="Some GPU", rates=Rates(1.5e12, 2e14), entries=[entry]))
    assert shown.startswith("Some GPU; ") and "quote the ratios" not in shown
    assert "1,500 GB/s copied, 200 TFLOP/s multiplied" in shown
    rows = [line.split() for line in shown.splitlines() if line.split()[-1:] == ["1.5"]]
    assert len(rows) == 1 and {"40.0", "9.6", "4.2"} <= set(rows[0])
