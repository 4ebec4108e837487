"""A policy that goes on learning, for its own tokenizer or for another one of the same shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rvq_action import ActionTokenizer
from tests.rvq_action.robots import ARM, arm_chunk, fit
from tests.tokenizer_training.features.conftest import write as write_two_cameras
from vla.config import VLAConfig
from vla.policy import VLAPolicy
from vla.training.start import ShapeSettings, start_policy

SHORT = ("--trainer.max_steps", "2", "--validation.windows", "0")


def test_a_policy_goes_on_from_where_it_was(run, recordings):
    first = run(*SHORT)
    shape = ShapeSettings(stop_gradient=True)
    policy = start_policy(shape, None, str(first / "policy"), [str(recordings)], None, 0)
    before = VLAPolicy.from_pretrained(first / "policy").model.state_dict()
    for name, weight in policy.model.state_dict().items():
        assert torch.equal(weight, before[name])
    assert all(layer.stop_gradient for layer in policy.model.mot.layers)
    assert policy.model.config.committed_frames == 3, "as it was trained"
    shape = ShapeSettings(committed_frames=5)
    longer = start_policy(shape, None, str(first / "policy"), [str(recordings)], None, 0)
    assert longer.config.committed_frames == longer.model.config.committed_frames == 5
    second = run(*SHORT, "--policy", str(first / "policy"), name="second")
    after = VLAPolicy.from_pretrained(second / "policy").model.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in after)


def test_a_new_robot_comes_with_a_tokenizer_of_its_own(run, tokenizer, recordings, tmp_path):
    """Other statistics, the same numbers of channels, slots, levels and codes."""
    first = run(*SHORT)
    known = tokenizer.embodiments["test_arm"]
    twice = replace(known.statistics.actions, q99=[2 * q for q in known.statistics.actions.q99])
    other = replace(known, statistics=replace(known.statistics, actions=twice))
    ActionTokenizer(tokenizer.model, {"test_arm": other}, tokenizer.metadata).save_pretrained(
        tmp_path / "other"
    )
    told = str(tmp_path / "other"), str(first / "policy"), [str(recordings)], None, 0
    policy = start_policy(ShapeSettings(), *told)
    found = policy.tokenizer.embodiments["test_arm"].statistics.actions.q99
    assert list(found) == pytest.approx(list(twice.q99))
    assert policy.samples.tokenizer is policy.tokenizer


def test_what_a_policy_has_no_place_for_is_refused(run, recordings, tmp_path):
    first = run(*SHORT)
    fit({"arm": (ARM, arm_chunk(512))}).save_pretrained(tmp_path / "wider")
    told = str(first / "policy"), [str(recordings)], None, 0
    with pytest.raises(ValueError, match="action_width: 3 there, 4 here"):
        start_policy(ShapeSettings(), str(tmp_path / "wider"), *told)
    with pytest.raises(ValueError, match="image_size 56; what it sees cannot be changed"):
        start_policy(ShapeSettings(image_size=84), None, *told)
    with pytest.raises(ValueError, match="Which action tokenizer"):
        start_policy(ShapeSettings(), None, None, [str(recordings)], None, 0)


@pytest.fixture
def looks_through(tokenizer, tmp_path):
    """The folder of a policy whose robot has these cameras."""

    def save(*cameras: str) -> str:
        config = VLAConfig.tiny().for_tokenizer(tokenizer, {"test_arm": cameras})
        VLAPolicy.start(config, tokenizer).save_pretrained(tmp_path / "policy")
        return str(tmp_path / "policy")

    return save


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        (("wrist",), (), ("wrist",)),
        (("wrist", "head"), (), ("wrist", "head")),
        (("wrist",), ("head", "wrist"), ("head", "wrist")),
        ((), (), ("head", "wrist")),
    ],
)
def test_a_policy_goes_on_seeing_what_it_saw(looks_through, tmp_path, before, told, after):
    """Whatever other cameras a dataset has, and in whatever order, unless it is told others."""
    data = [str(write_two_cameras(tmp_path / "stripes"))]
    shape = ShapeSettings(cameras=told)
    policy = start_policy(shape, None, looks_through(*before), data, None, 0)
    assert policy.config.cameras == {"test_arm": after}


def test_a_camera_that_the_policy_saw_and_a_dataset_lacks_is_named(looks_through, tmp_path):
    data = [str(write_two_cameras(tmp_path / "stripes"))]
    message = r"no camera \['front'\].*looked through \['front', 'head'\].*--vla.cameras NAME"
    with pytest.raises(ValueError, match=message):
        start_policy(ShapeSettings(), None, looks_through("front", "head"), data, None, 0)


def test_cameras_that_go_unseen_are_said(looks_through, tmp_path, caplog):
    data = [str(write_two_cameras(tmp_path / "stripes"))]
    with caplog.at_level("INFO"):
        start_policy(ShapeSettings(), None, looks_through("wrist"), data, None, 0)
    assert "stripes: left out ['head']" in caplog.text and "--vla.cameras" in caplog.text
