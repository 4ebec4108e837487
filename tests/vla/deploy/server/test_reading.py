"""Messages against what a policy has declared."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.rvq_action.robots import ARM
from tests.vla.deploy.conftest import RATE
from tests.vla.deploy.server.conftest import SIDE, SPECIAL, FakeServed, sight
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.server.declaration import Declaration
from vla.deploy.server.reading import RequestReader
from vla.images import fit


def reader(real_time: bool = True, **more) -> RequestReader:
    declared = Declaration.of(FakeServed(real_time=real_time), "observation/state", 1 << 20)
    return RequestReader(declared, FakeServed().check)


def test_what_a_policy_wants_is_told_and_read_back():
    declared = reader().declaration
    told = declared.to_metadata()
    assert told["observation"]["observation/state"] == {
        "kind": "state",
        "shape": [4],
        "names": ["joint_0", "joint_1", "joint_2", "gripper"],
        "units": ["rad", "rad", "rad", "gripper"],
        "needed": ["joint_0", "joint_1", "joint_2"],
    }
    assert told["observation"]["observation/images/front"]["shape"] == [SIDE, SIDE, 3]
    assert (told["fps"], told["action_horizon"], told["real_time"]) == (RATE, 10, True)
    assert {"number", "seed", "committed", "delay"} == set(told["optional"])
    assert "committed" not in reader(real_time=False).declaration.to_metadata()["optional"]
    assert Declaration.from_metadata(told) == declared
    for strange, words in ((None, "None"), ({}, "None"), ({"protocol": "rvq-action/1"}, "damaged")):
        with pytest.raises(ValueError, match=words):
            Declaration.from_metadata(strange)


def test_cameras_have_keys_of_their_own():
    def declare(**cameras):
        about = PolicyDescription("arm", ARM, RATE, 10, cameras)
        return Declaration(about, SIDE, (), "one")

    keys = declare(front="observation/exterior_image_1_left", wrist="hand").to_metadata()
    assert {"observation/exterior_image_1_left", "observation/images/hand"} < set(
        keys["observation"]
    )
    with pytest.raises(ValueError, match=r"shared: \['observation/state'\]"):
        declare(front="observation/state")


def test_pictures_come_in_either_order_and_any_size():
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    seen = [
        reader().read(sight(front=shown), 0, 0.0).observation.images["front"]
        for shown in (picture, picture.transpose(2, 0, 1), fit(picture, SIDE))
    ]
    for image in seen:
        np.testing.assert_array_equal(image, fit(picture, SIDE))


def test_what_is_told_is_what_is_read():
    frames = np.arange(12.0).reshape(3, 4)
    message = sight(number=5, seed=9, committed=frames, delay=2)
    request = reader().read(message, 0, 1.5)
    assert (request.number, request.seed, request.instruction) == (5, 9, "wave")
    assert request.observation.proprio.dtype == np.float32 and request.observation.time == 1.5
    np.testing.assert_array_equal(request.committed.actions, frames)
    assert request.committed.delay == 2
    usual = reader().read(sight(state=np.array([0, 1, 2, np.nan])), 3, 0.0)
    assert (usual.number, usual.seed, usual.committed) == (3, None, None)
    assert np.isnan(usual.observation.proprio[3])
    assert reader().unknown(sight(front_2=1, seed=1)) == ["front_2"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"front": None}, r"lacks \['observation/images/front'\]; it has \['observation/state'"),
        ({"state": None, "prompt": None}, r"lacks \['observation/state', 'prompt'\]"),
        ({"front": np.zeros((SIDE, SIDE, 3))}, r"'observation/images/front' .* float64 \[16, 16"),
        ({"front": np.zeros((SIDE, 16), dtype=np.uint8)}, r"\[H, W, 3\] or .* got uint8 \[16, 16"),
        ({"front": np.zeros((0, 4, 3), dtype=np.uint8)}, r"got uint8 \[0, 4, 3\]"),
        ({"front": b"x"}, "got bytes"),
        ({"state": np.zeros(3)}, r"\[4\] numbers \(joint_0, .* got an array \[3\]"),
        ({"state": np.zeros((1, 4))}, r"got an array \[1, 4\]"),
        ({"state": [0.0, 1, 2, 3]}, "must be an array of numbers, got list"),
        ({"state": np.array(list("abcd"))}, "must be an array of numbers, got <U1"),
        ({"state": np.array([0, np.nan, 2, 0])}, r"NaN for \['joint_1'\], which the policy has to"),
        ({"state": np.array([0, 1, np.inf, 0])}, r"infinite for \['joint_2'\]"),
        ({"state": np.array([0, 1, 1e300, 0])}, r"infinite for \['joint_2'\]"),
        ({"prompt": "  "}, "says what to do, got '  '"),
        ({"prompt": 7}, "must be a text"),
        ({"prompt": "x" * 1001}, "has 1001 characters; at most 1000"),
        ({"prompt": f"wave{SPECIAL}"}, r"holds special tokens \['<|im_end|>'\]"),
        ({"number": -1}, "'number' must be a whole number from 0 on, got '-1'"),
        ({"number": 1.5}, "'number' must be a whole number"),
        ({"number": True}, "'number' must be a whole number"),
        ({"seed": 2**63}, "'seed' must be a whole number"),
        ({"committed": np.zeros((3, 4))}, "'committed' and 'delay' go together"),
        ({"delay": 1}, "'committed' and 'delay' go together"),
        ({"committed": np.zeros((3, 5)), "delay": 1}, r"must be \[n, 4\], got \[3, 5\]"),
        ({"committed": np.zeros((0, 4)), "delay": 0}, r"must be \[n, 4\], got \[0, 4\]"),
        ({"committed": np.zeros((3, 4)), "delay": 4}, "'delay' is 4, but 'committed' has 3"),
        ({"committed": np.full((3, 4), np.nan), "delay": 1}, "not finite"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    with pytest.raises(ValueError) as caught:
        reader().read(sight(**change), 0, 0.0)
    assert re.search(words, str(caught.value)), caught.value


def test_what_is_no_map_and_what_the_policy_cannot_do():
    with pytest.raises(ValueError, match="is a map, got list"):
        reader().read([1], 0, 0.0)
    with pytest.raises(ValueError, match="cannot go on from 'committed'"):
        reader(False).read(sight(committed=np.zeros((3, 4)), delay=1), 0, 0.0)
