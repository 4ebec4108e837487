"""Positions and the angles that come of them."""

from types import SimpleNamespace

import pytest
import torch

from vla.backbone import packaged_shape
from vla.positions import locate
from vla.rotary import RotarySettings
from vla.tokens import TokenType

SETTINGS = RotarySettings(head_dim=8, theta=100.0, sections=(1, 1, 2))
TEXT, IMAGE, ACTION = TokenType.TEXT, TokenType.IMAGE, TokenType.ACTION


def test_equal_positions_are_plain_rotary_embedding():
    position = torch.arange(5)
    rotary = SETTINGS.at(position.expand(3, 1, -1), torch.float64)
    x = torch.randn(1, 1, 5, 8, dtype=torch.float64)
    angle = position[:, None] * 100.0 ** -(torch.arange(0, 8, 2) / 8)
    pairs = torch.complex(x[0, 0, :, :4], x[0, 0, :, 4:]) * torch.polar(
        torch.ones_like(angle.double()), angle.double()
    )
    expected = torch.cat([pairs.real, pairs.imag], dim=-1)
    torch.testing.assert_close(rotary.turn(x)[0, 0], expected, atol=1e-6, rtol=1e-6)


def test_attention_depends_on_distances_only():
    query, key = torch.randn(2, 1, 1, 1, 8)

    def score(at: list[int], other: list[int]) -> torch.Tensor:
        places = (torch.tensor(p).view(3, 1, 1) for p in (at, other))
        turned = [SETTINGS.at(p, torch.float32) for p in places]
        return (turned[0].turn(query) * turned[1].turn(key)).sum()

    near = score([5, 7, 9], [2, 3, 4])
    torch.testing.assert_close(near, score([15, 27, 39], [12, 23, 34]), atol=1e-5, rtol=1e-5)
    assert (near - score([5, 7, 10], [2, 3, 4])).abs() > 1e-4


def test_each_section_turns_with_its_own_axis():
    moved = torch.eye(3, dtype=torch.int64)[:, :, None]
    turned = [SETTINGS.at(moved[axis].unsqueeze(-1), torch.float32).sin for axis in range(3)]
    changed = [set((t[0, 0, 0, :4] != 0).nonzero().flatten().tolist()) for t in turned]
    assert changed == [{0}, {1}, {2, 3}]


def test_a_shape_of_both_versions_of_transformers_is_understood():
    found = RotarySettings.of(packaged_shape("qwen2.5-vl-3b").text_config)
    assert found == RotarySettings(128, 1e6, (16, 24, 24))
    older = SimpleNamespace(
        hidden_size=32,
        num_attention_heads=4,
        rope_theta=1e4,
        rope_scaling={"type": "mrope", "rope_type": "default", "mrope_section": [1, 1, 2]},
    )
    assert RotarySettings.of(older) == RotarySettings(8, 1e4, (1, 1, 2))
    older.rope_scaling["mrope_section"] = [1, 1, 1]
    with pytest.raises(ValueError, match="heads of 8 channels"):
        RotarySettings.of(older)


def test_the_drawing_of_positions():
    """Two words, a picture of 2 x 3 tokens, a word, three action tokens, two slots."""
    types = torch.tensor([TEXT] * 2 + [IMAGE] * 6 + [TEXT] + [ACTION] * 3)
    found = locate(types, torch.tensor([[1, 4, 6]]), merge=2, horizon=2)
    time = [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 8]
    height = [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 8]
    width = [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8]
    assert found.tokens.tolist() == [time, height, width]
    assert found.slots.tolist() == [[6, 7]] * 3


def test_flow_slots_do_not_move_when_the_action_tokens_are_left_out():
    types = torch.tensor([TEXT] * 4 + [ACTION] * 3)
    none = torch.zeros(0, 3, dtype=torch.int64)
    with_tokens, without = locate(types, none, 2, 5), locate(types[:4], none, 2, 5)
    assert with_tokens.slots.tolist() == without.slots.tolist()


def test_two_pictures_side_by_side():
    types = torch.tensor([IMAGE] * 5)
    found = locate(types, torch.tensor([[1, 2, 2], [1, 4, 4]]), merge=2, horizon=1)
    assert found.tokens[0].tolist() == [0, 1, 1, 1, 1] and found.slots[0].tolist() == [3]
