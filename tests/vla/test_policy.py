"""VLAPolicy: from what a robot sees to what it does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.vla.conftest import SIZE, answer, chunk_of, learn, observe, picture, start
from vla.images import fit
from vla.losses import LossWeights
from vla.policy import VLAPolicy
from vla.samples import Observation
from vla.sequence import UNLABELLED
from vla.tokens import TokenType


def act(policy: VLAPolicy, now: Observation, **more) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    told = now.images, now.proprio, now.instruction
    return policy.generate_flow_action(
        *told, 12, now.embodiment, now.fps, generator=generator, **more
    )


@pytest.mark.parametrize(("robot", "width"), [("arm", 4), ("wall", 26)])
def test_actions_are_physical_absolute_and_within_range(policy, robot, width):
    now = observe(robot)
    actions = act(policy, now)
    assert actions.shape == (12, width) and actions.dtype == np.float32
    known = policy.tokenizer.embodiments[robot]
    absent = ~known.valid.numpy()
    assert (actions[:, absent] == 0).all() and np.abs(actions[:, ~absent]).max() > 0
    if robot == "arm":
        moved = actions[:, :3] - now.proprio[:3].numpy()
        low, high = (np.array(getattr(known.statistics.actions, n))[:3] for n in ("min", "max"))
        assert (moved >= low - 1e-5).all() and (moved <= high + 1e-5).all()
        elsewhere = act(policy, replace(now, proprio=now.proprio + 1.0))
        assert elsewhere[:, :3].mean() - actions[:, :3].mean() > 0.3


@pytest.mark.parametrize(("fps", "kept"), [(None, True), (20, True), (40, True), (10, False)])
def test_first_frames_have_a_range_of_their_own_but_at_a_lower_rate(policy, monkeypatch, fps, kept):
    """There the first frame lies further ahead than any that was measured."""
    far, known = 0.9, policy.tokenizer.embodiments["arm"]
    answer = partial(torch.full_like, fill_value=far)
    monkeypatch.setattr(policy.model, "sample_actions", lambda b, *_, **__: answer(b.actions))
    now = replace(observe("arm"), fps=fps)
    moved = policy.samples.in_flow_space(now, policy.act([now], 8)[0]).x[0, :, :4]
    begins = known.start.first.contains(known.actions.denormalize(moved[0])).all()
    assert bool(begins) == kept
    assert torch.allclose(moved[0], torch.full((4,), far), atol=1e-4) == (not kept)


@pytest.mark.parametrize("steps", [0, -1])
@pytest.mark.parametrize("ways", [VLAPolicy.accelerated, lambda policy: policy])
def test_a_sampler_without_steps_is_refused_not_given_its_noise_back(policy, steps, ways):
    with pytest.raises(ValueError, match=f"steps of the flow's sampler start at 1, got {steps}"):
        act(ways(policy), observe("arm"), steps=steps)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_cached_prompt_gives_the_same_actions(policy, steps):
    samples = [policy.samples.to_act(observe(robot), 9) for robot in ("arm", "wall")]
    batch = policy.batch(samples)
    noise = torch.randn(batch.actions.shape)
    found = [policy.model.sample_actions(batch, noise, steps, cached=c) for c in (True, False)]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    assert found[0].std() > 0.1 and (found[0][~batch.action_mask] == 0).all()


def test_robots_act_together_as_alone(policy):
    pair = [observe("arm"), observe("wall")]
    noise = torch.Generator().manual_seed(0)
    together = policy.act(pair, 8, steps=2, generator=noise)
    assert [a.shape for a in together] == [(8, 4), (8, 26)]
    batch = policy.batch([policy.samples.to_act(o, 8) for o in pair])
    drawn = torch.randn(batch.actions.shape, generator=torch.Generator().manual_seed(0))
    for row, now in enumerate(pair):
        alone = policy.batch([policy.samples.to_act(now, 8)])
        moved = policy.model.sample_actions(alone, drawn[row : row + 1], 2)[0]
        np.testing.assert_allclose(policy._physical(now, moved), together[row], atol=1e-5)


def test_codes_are_valid_whatever_the_network_says(policy):
    now = observe("arm")
    found = policy.generate_action_codes(now.images, now.proprio, now.instruction, 20, "arm")
    shape = policy.tokenizer.vocabulary_of("arm").num_slots, policy.config.num_levels
    assert found.codes.shape == shape and found.actions.shape == (20, 4)
    assert found.codes.max() < policy.config.codebook_size and found.codes.max() >= 0
    assert np.isfinite(found.actions).all()
    decoded = policy.tokenizer.decode(found.codes[None], 20, now.proprio.numpy()[None], "arm")
    np.testing.assert_array_equal(found.actions, decoded[0])


def test_codes_are_the_likeliest_ones_when_read_in_one_go(policy):
    """Token by token with a cache, and all at once."""
    now = observe("arm")
    found = policy.generate_action_codes(now.images, now.proprio, now.instruction, 20, "arm")
    codes = found.codes
    chunk = chunk_of("arm")
    sample = policy.samples.to_learn(now, chunk.actions[0], chunk.mask[0], codes=codes)
    output = policy.model(policy.batch([sample]))
    vocabulary = policy.vocabulary.of_slots(len(codes))
    for place, target in enumerate(output.targets[:-1].tolist()):
        allowed = [*vocabulary.valid_ids(place)]
        allowed += [policy.samples.prompter.end_id] if place else []
        assert allowed[int(output.logits[place][allowed].argmax())] == target


def test_text_is_words_only_and_ends(policy):
    text = policy.generate_text([picture(1)], "what is it?", max_tokens=9)
    assert isinstance(text, str) and len(text.encode()) <= 9 * 3
    assert policy.generate_text([picture(1)], "what is it?", max_tokens=9) == text


def test_saved_and_loaded_it_acts_the_same(policy, tmp_path):
    policy.save_pretrained(tmp_path / "policy", shard_size="100KB")
    folder = tmp_path / "policy" / "vl_expert"
    assert len(list(folder.glob("model-*.safetensors"))) > 1, "sharded"
    loaded = VLAPolicy.from_pretrained(tmp_path / "policy")
    now = observe("arm")
    np.testing.assert_array_equal(act(policy, now), act(loaded, now))
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    loaded.save_pretrained(tmp_path / "policy")
    rough = VLAPolicy.from_pretrained(tmp_path / "policy", dtype=torch.bfloat16)
    assert rough.model.dtype == torch.bfloat16
    assert np.abs(act(rough, now) - act(policy, now)).mean() < 0.1
    assert rough.model.action_head.leave.weight.dtype == torch.float32
    rough.save_pretrained(tmp_path / "policy")
    again = VLAPolicy.from_pretrained(tmp_path / "policy")
    assert again.model.dtype == torch.bfloat16
    assert {p.dtype for p in again.model.mot.parameters()} == {torch.bfloat16}
    np.testing.assert_array_equal(act(rough, now), act(again, now))
    files = [f for f in (tmp_path / "policy").rglob("*") if f.is_file()]
    assert len({f.stat().st_mode for f in files}) == 1, "whoever may read one may read all"


def test_the_vl_expert_is_a_model_of_transformers(policy, tmp_path):
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    policy.save_pretrained(tmp_path / "policy")
    folder = tmp_path / "policy" / "vl_expert"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)("hello there", return_tensors="pt")["input_ids"]
    sample = policy.samples.to_ask([], "hello there")
    ids = sample.ids[None]
    hidden, _ = policy.model.read(policy.batch([sample]))
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    torch.testing.assert_close(policy.model.logits(hidden), expected, atol=1e-5, rtol=1e-5)


def rewrite(name: str, old: str, new: str):
    """A harm: other text in a file of the folder."""

    def harm(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return harm


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: shutil.rmtree(f / "action_tokenizer"), "action_tokenizer.* missing"),
        (lambda f: (f / "config.json").unlink(), "config.json.* missing"),
        (rewrite("config.json", '"num_levels": 3', '"num_levels": 2'), "2 here, 3 there"),
        (rewrite("vocabulary.json", "263", "260"), "places the action tokens elsewhere"),
        (rewrite("config.json", '"action_hidden": 24', '"action_hidden": 28'), "do not fit its"),
        (rewrite("vl_expert/config.json", '"qwen2_5_vl"', '"llama"'), "is a llama"),
        (lambda f: (f / "action_expert/model.safetensors").write_bytes(b"x" * 20), "damaged"),
    ],
)
def test_a_folder_that_does_not_fit_together_is_refused(policy, tmp_path, harm, message):
    policy.save_pretrained(tmp_path / "policy")
    harm(tmp_path / "policy")
    with pytest.raises(ValueError, match=message):
        VLAPolicy.from_pretrained(tmp_path / "policy")


def test_missing_weights_are_not_drawn_at_random(policy, tmp_path):
    import safetensors.torch

    policy.save_pretrained(tmp_path / "policy")
    file = tmp_path / "policy" / "vl_expert" / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    weights.pop(next(name for name in weights if "layers.1" in name))
    safetensors.torch.save_file(weights, file, {"format": "pt"})
    with pytest.raises(ValueError, match="do not fit its config.json: missing_keys"):
        VLAPolicy.from_pretrained(tmp_path / "policy")


def test_nothing_else_is_overwritten(policy, tmp_path):
    (tmp_path / "thesis.txt").write_text("of somebody else")
    with pytest.raises(ValueError, match="no policy.*thesis"):
        policy.save_pretrained(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_words_of_another_model_are_not_replaced(policy, tmp_path):
    for name in ("config.json", "vocabulary.json", "README.md"):
        (tmp_path / name).write_text("of somebody else")
    with pytest.raises(ValueError, match="no policy's.*nothing was overwritten"):
        policy.save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def images(**changes) -> dict[str, np.ndarray]:
    pair = {"front": picture(0), "wrist": picture(1)} | changes
    return {name: image for name, image in pair.items() if image is not None}


NAN = torch.tensor([0.0, float("nan"), 0.0, 0.0])
WRONG = [
    ({"images": images(wrist=None)}, ValueError, "missing: .'wrist'"),
    ({"images": images(side=picture(3))}, ValueError, "unknown: .'side'"),
    ({"images": images(front=picture(0, 84, 84))}, ValueError, "84 x 84.*sees 56 x 56.*fit"),
    ({"images": images(front=picture(0)[..., 0])}, ValueError, "'front' must be a uint8 array"),
    ({"images": images(front=picture(0) / 255.0)}, ValueError, "got float64"),
    ({"instruction": "  "}, ValueError, "instruction must say something"),
    ({"instruction": "go <|image_pad|>"}, ValueError, "special tokens .'<|image_pad|>'"),
    ({"proprio": NAN}, ValueError, "proprio is NaN for .'joint_1'"),
    ({"proprio": NAN.nan_to_num(float("inf"))}, ValueError, "finite"),
    ({"proprio": torch.zeros(6)}, ValueError, r"proprio must be \[4\].*got \[6\]"),
    ({"embodiment": "leg"}, KeyError, "Unknown robot 'leg'"),
    ({"embodiment": None}, ValueError, "Say which robot"),
    ({"fps": -3.0}, ValueError, "fps must be a positive"),
]


@pytest.mark.parametrize(("change", "kind", "message"), WRONG)
def test_bad_input_is_refused_with_what_is_wrong(policy, change, kind, message):
    with pytest.raises(kind, match=message.replace("|", r"\|")):
        act(policy, replace(observe("arm"), **change))


def test_a_horizon_out_of_range_is_refused(policy):
    with pytest.raises(ValueError, match="129 frames is outside 2..128"):
        policy.act([observe("arm")], 129)


def test_a_network_gone_wrong_does_not_move_the_robot(tokenizer):
    broken = start(tokenizer)
    with torch.no_grad():
        broken.model.action_head.leave.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="do not move"):
        act(broken, observe("arm"))


def test_a_policy_for_another_tokenizer_is_refused(policy, tokenizer):
    with pytest.raises(ValueError, match="num_slots"):
        VLAPolicy.start(replace(policy.config, num_slots=1), tokenizer)


def test_pictures_are_fitted_without_distortion():
    wide = np.full((40, 80, 3), 200, dtype=np.uint8)
    square = fit(wide, SIZE)
    assert square.shape == (SIZE, SIZE, 3) and square.dtype == np.uint8
    assert (square[:14] == 0).all() and (square[-14:] == 0).all()
    assert (square[14:42] == 200).all()


def test_large_pictures_are_scaled_down_and_others_left(tokenizer):
    policy = start(tokenizer, max_pixels=112 * 112)
    sizes = [(300, 200), (56, 84), (112, 112)]
    sample = policy.samples.to_ask([picture(i, *s) for i, s in enumerate(sizes)], "what?")
    height, width = sample.grids[0, 1:].tolist()
    assert height > width and height * width * 14**2 <= 112 * 112 * 1.1
    assert sample.grids[1:].tolist() == [[1, 4, 6], [1, 8, 8]]


def test_the_card_tells_what_the_policy_needs(policy, tmp_path):
    policy.save_pretrained(tmp_path / "policy")
    card = (tmp_path / "policy" / "README.md").read_text()
    assert "`arm`: 4 channels at 20 Hz, cameras front, wrist (56 x 56)" in card
    assert "`wall`: 26 channels at 10 Hz, cameras head" in card


def test_a_training_sample_is_what_the_contract_says(policy):
    sample = learn(policy, "arm")
    chunk = chunk_of("arm")
    action = sample.types == TokenType.ACTION
    codes = policy.tokenizer.encode(chunk.actions, chunk.anchor, "arm")
    ids = policy.vocabulary.actions.of_slots(codes.shape[1]).to_ids(codes)[0]
    end = policy.samples.prompter.end_id
    assert sample.ids[action].tolist() == [*ids.tolist(), end]
    torch.testing.assert_close(sample.labels[action], sample.ids[action])
    assert (sample.labels[~action] == UNLABELLED).all()
    given = policy.tokenizer.prepare(chunk)
    torch.testing.assert_close(sample.actions, given.x[0])
    assert (sample.actions[:, 4:] == 0).all() and not sample.action_mask[:, 4:].any()
    assert (sample.types == TokenType.PROPRIO).sum() == 1
    assert (sample.types == TokenType.IMAGE).sum() == 2 * (SIZE // 28) ** 2
    text = policy.samples.prompter.read(sample.ids[~action].tolist())
    assert "arm at 20 Hz" in text and "pick up the cube" in text and "State: " in text


def test_the_prompt_may_hide_the_state_while_actions_stay_relative_to_it(policy):
    shown, hidden = (
        learn(policy, "arm"),
        learn(policy, "arm", shown_proprio=torch.full((4,), torch.nan)),
    )
    assert not hidden.proprio_mask.any() and shown.proprio_mask[:4].all()
    text = policy.samples.prompter.read(hidden.ids[hidden.types == TokenType.TEXT].tolist())
    assert "State: - - - -" in text
    torch.testing.assert_close(shown.actions, hidden.actions)


@pytest.mark.parametrize("with_codes", [False, True])
@pytest.mark.parametrize(
    ("actions", "proprio", "message"),
    [
        (torch.full((20, 4), torch.nan), None, "is not finite"),
        (torch.zeros(20, 6), None, "with the channels of layout"),
        (None, torch.full((4,), torch.nan), "which actions are relative to"),
    ],
)
def test_a_demonstration_that_is_none_is_refused(policy, actions, proprio, message, with_codes):
    chunk, now = chunk_of("arm"), observe("arm")
    codes = policy.tokenizer.encode(chunk.actions, chunk.anchor, "arm")[0] if with_codes else None
    now = now if proprio is None else replace(now, proprio=proprio)
    with pytest.raises(ValueError, match=message):
        policy.samples.to_learn(now, chunk.actions[0] if actions is None else actions, codes=codes)


@pytest.mark.parametrize(
    ("form", "text", "tokens"), [("text", True, 0), ("token", False, 1), ("both", True, 1)]
)
def test_the_state_is_told_as_configured(tokenizer, form, text, tokens):
    policy = start(tokenizer, proprio=form)
    sample = policy.samples.to_act(observe("arm"), 4)
    said = policy.samples.prompter.read(sample.ids[sample.types == TokenType.TEXT].tolist())
    assert ("State: " in said) == text
    assert (sample.types == TokenType.PROPRIO).sum() == tokens
    other = replace(observe("arm"), proprio=observe("arm").proprio + 0.2)
    noise = torch.randn(1, 4, 26)
    found = [
        policy.model.sample_actions(policy.batch([policy.samples.to_act(o, 4)]), noise, 2)
        for o in (observe("arm"), other)
    ]
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_a_little_training_teaches_both_ways_to_act_and_to_answer(tokenizer):
    """Two moments and a question, by heart."""
    policy = start(tokenizer, 1, stirred=False, action_hidden=64, action_intermediate=128)
    torch.manual_seed(0)
    model = policy.model.train()
    moments = [learn(policy, "arm", 0), learn(policy, "arm", 5)]
    batch = policy.batch([*moments * 5, answer(policy, 1, "red")])
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    weights = LossWeights(flow=1.0, action_ce=0.3, multimodal_ce=0.3)
    for _ in range(90):
        optimizer.zero_grad()
        model(batch).losses.total(weights).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    for seed in (0, 5):
        now, chunk = observe("arm", seed), chunk_of("arm", seed)
        told = now.images, now.proprio, now.instruction, 20, "arm"
        wanted = policy.tokenizer.encode(chunk.actions, chunk.anchor, "arm")[0]
        np.testing.assert_array_equal(policy.generate_action_codes(*told).codes, wanted)
        other = chunk_of("arm", 5 - seed).actions[0].numpy()
        moved = policy.generate_flow_action(*told, generator=torch.Generator().manual_seed(1))
        near = np.abs(moved - chunk.actions[0].numpy()).mean()
        assert near < 0.5 * np.abs(moved - other).mean()
    assert policy.generate_text([picture(90)], "what is it?") == "red"


@pytest.mark.parametrize("size", [50, 28 * 40])
def test_an_image_size_that_the_backbone_would_change_is_refused(tokenizer, size):
    with pytest.raises(ValueError, match=f"image_size {size}.*multiple of 28"):
        start(tokenizer, image_size=size)


def test_an_unknown_backbone_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="no backbone.*packaged shapes"):
        start(tokenizer, backbone=str(tmp_path))


def test_what_a_later_transformers_saved_is_refused(policy, tmp_path):
    """Read by an earlier one, its rotary settings would silently be others."""
    policy.save_pretrained(tmp_path / "policy")
    file = tmp_path / "policy/vl_expert/config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "transformers_version": "99.1.0"}))
    with pytest.raises(ValueError, match="vl_expert' was saved by transformers 99.1.0.*>=99"):
        VLAPolicy.from_pretrained(tmp_path / "policy")


def test_a_policy_comes_from_the_hub_by_its_id(policy, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    policy.save_pretrained(tmp_path / "policy")
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path / "policy")

    monkeypatch.setattr(hub, "snapshot_download", download)
    found = VLAPolicy.from_pretrained("owner/policy", revision="v2")
    np.testing.assert_array_equal(act(found, observe("arm")), act(policy, observe("arm")))
    assert (asked["name"], asked["revision"]) == ("owner/policy", "v2")
    assert {"config.json", "vl_expert/*", "action_tokenizer/*"} <= set(asked["allow_patterns"])
    with pytest.raises(ValueError, match="neither a directory nor a hub id"):
        VLAPolicy.from_pretrained("nowhere")
