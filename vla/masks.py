"""Who sees whom in the joint attention.

Rows look, columns are looked at; `#` = visible. Prompt of three tokens, two action tokens, two flow
slots:

               prompt   action  flow
             p0 p1 p2   a0 a1   f0 f1
        p0    #
        p1    #  #
        p2    #  #  #
        a0    #  #  #   #
        a1    #  #  #   #  #
        f0    #  #  #           #  #
        f1    #  #  #           #  #

The VL Expert is causal, prompt and action tokens alike, and never sees the flow. Flow slots see the
prompt and one another, whichever came first, but no action token: the two ways to act are learnt
beside each other, and each works without the other. Padding and frames without a real channel are
seen by nobody but themselves, which keeps their rows of the softmax finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vla.tokens import TokenType


def vl_mask(types: Tensor) -> Tensor:
    """The upper rows, bool [B, L, L], True = visible: what tokens see, which is no flow slot.

    Args:
        types: int64 [B, L], TokenType of the VL Expert's tokens.
    """
    length = types.shape[1]
    real = types != TokenType.PADDING
    causal = torch.ones(length, length, dtype=torch.bool, device=types.device).tril()
    seen = causal & real[:, None, :] & real[:, :, None]
    return _with_self(seen)


def flow_mask(types: Tensor, slots: Tensor, draws: int = 1) -> Tensor:
    """The lower rows, bool [B, T, L+T]: what flow slots see.

    Args:
        types: As above.
        slots: bool [B, T], True = a flow slot that is there.
        draws: Parts of the slots, one behind the other, that do not see one another.
    """
    prompt = (types != TokenType.PADDING) & (types != TokenType.ACTION)
    to_prompt = slots[:, :, None] & prompt[:, None, :]
    part = torch.arange(slots.shape[1], device=slots.device) // max(1, slots.shape[1] // draws)
    together = part[:, None] == part[None, :]
    to_flow = _with_self(slots[:, :, None] & slots[:, None, :] & together)
    return torch.cat([to_prompt, to_flow], dim=-1)


def _with_self(square: Tensor) -> Tensor:
    return square | torch.eye(square.shape[-1], dtype=torch.bool, device=square.device)
