"""`rvq-action encode | decode | inspect` from the shell's side."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rvq_action import ActionTokenizer
from rvq_action.artifact.codes_file import TensorFile, fingerprint
from rvq_action.cli import main
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.windows import Windows
from tests.rvq_action.robots import RECIPE, embodiment_of, fit
from tests.synthetic import FPS, write_v3

LENGTHS = (30, 24, 35)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_v3(tmp_path_factory.mktemp("data") / "waves", LENGTHS)


@pytest.fixture(scope="module")
def artefact(dataset, tmp_path_factory) -> Path:
    """A closed form on that dataset, with its mapping, a split and a figure."""
    opened = RobotDataset.open(dataset)
    chunk = Windows(opened.episodes, FPS).chunk(slice(None))
    recipe = replace(RECIPE, slots_per_channel=1.0, codebook_size=16)
    tokenizer = fit({opened.embodiment: (opened.layout, chunk)}, recipe)
    known = embodiment_of(opened.layout, chunk)
    known = replace(known, mapping=opened.mapping.to_dict())
    metadata = {
        **tokenizer.metadata,
        "split": {"waves": {"seed": 3, "train": [0, 2], "held_out": [1]}},
        "figures": {"mse": 0.0123456789},
        "config": "tiny",
        "seconds": 1.0,
    }
    path = tmp_path_factory.mktemp("runs") / "tokenizer"
    replace(tokenizer, embodiments={opened.embodiment: known}, metadata=metadata).save_pretrained(
        path
    )
    return path


@pytest.fixture
def encoded(artefact, dataset, tmp_path) -> Path:
    out = tmp_path / "codes.safetensors"
    assert main(["encode", str(artefact), str(dataset), "--out", str(out)]) == 0
    return out


def test_encode_writes_every_window(artefact, dataset, encoded, capsys):
    file = TensorFile.load(encoded)
    windows = Windows(RobotDataset.open(dataset).episodes, FPS)
    tokenizer = ActionTokenizer.from_pretrained(artefact)
    chunk = windows.chunk(slice(None))
    expected = tokenizer.encode(chunk.actions, chunk.anchor, fps=FPS)
    assert torch.equal(file.tensors["codes"], expected)
    assert file.tensors["episode"].tolist() == windows.episode_ids.tolist()
    assert file.tensors["start"].tolist() == windows.starts.tolist()
    assert torch.equal(file.tensors["proprio"], chunk.anchor)
    assert (file.tensors["frames"] == FPS).all()
    assert file.header.embodiment == "test_arm" and file.header.dataset == "waves"
    assert file.header.channels == list(tokenizer.layout().names)
    assert file.header.fingerprint == fingerprint(tokenizer)


def test_decode_is_the_way_back(artefact, dataset, encoded, tmp_path, capsys):
    out = tmp_path / "chunks.safetensors"
    assert main(["decode", str(artefact), str(encoded), "--out", str(out)]) == 0
    file = TensorFile.load(out)
    chunk = Windows(RobotDataset.open(dataset).episodes, FPS).chunk(slice(None))
    actions = file.tensors["actions"]
    assert (actions - chunk.actions).square().mean() < 0.01
    assert {"episode", "start", "frames", "proprio"} <= set(file.tensors)
    assert main(["decode", str(artefact), str(encoded), "--out", str(out), "--tokens", "1"]) == 0
    coarse = TensorFile.load(out).tensors["actions"]
    assert (file.header.format, file.header.tokens) == ("rvq-action chunks", None)
    assert TensorFile.load(out).header.tokens == 1
    assert (coarse - chunk.actions).square().mean() > (actions - chunk.actions).square().mean()
    assert f"{len(chunk)} chunks of {FPS} frames" in capsys.readouterr().out


def test_encode_takes_some_windows(artefact, dataset, tmp_path):
    out = tmp_path / "codes.safetensors"
    words = ["encode", str(artefact), str(dataset), "--out", str(out)]
    assert main([*words, "--episodes", "2", "0-1", "--stride", "10", "--tails"]) == 0
    tensors = load_file(out)
    assert tensors["episode"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert tensors["start"].tolist() == [0, 10, 20, 0, 10, 20, 0, 10, 20, 30]
    assert tensors["frames"].tolist() == [10, 10, 10, 10, 10, 4, 10, 10, 10, 5]
    assert main([*words, "--episodes", "1"]) == 0
    assert set(load_file(out)["episode"].tolist()) == {1}


def test_adaptive_length_leaves_codes_out(artefact, dataset, encoded, tmp_path, capsys):
    out = tmp_path / "short.safetensors"
    words = ["encode", str(artefact), str(dataset), "--out", str(out)]
    assert main([*words, "--tolerance", "0.1", "--beam", "1"]) == 0
    short, full = load_file(out)["codes"], load_file(encoded)["codes"]
    kept = short >= 0
    assert 0 < kept.float().mean() < 1 and torch.equal(short[kept], full[kept])
    assert TensorFile.load(out).header.tolerance == 0.1
    assert main([*words, "--max_tokens", "5"]) == 0
    assert ((load_file(out)["codes"] >= 0).flatten(1).sum(1) == 5).all()
    assert TensorFile.load(out).header.max_tokens == 5
    capsys.readouterr()
    assert main([*words, "--tolerance", "position=0.25", "--max_tokens", "5"]) == 0
    assert TensorFile.load(out).header.tolerance == {"position": 0.25}
    missed = int(re.search(r"\n(\d+) chunks are not within", capsys.readouterr().out)[1])
    codes = load_file(out)["codes"]
    windows = Windows(RobotDataset.open(dataset).episodes, FPS).chunk(slice(None))
    tokenizer = ActionTokenizer.from_pretrained(artefact)
    found = tokenizer.fidelity(windows.actions, codes, windows.anchor)
    assert missed == int((~found.within({"position": 0.25})).sum()) and 0 < missed < len(codes)


def test_a_bound_in_scored_space_holds_beside_one_of_a_group(artefact, dataset, tmp_path):
    out, limits = tmp_path / "scored.safetensors", {"scored": 0.1, "position": 0.25}
    words = ["encode", str(artefact), str(dataset), "--out", str(out)]
    assert main([*words, "--tolerance", "scored=0.1", "position=0.25"]) == 0
    assert TensorFile.load(out).header.tolerance == limits
    windows = Windows(RobotDataset.open(dataset).episodes, FPS).chunk(slice(None))
    tokenizer = ActionTokenizer.from_pretrained(artefact)
    codes = tokenizer.encode(windows.actions, windows.anchor, tolerance=limits)
    assert torch.equal(load_file(out)["codes"], codes)


def test_encode_says_whether_the_tokenizer_fits(artefact, dataset, tmp_path, capsys):
    words = ["encode", str(artefact), str(dataset), "--out", str(tmp_path / "codes.safetensors")]
    assert main(words) == 0
    assert "The tokenizer fits: " in capsys.readouterr().out
    old = replace(ActionTokenizer.from_pretrained(artefact), metadata={})
    old.save_pretrained(tmp_path / "old")
    words[1] = str(tmp_path / "old")
    assert main(words) == 0
    assert "fits is not known. This tokenizer stores no calibration" in capsys.readouterr().out


def test_check_says_whether_the_tokenizer_fits(artefact, dataset, closed_form, tmp_path, capsys):
    def verdict(tokenizer: Path) -> dict:
        main(["check", str(dataset), "--tokenizer", str(tokenizer), "--json"])
        return json.loads(capsys.readouterr().out)[-1]

    mine = verdict(artefact)
    assert mine["name"] == "tokenizer: fit" and mine["status"] == "pass"
    slow = ActionTokenizer.from_pretrained(artefact)
    tight = {"windows": 9, "residual": [1e-9, 1e-9], "saturation": [0.0, 0.0]}
    metadata = {**slow.metadata, "calibration": {"test_arm": {"fitted": tight, "validation": None}}}
    replace(slow, metadata=metadata).save_pretrained(tmp_path / "tight")
    assert (verdict(tmp_path / "tight")["status"]) == "fail"
    assert main(["check", str(dataset), "--tokenizer", str(tmp_path / "tight")]) == 1
    assert "The tokenizer does not fit" in " ".join(capsys.readouterr().out.split())
    closed_form.save_pretrained(tmp_path / "two")
    other = verdict(tmp_path / "two")
    assert other["status"] == "fail" and "This tokenizer is for 'arm', 'wall'" in other["message"]
    replace(slow, metadata={}).save_pretrained(tmp_path / "old")
    assert verdict(tmp_path / "old")["status"] == "warn"


def test_files_of_an_earlier_version_are_read(encoded, tmp_path):
    file = TensorFile.load(encoded)
    with safe_open(encoded, "pt") as opened:
        header = json.loads(opened.metadata()["rvq_action"])
    del header["max_tokens"]
    save_file(file.tensors, tmp_path / "old.safetensors", {"rvq_action": json.dumps(header)})
    assert TensorFile.load(tmp_path / "old.safetensors").header == file.header


def test_inspect_tells_people(artefact, capsys):
    assert main(["inspect", str(artefact)]) == 0
    text = capsys.readouterr().out
    code, robot = ("9 tokens of 4 bits", "48 token ids"), ("test_arm: 10 Hz", "relative to proprio")
    provenance = ("2 train, 1 held-out, seed 3", "mse: 0.0123457", "config: tiny")
    provenance += (f"on {sum(LENGTHS) - 3 * FPS + 3} fitted windows",)
    for part in (*code, *robot, *provenance, "chunk      of 1 s"):
        assert part in text
    heads, first, *_ = re.findall(r"\n    (\w.*)", text)
    assert heads.split()[:4] == ["channel", "unit", "delta", "range"]
    assert re.fullmatch(r"x +native +subtract +-\d\S* \.\. \d\S*", first)


def test_inspect_tells_machines(artefact, capsys):
    assert main(["inspect", str(artefact), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["code"]["tokens_per_chunk"] == 9
    channels = summary["embodiments"]["test_arm"]["channels"]
    assert [c["name"] for c in channels] == ["x", "y", "gripper"]
    assert channels[0]["delta"] == "subtract" and channels[0]["range"][0] < 0
    assert summary["code"]["seconds"] == 1.0
    assert summary["metadata"]["split"]["waves"]["held_out"] == [1]
    assert summary["fingerprint"] == fingerprint(ActionTokenizer.from_pretrained(artefact))


def test_codes_of_another_tokenizer_are_refused(artefact, encoded, tmp_path, capsys):
    other = ActionTokenizer.from_pretrained(artefact)
    other.model.decoder.mean += 0.01
    other.save_pretrained(tmp_path / "other")
    out = tmp_path / "chunks.safetensors"
    assert main(["decode", str(tmp_path / "other"), str(encoded), "--out", str(out)]) == 1
    assert "of tokenizer 'tokenizer'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--episodes", "3"], "episodes 0-2, not 3"),
        (["--episodes", "1-x"], "not '1-x'"),
        (["--stride", "0"], "stride must be at least 1"),
        (["--seconds", "9"], "No episode has 90 frames"),
        (
            ["--seconds", "20"],
            "20 seconds at 10 Hz are 200 frames, but a chunk has 2 to 128: choose",
        ),
        (["--seconds", "nan"], "choose from 0.2 to 12.8 seconds"),
        (["--tolerance", "0"], "tolerance must be a positive mean squared error"),
        (["--tolerance", "scored=-1"], "tolerance['scored'] must be a positive mean squared"),
        (["--tolerance", "elbow=1"], "tolerance names 'elbow', but layout"),
        (["--tolerance", "position=x"], "--tolerance takes one number, or names and numbers"),
        (["--max_tokens", "99"], "max_tokens must be a whole number, 0..9, got 99"),
        (
            ["--embodiment", "leg"],
            "There is no embodiment 'leg'; this tokenizer knows ['test_arm']",
        ),
    ],
)
def test_what_encode_cannot_do_is_one_line(artefact, dataset, tmp_path, capsys, words, message):
    out = tmp_path / "codes.safetensors"
    assert main(["encode", str(artefact), str(dataset), "--out", str(out), *words]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("rvq-action encode: ")
    assert not list(tmp_path.iterdir())


def test_another_robot_is_refused(artefact, tmp_path, capsys, closed_form):
    dataset = write_v3(tmp_path / "data", (20,))
    closed_form.save_pretrained(tmp_path / "two")
    out = str(tmp_path / "codes.safetensors")
    assert main(["encode", str(tmp_path / "two"), str(dataset), "--out", out]) == 1
    error = capsys.readouterr().err
    assert "This tokenizer is for 'arm', 'wall'; " in error and "of robot type 'test_arm'" in error


def test_a_dataset_with_other_numbers_is_refused(artefact, tmp_path, capsys):
    """Even where there are as many of them: their order may be another."""
    out = str(tmp_path / "codes.safetensors")
    dataset = write_v3(tmp_path / "data", (20,))
    info = dataset / "meta/info.json"
    info.write_text(info.read_text().replace('"x"', '"z"'))
    assert main(["encode", str(artefact), str(dataset), "--out", out]) == 1
    error = capsys.readouterr().err
    assert "This tokenizer is for 'test_arm'; " in error
    assert "reads ['x', 'y', 'gripper'] from 'action'" in error and "['z', 'y'" in error


def test_windows_are_as_long_as_in_training(artefact, dataset, tmp_path, capsys):
    tokenizer = ActionTokenizer.from_pretrained(artefact)
    out = tmp_path / "codes.safetensors"
    for metadata, frames in (({"seconds": 0.5}, 5), ({}, FPS)):
        replace(tokenizer, metadata=metadata).save_pretrained(tmp_path / "half")
        assert main(["encode", str(tmp_path / "half"), str(dataset), "--out", str(out)]) == 0
        assert TensorFile.load(out).header.horizon == frames


def test_files_are_for_whom_the_umask_says(artefact, encoded, tmp_path):
    out = tmp_path / "chunks.safetensors"
    before = os.umask(0o022)
    try:
        ActionTokenizer.from_pretrained(artefact).save_pretrained(tmp_path / "again")
        assert main(["decode", str(artefact), str(encoded), "--out", str(out)]) == 0
    finally:
        os.umask(before)
    written = [out, *(tmp_path / "again").iterdir()]
    assert {oct(file.stat().st_mode & 0o777) for file in written} == {"0o644"}
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o755


def test_files_that_hold_no_codes_are_refused(artefact, dataset, encoded, tmp_path, capsys):
    out = str(tmp_path / "chunks.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"codes": torch.zeros(1, 3, 3)}, foreign)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(encoded.read_bytes()[:-8])
    for file, message in (
        (foreign, "was not written by `rvq-action encode`"),
        (truncated, "is damaged"),
        (tmp_path / "none", "There is no file"),
    ):
        assert main(["decode", str(artefact), str(file), "--out", out]) == 1
        assert message in capsys.readouterr().err
    assert main(["decode", str(artefact), str(encoded), "--out", out]) == 0
    assert main(["decode", str(artefact), out, "--out", out]) == 1
    assert "holds no codes" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["encode", "decode", "inspect"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0 and "tokenizer" in capsys.readouterr().out
