"""What a teacher was fitted to, in a file that knows which cache it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tokenizer_training.features.index import AGAIN, STATE, DatasetIndex, save_whole

SEAL = "seal"

State = dict[str, Tensor]
"""What a teacher was fitted to, as `CAMERA/NAME`."""


def save_state(state: State, folder: Path, index: DatasetIndex) -> None:
    """Write it, whole or not at all."""
    save_whole(state, folder / STATE, {SEAL: _seal(state, index)})


def load_state(folder: Path, index: DatasetIndex) -> State:
    """Inverse of `save_state`.

    Raises:
        ValueError: It is missing, damaged, or was fitted to other pictures or in another way.
    """
    file = folder / STATE
    try:
        with safe_open(file, "pt") as stored:
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            seal = (stored.metadata() or {}).get(SEAL)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}). {AGAIN}") from error
    if seal != _seal(state, index):
        raise ValueError(
            f"{file} is damaged, or was fitted to other pictures, in another way or by an earlier "
            f"version of rvq-train. {AGAIN}"
        )
    return state


def of_camera(state: Mapping[str, Tensor], camera: str) -> State:
    """What the teacher was fitted to of one camera, by name."""
    parts = {name.rpartition("/"): tensor for name, tensor in state.items()}
    return {name: tensor for (owner, _, name), tensor in parts.items() if owner == camera}


def _seal(state: Mapping[str, Tensor], index: DatasetIndex) -> str:
    """A digest of the tensors, and of what decided them."""
    digest = hashlib.sha256(index.fingerprint.encode())
    for name in sorted(state):
        digest.update(json.dumps([name, list(state[name].shape)]).encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
