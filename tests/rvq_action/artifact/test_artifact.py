"""The artefact directory: the same codes after a round trip, a clear error for everything else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from rvq_action import ActionTokenizer
from rvq_action.config import TokenizerConfig
from rvq_action.model import TokenizerModel
from tests.rvq_action.robots import arm_chunk

METADATA = {"split": {"waves": {"seed": 0, "train": [0], "held_out": [1]}}, "figures": {"mse": 0.1}}
FILES = {
    "config.json",
    "model.safetensors",
    "statistics.json",
    "embodiments.json",
    "metadata.json",
    "README.md",
    "processor_config.json",
    "processing_rvq.py",
}
NOT_NEEDED = {"README.md", "processor_config.json", "processing_rvq.py"}


@pytest.fixture
def saved(networked, tmp_path) -> Path:
    """An artefact to be damaged."""
    path = tmp_path / "tokenizer"
    replace(networked, metadata=METADATA).save_pretrained(path)
    return path


def edit(path: Path, **changes: object) -> None:
    """Set keys of a JSON file; None drops one."""
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def fails(path: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ActionTokenizer.from_pretrained(path)


def test_a_loaded_tokenizer_gives_the_same_bits(networked, saved):
    loaded = ActionTokenizer.from_pretrained(saved)
    chunk = arm_chunk(64, seed=4)
    robot = (chunk.anchor, "arm", 20)
    codes = networked.encode(chunk.actions, *robot)
    assert torch.equal(loaded.encode(chunk.actions, *robot), codes)
    assert torch.equal(loaded.decode(codes, 33, *robot), networked.decode(codes, 33, *robot))
    assert loaded.config == networked.config
    assert loaded.embodiments == networked.embodiments
    assert loaded.metadata == METADATA
    assert not loaded.model.training


def test_the_directory_holds_what_it_should(saved):
    assert {file.name for file in saved.iterdir()} == FILES
    assert "mse: 0.1" in (saved / "README.md").read_text()
    assert os.listdir(saved.parent) == [saved.name]


def test_saving_again_replaces(networked, saved):
    replace(networked, metadata={"second": True}).save_pretrained(saved)
    assert ActionTokenizer.from_pretrained(saved).metadata == {"second": True}
    assert os.listdir(saved.parent) == [saved.name]


def test_saving_through_a_link_keeps_the_link(networked, saved):
    link = saved.with_name("latest")
    link.symlink_to(saved)
    replace(networked, metadata={"second": True}).save_pretrained(link)
    assert link.is_symlink()
    assert ActionTokenizer.from_pretrained(saved).metadata == {"second": True}


def test_a_failed_save_loses_nothing(networked, saved):
    with pytest.raises(ValueError, match=r"metadata.json takes JSON types only.*Path"):
        replace(networked, metadata={"where": saved}).save_pretrained(saved)
    assert ActionTokenizer.from_pretrained(saved).metadata == METADATA
    assert os.listdir(saved.parent) == [saved.name]


def test_other_files_are_never_overwritten(networked, saved):
    (saved / "policy.safetensors").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"policy.safetensors.*empty directory"):
        networked.save_pretrained(saved)
    with pytest.raises(ValueError, match="is a file"):
        networked.save_pretrained(saved / "policy.safetensors")
    assert (saved / "policy.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize("names", [("config.json", "model.safetensors", "README.md"), FILES])
def test_the_model_of_somebody_else_is_never_replaced(networked, tmp_path, names):
    others = sorted(set(names) - {"embodiments.json"})
    for name in others:
        (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=r"no tokenizer's.*nothing was overwritten"):
        networked.save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == others
    assert {file.read_text() for file in tmp_path.iterdir()} == {"precious"}


def test_an_empty_directory_is_taken(networked, tmp_path):
    networked.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize("missing", sorted(FILES - NOT_NEEDED))
def test_a_missing_file_is_named(saved, missing):
    (saved / missing).unlink()
    fails(saved, rf"{missing}.*rvq-train export")


def test_artefacts_without_the_files_for_autoprocessor_are_read(saved):
    for file in NOT_NEEDED:
        (saved / file).unlink()
    assert ActionTokenizer.from_pretrained(saved).metadata == METADATA


def test_a_foreign_directory_is_no_artefact(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    fails(tmp_path, r"no tokenizer artefact.*model.safetensors.*rvq-train export")


def test_the_folder_of_a_run_points_at_its_tokenizer(saved, tmp_path):
    saved.rename(tmp_path / "tokenizer")
    fails(tmp_path, rf"no tokenizer artefact.*Its tokenizer is {tmp_path / 'tokenizer'}: give that")


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_truncated_weights_are_an_error(saved, size):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    fails(saved, r"model.safetensors is damaged .*copy it again")


def test_weights_that_fit_no_model_are_an_error(saved):
    weights = load_file(saved / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "mean" not in k}, saved / "model.safetensors")
    fails(saved, r"(?s)does not fit config.json.*encoder.mean")


def test_weights_of_another_library_version_are_read(saved):
    weights = load_file(saved / "model.safetensors")
    flags = {k: v.reshape(1) for k, v in weights.items() if k.endswith("initted")}
    assert flags
    save_file({**weights, **flags}, saved / "model.safetensors")
    assert ActionTokenizer.from_pretrained(saved)


@pytest.mark.parametrize("version", [0, 1, None, "2"])
def test_another_format_version_is_an_error(saved, version):
    edit(saved / "config.json", format_version=version)
    fails(saved, rf"format version {version}; this rvq-action reads 2 and 3")


def test_an_unknown_or_missing_key_is_named(saved):
    edit(saved / "config.json", beam_width=4, decay=None)
    fails(saved, r"unknown keys \['beam_width'\], missing keys \['decay'\]")


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", "26"), ("num_slots", 0), ("depth", -1), ("decay", 1.5), ("token_order", "random")],
)
def test_a_value_that_is_none_is_named(saved, key, value):
    edit(saved / "config.json", **{key: value})
    fails(saved, rf"config.json: .*{key}.*{value}")


def test_a_config_of_another_shape_does_not_fit_the_weights(saved):
    edit(saved / "config.json", num_slots=7)
    fails(saved, "does not fit config.json")


@pytest.mark.parametrize("file", ["config.json", "statistics.json", "embodiments.json"])
@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe\x00", b"[1, 2]", b""])
def test_files_that_are_no_json_object_are_named(saved, file, content):
    (saved / file).write_bytes(content)
    fails(saved, rf"{file}.*export it again")


@pytest.mark.parametrize("file", ["statistics.json", "embodiments.json"])
def test_an_embodiment_too_few_is_named(saved, file):
    edit(saved / file, wall=None)
    fails(saved, r"\['arm', 'wall'\].*never made up")


def test_an_embodiment_too_many_is_an_error(saved):
    for file in ("statistics.json", "embodiments.json"):
        edit(saved / file, third=json.loads((saved / file).read_text())["arm"])
    fails(saved, r"3 embodiments .*third.* fitted on 2")


def test_a_robot_wider_than_the_model_names_the_maximum(networked):
    narrow = TokenizerModel(TokenizerConfig.tiny(width=4))
    with pytest.raises(ValueError, match="'wall' has 26 channels, .* at most 4"):
        ActionTokenizer(narrow, {"wall": networked.embodiments["wall"]})


def test_statistics_of_another_width_are_an_error(saved):
    described = json.loads((saved / "embodiments.json").read_text())
    edit(saved / "embodiments.json", arm={**described["wall"]})
    fails(saved, r"embodiments.json: 'arm': .*26.*rvq-train statistics")


@pytest.mark.parametrize("figure", ["q01", "count"])
def test_a_missing_statistic_is_named(saved, figure):
    known = json.loads((saved / "statistics.json").read_text())
    del known["arm"]["actions"][figure]
    (saved / "statistics.json").write_text(json.dumps(known))
    fails(saved, rf"arm.actions: missing \['{figure}'\]")


@pytest.mark.parametrize("entry", [None, float("nan"), "0"])
def test_a_statistic_that_is_no_number_is_an_error(saved, entry):
    known = json.loads((saved / "statistics.json").read_text())
    known["arm"]["actions"]["q01"][0] = entry
    (saved / "statistics.json").write_text(json.dumps(known))
    fails(saved, r"arm.actions.*finite numbers")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"fps": 0}, "'arm': fps must be a positive"),
        ({"fps": None}, "'arm'"),
        ({"layout": {"name": "x"}}, "'arm' lacks 'channels'"),
        ({"layout": {"name": "x", "channels": []}}, "'arm'.*no channels"),
    ],
)
def test_an_embodiment_that_is_none_is_named(saved, change, match):
    known = json.loads((saved / "embodiments.json").read_text())
    edit(saved / "embodiments.json", arm={**known["arm"], **change})
    fails(saved, match)


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "a/b/c"])
def test_a_path_that_is_nothing_is_an_error(name):
    fails(Path(name) if name == "nowhere" else name, "neither a directory nor a hub id")


def test_the_hub_is_asked_for_ids_only(saved, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert set(allow_patterns) == FILES
        return str(saved)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert ActionTokenizer.from_pretrained("owner/name", revision="v1").metadata == METADATA
    assert asked == [("owner/name", "v1")]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("RepositoryNotFoundError", "the hub has no repository of that name"),
        ("GatedRepoError", "those who were given access"),
        ("RevisionNotFoundError", "has no revision 'v2'"),
        ("HfHubHTTPError", r"the hub refused \(first line\)"),
        ("HFValidationError", "no valid id"),
        ("LocalEntryNotFoundError", r"the hub cannot be reached \(no route\), nor is a copy"),
    ],
)
def test_a_missing_repository_is_told_from_a_hub_out_of_reach(monkeypatch, kind, message):
    hub = pytest.importorskip("huggingface_hub")

    def download(*_: object, **__: object) -> str:
        error = getattr(hub.errors, kind)
        if issubclass(error, hub.errors.HfHubHTTPError):
            raise error("first line\nsecond", response=SimpleNamespace(headers={}, request=None))
        raise error("first line\nsecond") from ConnectionError("no route")

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=message) as raised:
        ActionTokenizer.from_pretrained("owner/name", revision="v2")
    said = str(raised.value)
    assert said.startswith("'owner/name' is no directory here, and ") and "\n" not in said


def test_pushing_uploads_the_artefact(networked, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    uploaded = {}

    class Api:
        def __init__(self, token: str | None = None) -> None:
            assert token is None

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            uploaded["repository"] = (repo_id, private)

        def upload_folder(self, repo_id: str, folder_path: Path) -> str:
            uploaded["files"] = {file.name for file in Path(folder_path).iterdir()}
            return f"hub/{repo_id}"

    monkeypatch.setattr(hub, "HfApi", Api)
    assert networked.push_to_hub("owner/name", private=True) == "hub/owner/name"
    assert uploaded == {"repository": ("owner/name", True), "files": FILES}


def test_a_configuration_makes_the_round_trip(tmp_path):
    config = TokenizerConfig.tiny(token_order="slot_major")
    config.save(tmp_path / "config.json")
    assert TokenizerConfig.load(tmp_path / "config.json") == config
