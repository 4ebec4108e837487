"""Who sees whom, against matrices drawn by hand."""

import torch

from vla.masks import flow_mask, vl_mask
from vla.tokens import TokenType

T, I, P, A, O = (  # noqa: E741
    *(TokenType.TEXT, TokenType.IMAGE, TokenType.PROPRIO, TokenType.ACTION),
    TokenType.PADDING,
)


def drawn(text: str) -> torch.Tensor:
    return torch.tensor([[c == "#" for c in row.split()] for row in text.strip().splitlines()])


def mask(types: list[int], slots: list[int]) -> torch.Tensor:
    """bool [L+T, L+T]: tokens see no flow slot."""
    tokens, there = torch.tensor([types]), torch.tensor([slots], dtype=torch.bool)
    upper = torch.nn.functional.pad(vl_mask(tokens)[0], (0, len(slots)))
    return torch.cat([upper, flow_mask(tokens, there)[0]])


def test_prompt_action_tokens_and_flow():
    expected = drawn("""
        # . . . . . .
        # # . . . . .
        # # # . . . .
        # # # # . . .
        # # # # # . .
        # # # . . # #
        # # # . . # #
    """)
    torch.testing.assert_close(mask([T, I, P, A, A], [1, 1]), expected)


def test_padding_on_the_right_and_an_absent_slot():
    expected = drawn("""
        # . . . . .
        # # . . . .
        # # # . . .
        . . . # . .
        # # . . # .
        . . . . . #
    """)
    torch.testing.assert_close(mask([T, T, A, O], [1, 0]), expected)


def test_padding_on_the_left():
    expected = drawn("""
        # . . . .
        . # . . .
        . # # . .
        . # # # .
        . # # . #
    """)
    torch.testing.assert_close(mask([O, T, T, A], [1]), expected)


def test_a_sample_without_a_robot():
    expected = drawn("""
        # . . .
        # # . .
        . . # .
        . . . #
    """)
    torch.testing.assert_close(mask([T, T], [0, 0]), expected)


def test_draws_of_the_flow_do_not_see_one_another():
    """Two draws of two frames; the second frame is not there."""
    types = torch.tensor([[TokenType.TEXT, TokenType.ACTION]])
    slots = torch.tensor([[True, False, True, False]])
    found = flow_mask(types, slots, draws=2)[0].int().tolist()
    assert found == [
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
