"""`rvq-vla inspect`."""

import json

import pytest

from tests.vla.conftest import CAMERAS
from vla import cli
from vla.config import VLAConfig
from vla.inspection import Workload, count_parameters, inspect_config, meta_model
from vla.policy import VLAPolicy


def test_the_published_shape_has_more_than_four_billion_parameters(capsys):
    assert cli.main(["inspect", "--config", "wall-oss", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parameters = found["parameters"]
    assert parameters["total"] > 4_000_000_000
    parts = ("vl_expert", "action_expert", "heads")
    assert parameters["total"] == sum(parameters[part] for part in parts)
    assert parameters["vl_expert"] - 3_754_622_976 == 8256 * 2048, "Qwen2.5-VL-3B and the new rows"
    assert found["memory_gb"]["acting"] < found["memory_gb"]["training"]


def test_counts_are_those_of_the_network(tokenizer):
    config = VLAConfig.tiny().for_tokenizer(tokenizer, CAMERAS)
    real = VLAPolicy.start(config, tokenizer).model
    assert count_parameters(meta_model(config)) == count_parameters(real)
    assert count_parameters(real)["total"] == sum(p.numel() for p in real.parameters())


def test_estimates_grow_with_the_work():
    config = VLAConfig.named("wall-oss")
    small, large = (inspect_config(config, Workload(views=v)) for v in (1, 3))
    assert small.tokens["patches"] == 256 and small.tokens["prompt"] == 64 + 96
    for name in ("training", "acting"):
        assert small.tflops[name] < large.tflops[name]
        assert small.memory_gb[name] < large.memory_gb[name]
    lower = 2 * large.parameters["language"] * large.tokens["prompt"] / 1e12
    assert lower < large.tflops["acting"] < 3 * lower


@pytest.mark.parametrize(
    ("words", "message"),
    [("--config huge", "no configuration 'huge'"), ("--config tiny --horizon 0", "workload")],
)
def test_wrong_words_are_one_clear_line(words, message, capsys):
    assert cli.main(["inspect", *words.split()]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_table_names_every_part(capsys):
    assert cli.main(["inspect", "--config", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("vision", "action_expert", "denoising_step"))
