"""Frozen networks as teachers: the plumbing, on tiny ones with random weights."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tokenizer_training.features.networks import SAVE, WIDTH
from tokenizer_training.cli import main
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.features.qwen import QwenSettings, QwenTeacher
from tokenizer_training.features.vision import POOLINGS, VisionSettings, VisionTeacher
from tokenizer_training.features.weights import identity


@pytest.fixture
def frames() -> dict[str, np.ndarray]:
    """Three moments of two cameras of different size."""
    draw = np.random.default_rng(0).integers
    sizes = {"head": (3, 60, 90, 3), "wrist": (3, 70, 70, 3)}
    return {name: draw(0, 256, size, dtype=np.uint8) for name, size in sizes.items()}


def see(teacher, frames, instruction="") -> torch.Tensor:
    with torch.inference_mode():
        return teacher.look(frames, instruction)


def vision(networks, name: str, **settings) -> VisionTeacher:
    return VisionTeacher(VisionSettings(str(networks[name]), **settings))


def qwen(networks, **settings) -> QwenTeacher:
    return QwenTeacher(QwenSettings(str(networks["qwen"]), **settings))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ["dinov2", "siglip"])
def test_vision_models_see_every_picture_by_itself(networks, frames, name, pooling):
    teacher = vision(networks, name, pooling=pooling)
    both = see(teacher, frames)
    assert both.shape == (3, 2, WIDTH) and teacher.card.width == WIDTH
    alone = see(teacher, {"wrist": frames["wrist"][1:2]})
    assert torch.allclose(both[1:2, 1:], alone, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_the_pooled_output_of_dinov2_is_its_class_token(networks, frames):
    by_class = see(vision(networks, "dinov2", pooling="class"), frames)
    assert torch.equal(see(vision(networks, "dinov2"), frames), by_class)


def test_qwen_shares_one_pass_between_views(networks, frames):
    """A view is seen in the light of those before it, and of the instruction."""
    teacher = qwen(networks)
    both = see(teacher, frames, "pick the cube")
    assert both.shape == (3, 2, WIDTH)
    head = see(teacher, {"head": frames["head"]}, "pick the cube")
    wrist = see(teacher, {"wrist": frames["wrist"]}, "pick the cube")
    assert torch.allclose(both[:, :1], head, atol=1e-5)
    assert (both[:, 1:] - wrist).abs().max() > 1e-4
    other = see(teacher, frames, "push the cube")
    assert ((both - other).abs().amax((0, 2)) > 1e-5).all()
    assert teacher.reads_instruction


def test_vision_models_read_no_instruction(networks, frames):
    teacher = vision(networks, "dinov2")
    assert torch.equal(see(teacher, frames, "pick"), see(teacher, frames, "push"))
    assert not teacher.reads_instruction


def test_moments_of_a_batch_do_not_mix(networks, frames):
    teacher = qwen(networks)
    single = {name: view[2:] for name, view in frames.items()}
    together = see(teacher, frames, "go")[2:]
    assert torch.allclose(together, see(teacher, single, "go"), atol=1e-5)


@pytest.mark.parametrize("layer", [-3, -1, 0, 2, 5])
def test_qwens_layers_count_as_in_transformers(networks, frames, layer):
    """Against the whole model's own list of hidden states, pooled by hand."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    teacher = qwen(networks, layer=layer)
    moment = {name: view[:1] for name, view in frames.items()}
    views = [view[0] for view in moment.values()]
    inputs = teacher.processor(views, return_tensors="pt", input_data_format="channels_last")
    tokens = [int(grid.prod()) // 4 for grid in inputs["image_grid_thw"]]
    prompt = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\ngo"
        + "".join(f"<|vision_start|>{'<|image_pad|>' * n}<|vision_end|>" for n in tokens)
    )
    ids = teacher.tokenizer(prompt, return_tensors="pt")["input_ids"]
    is_image = ids == teacher.config.image_token_id
    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(networks["qwen"]).eval()
    with torch.inference_mode():
        hidden = whole(
            input_ids=ids,
            mm_token_type_ids=is_image.int(),
            output_hidden_states=True,
            **inputs,
        ).hidden_states
    assert len(hidden) == 6
    first, second = hidden[layer][0, is_image[0]].split(tokens)
    expected = torch.stack([first.mean(0), second.mean(0)])
    assert torch.allclose(see(teacher, moment, "go")[0], expected, atol=1e-5)


def test_layers_that_do_not_count_are_not_run(networks):
    assert len(qwen(networks).network.language_model.layers) == 3
    assert len(qwen(networks, layer=-1).network.language_model.layers) == 5


def test_layers_count_the_same_from_both_ends(networks):
    assert qwen(networks, layer=-3).card.fingerprint == qwen(networks, layer=3).card.fingerprint


@pytest.mark.parametrize("layer", [6, -7])
def test_a_layer_that_is_not_there_is_refused(networks, layer):
    with pytest.raises(ValueError, match="--layer must lie between -6 and 5"):
        qwen(networks, layer=layer)


