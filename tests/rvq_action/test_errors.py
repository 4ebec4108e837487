"""Every refusal names the thing and the way out; and the public surface is what it says."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch

import rvq_action
from rvq_action import ActionChunk, ActionTokenizer
from tests.rvq_action.robots import arm_chunk

CHUNK = arm_chunk(4)
ROBOT = {"proprio": CHUNK.anchor, "embodiment": "arm"}


def refuses(call, match: str, error: type[Exception] = ValueError, **arguments) -> None:
    with pytest.raises(error, match=match):
        call(**arguments)


def changed(tensor: torch.Tensor, place: tuple[int, ...], value: float) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


class TestEncode:
    @pytest.fixture
    def encode(self, closed_form):
        def call(**arguments):
            return closed_form.encode(**{"actions": CHUNK.actions, **ROBOT, **arguments})

        return call

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_not_finite(self, encode, value):
        actions = changed(CHUNK.actions, (2, 5, 1), value)
        refuses(encode, r"actions\[2, 5, 'joint_1'\] is not finite.*mask", actions=actions)

    @pytest.mark.parametrize("shape", [(4, 20, 3), (4, 20, 27), (20, 4, 20), (20, 4), (4,)])
    def test_wrong_shape(self, encode, shape):
        refuses(
            encode,
            r"actions must be \[B, T, 4\].*'arm_with_gripper'.*gripper.*got \[",
            actions=torch.zeros(shape),
        )

    def test_one_chunk_without_a_batch(self, encode, closed_form):
        refuses(encode, r"one: actions\[None\]", actions=CHUNK.actions[0])
        refuses(encode, r"one: proprio\[None\]", proprio=CHUNK.anchor[0])
        codes = encode()
        robot = {"embodiment": "arm", "horizon": 20}
        refuses(closed_form.decode, r"one: codes\[None\]", codes=codes[0], **robot)
        vocabulary = closed_form.vocabulary
        refuses(vocabulary.to_ids, r"one: codes\[None\]", codes=codes[0])
        refuses(vocabulary.to_codes, r"one: ids\[None\]", ids=vocabulary.to_ids(codes)[0])

    @pytest.mark.parametrize("horizon", [0, 1, 129])
    def test_wrong_horizon(self, encode, horizon):
        refuses(encode, rf"{horizon} frames.*2\.\.128", actions=torch.zeros(4, horizon, 4))

    def test_unknown_embodiment(self, encode):
        refuses(encode, r"'leg'.*\['arm', 'wall'\]", KeyError, embodiment="leg")

    def test_unnamed_embodiment(self, encode):
        refuses(encode, r"which embodiment.*\['arm', 'wall'\]", embodiment=None)

    def test_missing_anchor(self, encode):
        refuses(
            encode, r"relative to the proprio anchor: give proprio.*relative=True", proprio=None
        )

    def test_partly_missing_anchor(self, encode):
        proprio = changed(CHUNK.anchor, (1, 2), float("nan"))
        refuses(encode, r"NaN for \['joint_2'\]", proprio=proprio)

    def test_infinite_anchor(self, encode):
        where = r"proprio\[1, 'joint_2'\] is infinite"
        refuses(encode, where, proprio=changed(CHUNK.anchor, (1, 2), float("inf")))

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("hello", "str: 'hello'"),
            ({"a": 1}, "dict: {'a': 1}"),
            ([[1.0], [1.0, 2.0]], r"list: \[\[1.0\], \[1.0, 2.0\]\]"),
            (np.array(["a", None]), "ndarray of object: array"),
        ],
    )
    @pytest.mark.parametrize("what", ["actions", "proprio", "mask"])
    def test_what_is_no_array(self, encode, what, value, shown):
        match = f"{what} must be an array or tensor of numbers, got {shown}"
        refuses(encode, match, **{what: value})

    @pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 1, 4), (3, 4)])
    def test_anchor_of_another_shape(self, encode, shape):
        refuses(
            encode, r"proprio (must be \[B, 4\]|holds 3 rows for 4)", proprio=torch.zeros(shape)
        )

    @pytest.mark.parametrize("fps", [0, -30, float("nan"), float("inf"), "30", True])
    def test_impossible_rate(self, encode, fps):
        refuses(encode, rf"fps must be a positive number.*{fps}", fps=fps)

    @pytest.mark.parametrize("tolerance", [0, -1e-3, float("nan"), float("inf"), "1e-3"])
    def test_impossible_tolerance(self, encode, tolerance):
        refuses(encode, rf"tolerance must be a positive.*{tolerance}", tolerance=tolerance)

    @pytest.mark.parametrize(
        ("tolerance", "match"),
        [
            ({}, "names no channel group"),
            ({"elbow": 0.1}, r"'elbow', but layout 'arm_with_gripper' has .*position \[rad\]"),
            ({"position": -1}, r"tolerance\['position'\] must be a positive number of rad, got -1"),
            ({"scored": 0}, r"tolerance\['scored'\] must be .* error in scored space, got 0"),
            ({"scored": math.nan, "position": 1}, r"tolerance\['scored'\] must be .*got nan"),
            ({"scored": "1e-3"}, r"tolerance\['scored'\] must be a positive.*got '1e-3'"),
            (
                {"scored": 1, "elbow": 0.1},
                r"'elbow', but layout .*'scored' for the error in scored",
            ),
        ],
    )
    def test_impossible_tolerance_by_group(self, encode, tolerance, match):
        refuses(encode, match, tolerance=tolerance)

    @pytest.mark.parametrize("count", [-1, 19, 2.0, "3", True])
    def test_impossible_number_of_tokens(self, encode, count):
        refuses(encode, rf"max_tokens must be a whole number, 0\.\.18, .*{count}", max_tokens=count)

    @pytest.mark.parametrize("beam", [0, 1.5])
    def test_impossible_beam(self, encode, beam):
        refuses(encode, rf"beam must be a whole number, 1 or more, got {beam}", beam=beam)

    @pytest.mark.parametrize("mask", [torch.ones(4, 20, 4), torch.ones(4, 19, 1).bool()])
    def test_no_mask(self, encode, mask):
        refuses(encode, r"mask must be bool and broadcast to \[4, 20, 4\]", mask=mask)

    def test_unknown_condition(self, encode):
        refuses(encode, r"not \['proprio'\]", condition_on=("proprio",))


class TestDecode:
    @pytest.fixture
    def codes(self, closed_form):
        return closed_form.encode(CHUNK.actions, **ROBOT)

    @pytest.fixture
    def decode(self, closed_form, codes):
        def call(**arguments):
            return closed_form.decode(**{"codes": codes, "horizon": 20, **ROBOT, **arguments})

        return call

    def test_floats(self, decode, codes):
        refuses(decode, "codes must be integers.*float32", codes=codes.float())
        refuses(decode, "codes must be integers.*bool", codes=codes.numpy() > 3)

    @pytest.mark.parametrize("code", [64, -2, 2**40])
    def test_foreign_code(self, decode, codes, code):
        foreign = changed(codes, (0, 1, 2), code)
        refuses(decode, rf"0\.\.63, got .*{code}.*another tokenizer", codes=foreign)

    @pytest.mark.parametrize("shape", [(4, 6), (4, 5, 3), (4, 6, 4), (4, 6, 0)])
    def test_codes_of_another_shape(self, decode, shape):
        codes = np.zeros(shape, np.int64)
        refuses(decode, r"codes must be \[B, 6, k\] with 1 <= k <= 3", codes=codes)

    @pytest.mark.parametrize("horizon", [0, 1, 129])
    def test_wrong_horizon(self, decode, horizon):
        refuses(decode, rf"{horizon} frames.*2\.\.128", horizon=horizon)

    @pytest.mark.parametrize("horizon", [20.0, "20", None])
    def test_horizon_that_is_no_whole_number(self, decode, horizon):
        refuses(decode, "horizon must be a whole number of frames", horizon=horizon)

    def test_missing_anchor(self, decode):
        refuses(decode, r"give proprio.*relative=True", proprio=None)

    def test_anchor_of_another_batch(self, decode):
        refuses(decode, "3 rows for 4 chunks", proprio=torch.zeros(3, 4))

    @pytest.mark.parametrize("length", [-1, 19])
    def test_impossible_prefix(self, closed_form, codes, length):
        refuses(closed_form.prefix, r"0\.\.18 tokens", codes=codes, length=length)


class TestChunk:
    def chunk(self, **changes):
        fields = {name: getattr(CHUNK, name) for name in CHUNK.__dataclass_fields__}
        return ActionChunk(**{**fields, **changes})

    @pytest.mark.parametrize(
        ("field", "value", "match"),
        [
            ("actions", torch.zeros(20, 4), r"\[B, T, D\]"),
            ("mask", torch.ones(4, 20, 4), r"mask must be bool.*float32"),
            ("mask", torch.ones(4, 20, 3, dtype=torch.bool), r"mask must be bool"),
            ("anchor", None, "together"),
            ("anchor", torch.zeros(4, 3), r"must be \[4, 4\]"),
            ("anchor_mask", torch.ones(4, 4), r"bool.*float32"),
            ("fps", 0, "positive"),
        ],
    )
    def test_a_chunk_that_is_none(self, field, value, match):
        refuses(self.chunk, match, **{field: value})

    def test_a_chunk_has_a_size(self):
        assert len(self.chunk()) == 4 and self.chunk().horizon == 20


class TestPublicSurface:
    def test_version(self):
        assert rvq_action.__version__ == version("rvq-action") and "__version__" in dir(rvq_action)
        with pytest.raises(AttributeError, match="no attribute 'Tokenizer'"):
            assert rvq_action.Tokenizer

    def test_names(self):
        assert sorted(rvq_action.__all__) == [
            "ActionChunk",
            "ActionLayout",
            "ActionTokenizer",
            "ActionVocabulary",
            "Channel",
            "DeltaRule",
            "OutOfDistributionWarning",
            "OutOfRangeWarning",
            "ToleranceWarning",
            "WALL_26",
            "joint_space",
        ]

    @pytest.mark.parametrize(
        ("method", "positional", "by_name"),
        [
            (
                "encode",
                ["actions", "proprio", "embodiment", "fps"],
                ["mask", "relative", "tolerance", "max_tokens", "beam", "condition_on"],
            ),
            (
                "fidelity",
                ["actions", "codes", "proprio", "embodiment", "fps"],
                ["mask", "relative", "condition_on"],
            ),
            ("score", ["actions", "proprio", "embodiment", "fps"], ["mask", "relative"]),
            (
                "decode",
                ["codes", "horizon", "proprio", "embodiment", "fps"],
                ["relative", "condition_on"],
            ),
            ("prefix", ["codes", "length"], []),
            ("save_pretrained", ["path"], []),
            ("push_to_hub", ["repo_id", "private"], []),
        ],
    )
    def test_signatures(self, method, positional, by_name):
        parameters = list(inspect.signature(getattr(ActionTokenizer, method)).parameters.values())
        assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][1:] == positional
        assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == by_name

    def test_attributes(self, closed_form):
        state = {"model", "embodiments", "metadata", "config", "device", "vocabulary"}
        code = {"tokens_per_chunk", "bits_per_token", "token_order", "layout", "from_pretrained"}
        data = {"mapping", "seconds"}
        assert state | code | data <= set(dir(closed_form))

    def test_it_introduces_itself_in_a_line(self, closed_form):
        known = replace(closed_form, metadata={"seconds": 0.5, "steps": 300})
        assert repr(known) == (
            "ActionTokenizer(arm 20 Hz, wall 10 Hz, 0.5 s: 18 tokens of 6 bits, 300 training steps)"
        )
        assert "20 Hz, wall 10 Hz: 18 tokens" in repr(closed_form)
