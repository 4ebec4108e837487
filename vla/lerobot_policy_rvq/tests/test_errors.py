"""What does not fit is refused before the first step, in words that name it."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy

from tests.test_readme import MOTORS
from vla.lerobot_policy_rvq.tests import robots
from vla.lerobot_policy_rvq.tests.robots import CAMERA, FRAMES, PICTURE, STATE, WIDE, batch, config

FEATURES = {"observation.state": STATE, CAMERA: PICTURE}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chunk_size": 129}, "chunk_size must be 2 to 128 frames.*got 129"),
        ({"chunk_size": 1}, "chunk_size must be 2 to 128 frames.*got 1"),
        ({"chunk_size": 10, "n_action_steps": 11}, r"n_action_steps.*chunk_size \(10\).*got 11"),
        ({"n_action_steps": 0}, "n_action_steps"),
        ({"embodiment": "koch"}, "no statistics of the robot 'koch'.*so101"),
        ({"base_policy": "somewhere"}, "give one of them"),
        ({"dtype": "float16"}, "float32 or bfloat16"),
        ({"flow_draws": 0}, "flow_draws"),
        ({"denoise_steps": 0}, "denoise_steps must be at least 1, got 0"),
        ({"denoise_steps": -3}, "denoise_steps must be at least 1, got -3"),
        ({"fps": 0}, "fps must be a positive number, got 0"),
    ],
)
def test_options_are_checked_as_they_are_read(tokenizer, changes, words):
    with pytest.raises(ValueError, match=words):
        config(tokenizer, **changes)


def test_a_chunk_lasts_as_long_at_a_rate_of_ones_own(tokenizer):
    assert config(tokenizer).chunk_size == FRAMES
    assert config(tokenizer, fps=FRAMES / 2).chunk_size == FRAMES // 2
    assert config(tokenizer, fps=FRAMES / 2, chunk_size=20).chunk_size == 20


def test_without_a_tokenizer_the_options_say_what_to_give(tokenizer):
    with pytest.raises(ValueError, match="--policy.action_tokenizer_name"):
        len(config(tokenizer, action_tokenizer_name=None).action_delta_indices)


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("observation.state", PolicyFeature(FeatureType.STATE, (7,))),
        ("observation.state", None),
    ],
)
def test_a_state_of_another_shape_is_refused(tokenizer, name, feature):
    features = {**FEATURES, name: feature}
    given = {k: v for k, v in features.items() if v is not None}
    with pytest.raises(ValueError, match="observation.state' of 6 numbers.*(7|missing)"):
        RvqVlaPolicy(config(tokenizer, input_features=given))


def test_actions_of_another_shape_are_refused(tokenizer):
    wide = {"action": PolicyFeature(FeatureType.ACTION, (14,))}
    with pytest.raises(ValueError, match=r"'action' of 6 numbers.*\[14\]"):
        RvqVlaPolicy(config(tokenizer, output_features=wide))


def test_a_missing_camera_is_named(tokenizer, tmp_path):
    RvqVlaPolicy(config(tokenizer)).policy.save_pretrained(tmp_path / "policy")
    other = {"observation.state": STATE, "observation.images.wrist": PICTURE}
    given = {"action_tokenizer_name": None, "base_policy": str(tmp_path / "policy")}
    with pytest.raises(ValueError, match=r"\['front'\] are missing.*wrist.*rename_map"):
        RvqVlaPolicy(config(tokenizer, input_features=other, **given))
    policy = RvqVlaPolicy(config(tokenizer))
    lacking = {k: v for k, v in batch().items() if k != CAMERA}
    with pytest.raises(ValueError, match="'front'.*missing"):
        policy.predict_action_chunk(lacking)


def test_numbers_in_another_order_are_refused(tokenizer):
    turned = {"names": [*reversed(MOTORS)], "shape": (6,)}
    features = {"action": turned, "observation.state": {"names": list(MOTORS)}}
    meta = SimpleNamespace(robot_type="so101_follower", fps=30, features=features)
    with pytest.raises(ValueError, match="another order"):
        RvqVlaPolicy(config(tokenizer), dataset_meta=meta)


def test_missing_statistics_are_an_error_not_a_zero(tokenizer, tmp_path):
    broken = tmp_path / "tokenizer"
    shutil.copytree(tokenizer, broken)
    (broken / "statistics.json").unlink()
    with pytest.raises(ValueError, match="statistics.json"):
        config(broken)


def test_a_row_without_an_instruction_is_refused(tokenizer):
    policy = RvqVlaPolicy(config(tokenizer))
    with pytest.raises(ValueError, match="instruction under 'task'"):
        policy.predict_action_chunk({**batch(), "task": ["", "", ""]})
    assert WIDE.shape == (6,)


def test_lerobot_train_says_it_before_the_first_step(run, demos, tokens, tmp_path):
    """The real program: a tokenizer of another robot, and one frame too many."""
    there = [
        *("--policy.type=rvq_vla", "--policy.shape=mini", "--policy.push_to_hub=false"),
        *("--policy.device=cpu", f"--dataset.root={demos}", "--dataset.repo_id=local/demos"),
        *(f"--output_dir={tmp_path / 'out'}", "--num_workers=0"),
    ]
    other = robots.save_tokenizer(tmp_path / "other")
    done = run("lerobot-train", *there, f"--policy.action_tokenizer_name={other}", fails=True)
    assert "of 6 numbers" in done.stderr and "step:1" not in done.stderr
    named = f"--policy.action_tokenizer_name={tokens}"
    done = run("lerobot-train", *there, named, "--policy.n_action_steps=21", fails=True)
    assert "n_action_steps must be 1 to chunk_size (20)" in done.stderr
    done = run("lerobot-train", *there, "--env.type=rvq_sawyer", "--env.task=fly-v3", fails=True)
    assert "Meta-World has no task 'fly-v3'" in done.stderr