def test_the_newer_form_of_the_processors_settings_reads_the_same(networks, frames, tmp_path):
    """As a whole processor is saved: one file, the image processor's part inside."""
    folder = SAVE["qwen"](tmp_path / "qwen")
    old = folder / "preprocessor_config.json"
    nested = {
        "image_processor": json.loads(old.read_text()),
        "processor_class": "Qwen2_5_VLProcessor",
    }
    (folder / "processor_config.json").write_text(json.dumps(nested))
    old.unlink()
    teacher = QwenTeacher(QwenSettings(str(folder)))
    assert torch.equal(see(teacher, frames, "go"), see(qwen(networks), frames, "go"))


@pytest.mark.parametrize("make", [lambda n, **s: vision(n, "siglip", **s), qwen])
def test_half_precision_is_kept_and_near_the_full_one(networks, frames, make):
    half, full = make(networks, precision="bfloat16"), make(networks)
    seen = see(half, frames, "go")
    assert seen.dtype == torch.bfloat16 and half.card.dtype == "bfloat16"
    assert torch.allclose(seen.float(), see(full, frames, "go"), atol=0.05)
    assert half.card.fingerprint != full.card.fingerprint


@pytest.mark.parametrize(("teacher", "network"), [("vision", "siglip"), ("qwen2_5_vl", "qwen")])
def test_networks_fill_a_cache_without_torchvision(
    networks, recordings, tmp_path, teacher, network
):
    options = ["--teacher", teacher, "--model", str(networks[network]), "--precision", "bfloat16"]
    data = ["--data.datasets", str(recordings), "--out", str(tmp_path), "--stride", "4"]
    assert main(["features", *data, *options]) == 0
    assert "torchvision" not in sys.modules
    cache = FeatureCache.open(tmp_path)
    assert cache.teacher.kind == teacher
    features, known = cache.dataset("stripes").lookup(np.arange(6), np.arange(6))
    assert known.all() and features.shape == (6, 2 * WIDTH) and features.dtype == torch.float32
    assert load_file(tmp_path / "stripes" / "00000.safetensors")["features"].dtype == torch.bfloat16


def test_a_model_of_the_hub_is_the_same_as_its_folder(networks, monkeypatch):
    import huggingface_hub

    asked = []

    def download(model: str, **_: object) -> str:
        asked.append(model)
        return str(networks["dinov2"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    card = VisionTeacher(VisionSettings("someone/dinov2")).card
    assert asked == ["someone/dinov2"] and card.source == "someone/dinov2"
    assert card.fingerprint == vision(networks, "dinov2").card.fingerprint


def test_a_hub_out_of_reach_is_no_missing_model(monkeypatch):
    import huggingface_hub

    def download(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("a\nb") from OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(FileNotFoundError) as raised:
        VisionTeacher(VisionSettings("someone/dinov2"))
    said = str(raised.value)
    assert "There is no folder someone/dinov2, and the hub cannot be reached (no route)" in said
    assert "\n" not in said


def test_weights_are_told_apart(networks, tmp_path):
    copy = SAVE["dinov2"](tmp_path / "copy")
    assert identity(copy) == identity(networks["dinov2"])
    weights = load_file(copy / "model.safetensors")
    name = "layernorm.bias"
    weights[name] = weights[name] + 1
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert identity(copy) != identity(networks["dinov2"])


def test_a_layer_that_was_tuned_makes_other_weights(tmp_path):
    """Whichever it is: of every tensor something is read, however large the file."""
    layers = {f"layers.{number}.weight": torch.ones(128, 256) for number in range(40)}
    file = tmp_path / "model.safetensors"
    save_file(layers, file)
    before = identity(tmp_path)
    for name in list(layers)[::5]:
        save_file({**layers, name: layers[name] + 1e-3}, file)
        assert identity(tmp_path) != before, name
    save_file(layers, file)
    assert identity(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", b"\x02" + bytes(7) + b"[]"])
def test_weights_that_are_no_safetensors_are_named(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        identity(tmp_path)


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path):
    folder = SAVE["dinov2"](tmp_path / "dinov2")
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="no weights for layernorm.weight"):
        assert VisionTeacher(VisionSettings(str(folder))).card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--teacher vision", "name it with --model"),
        ("--teacher vision --model ./nowhere/net", "There is no folder ./nowhere/net"),
        ("--teacher vision --model {data}", "must hold config.json"),
        ("--teacher vision --model {dinov2} --pooling best", "--pooling best: give pooled"),
        ("--teacher vision --model {dinov2} --precision half", "--precision half: give auto"),
        ("--teacher vision --model {dinov2} --device moon", "--device moon cannot be used"),
        ("--teacher vision --model {dinov2} --layer 2", "--layer is no option of the teacher"),
        ("--teacher qwen2_5_vl --model {dinov2}", "is a dinov2, no Qwen2.5-VL"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(networks, recordings, tmp_path, capsys, words, message):
    options = words.format(data=recordings, **networks).split()
    out = tmp_path / "cache"
    data = ["--data.datasets", str(recordings), "--out", str(out)]
    assert main(["features", *data, *options]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-train features: ") and message in error
    assert not out.exists()
