"""What callers hand to `ActionTokenizer`, checked and turned into tensors on its device.

Every refusal names the value, what was expected and the way out.
"""

from __future__ import annotations

import math
import operator
import reprlib
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import check_horizon
from rvq_action.config import TokenizerConfig
from rvq_action.layout import ActionLayout
from rvq_action.vocabulary import ABSENT, batch_hint

AnyArray = np.ndarray | Tensor


def read_actions(
    value: AnyArray, mask: AnyArray | None, layout: ActionLayout, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Actions [B, T, D] -> float32 with masked entries 0, and their bool mask [B, T, D].

    Raises:
        ValueError: A wrong shape, a mask that is none, a real entry that is not finite.
    """
    actions = _read(value, device, "actions", ("B", "T"), layout)
    real = _read_mask(mask, actions)
    if mask is not None:
        actions = torch.where(real, actions, 0.0)
    if not _is_finite(actions) and not actions.isfinite().all():
        row, frame, channel = (~actions.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"actions[{row}, {frame}, {layout.names[channel]!r}] is not finite. Mask it "
            "(mask=...) or drop the chunk."
        )
    return actions, real


def read_anchor(
    value: AnyArray | None, layout: ActionLayout, required: Tensor, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Proprio [B, D], NaN where unknown -> float32 with 0 there, and bool [B, D] True = known.

    Args:
        value: What the caller gave.
        layout: Of the robot.
        required: bool [B, D], entries that actions are relative to.
        device: Where to.

    Raises:
        ValueError: A wrong shape, infinite values, a required entry that is missing.
    """
    if value is None:
        if required.any():
            raise ValueError(
                f"Layout {layout.name!r} is relative to the proprio anchor: give proprio=[B, D], "
                "the robot's state just before the chunk, or relative=True for actions that are "
                "relative already."
            )
        return None, None
    anchor = _read(value, device, "proprio", ("B",), layout)
    if len(anchor) != len(required):
        raise ValueError(f"proprio holds {len(anchor)} rows for {len(required)} chunks.")
    if _is_finite(anchor):
        return anchor, torch.ones_like(anchor, dtype=torch.bool)
    known = anchor == anchor
    if not torch.equal(required & known, required):
        missing = (required & ~known).any(0).nonzero().flatten()
        names = [layout.names[i] for i in missing.tolist()]
        raise ValueError(
            f"proprio is NaN for {names}, which actions are relative to. Give the robot's state "
            "there, or relative=True."
        )
    anchor = torch.where(known, anchor, 0.0)
    if not _is_finite(anchor) and not anchor.isfinite().all():
        row, channel = (~anchor.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"proprio[{row}, {layout.names[channel]!r}] is infinite. Check the robot's state, or "
            "give NaN where it is unknown."
        )
    return anchor, known


def read_horizon(value: Any) -> int:
    """The number of frames to decode.

    Raises:
        ValueError: It is no whole number, or outside 2..128.
    """
    try:
        horizon = operator.index(value)
    except TypeError as error:
        raise ValueError(f"horizon must be a whole number of frames, got {value!r}.") from error
    check_horizon(horizon)
    return horizon


def read_rate(value: Any) -> float:
    """Frames per second.

    Raises:
        ValueError: It is no positive number.
    """
    return read_positive(value, "fps", "a positive number of frames per second")


def read_count(value: Any, name: str, least: int, most: int | None = None) -> int:
    """A whole number of at least `least` and at most `most`.

    Raises:
        ValueError: It is none.
    """
    allowed = f"{least} or more" if most is None else f"{least}..{most}"
    try:
        count = operator.index(value)
    except TypeError as error:
        raise ValueError(f"{name} must be a whole number, {allowed}, got {value!r}.") from error
    if isinstance(value, bool) or count < least or (most is not None and count > most):
        raise ValueError(f"{name} must be a whole number, {allowed}, got {value!r}.")
    return count


def read_positive(value: Any, name: str, meaning: str) -> float:
    """A number above 0.

    Raises:
        ValueError: It is none, or not finite.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ValueError(f"{name} must be {meaning}, got {value!r}.")
    return float(value)


def read_codes(value: AnyArray, config: TokenizerConfig, path: int, device: torch.device) -> Tensor:
    """Integers [B, s, k] of a robot whose linear path fills s slots, with k <= K -> int64.

    Raises:
        ValueError: They are no codes of this tokenizer.
    """
    codes = _tensor(value, device, "codes")
    slots, levels = config.path_slots[path], config.num_quantizers
    if codes.dtype.is_floating_point or codes.dtype.is_complex or codes.dtype == torch.bool:
        raise ValueError(f"codes must be integers as encode returns them, got {codes.dtype}.")
    if codes.ndim != 3 or codes.shape[1] != slots or not 1 <= codes.shape[2] <= levels:
        raise ValueError(
            f"codes must be [B, {slots}, k] with 1 <= k <= {levels}, got {list(codes.shape)}. "
            f"They may come from another tokenizer, or robot.{batch_hint('codes', codes, 3)}"
        )
    codes = codes.long()
    low, high = map(int, codes.aminmax()) if codes.numel() else (0, 0)
    if low < ABSENT or high >= config.codebook_size:
        raise ValueError(
            f"codes must be {ABSENT} (absent) or 0..{config.codebook_size - 1}, got "
            f"{low}..{high}. They may come from another tokenizer."
        )
    return codes


def _read(
    value: AnyArray,
    device: torch.device,
    what: str,
    leading: tuple[str, ...],
    layout: ActionLayout,
) -> Tensor:
    tensor = _tensor(value, device, what)
    if tensor.ndim != len(leading) + 1 or tensor.shape[-1] != layout.width:
        form = ", ".join((*leading, str(layout.width)))
        raise ValueError(
            f"{what} must be [{form}] with the channels of layout {layout.name!r} "
            f"({', '.join(layout.names)}), got {list(tensor.shape)}."
            f"{batch_hint(what, tensor, len(leading) + 1)}"
        )
    return tensor.float()


def _is_finite(tensor: Tensor) -> bool:
    """Whether all entries are finite, by their sum: one pass; finite numbers may also say no."""
    return math.isfinite(tensor.sum())


def _read_mask(mask: AnyArray | None, actions: Tensor) -> Tensor:
    if mask is None:
        return torch.ones_like(actions, dtype=torch.bool)
    real = _tensor(mask, actions.device, "mask")
    fits = real.ndim <= 3 and all(
        size in (1, whole)
        for size, whole in zip(real.shape[::-1], actions.shape[::-1], strict=False)
    )
    if real.dtype != torch.bool or not fits:
        raise ValueError(
            f"mask must be bool and broadcast to {list(actions.shape)} (True = real), got "
            f"{real.dtype} {list(real.shape)}."
        )
    return real.expand_as(actions)


def _tensor(value: AnyArray, device: torch.device, what: str) -> Tensor:
    """As a tensor; arrays that torch cannot share (read-only, reversed) are copied."""
    if isinstance(value, Tensor):
        return value.to(device)
    try:
        array = np.array(value, order="C") if isinstance(value, np.ndarray) else value
        tensor = torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
        raise ValueError(
            f"{what} must be an array or tensor of numbers, got {type(value).__name__}{kind}: "
            f"{' '.join(reprlib.repr(value).split())}."
        ) from error
    return tensor.to(device)
