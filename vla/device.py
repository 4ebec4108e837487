"""Where a network is to be: read from a word, and refused where there is no such place."""

from __future__ import annotations

import torch


def read_device(name: str) -> torch.device:
    """`cpu`, `cuda`, `cuda:1`, ...

    Raises:
        ValueError: There is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"There is no kind of device {name!r}: cpu, cuda, cuda:1, ...") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{name!r} was asked for, but PyTorch sees no GPU here.")
    return device
