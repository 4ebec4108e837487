"""Writing safetensors files that others may read."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(
    tensors: dict[str, Tensor], path: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file with the permissions of any other new file.

    Left to itself safetensors lets only the owner read, whatever the umask says.

    Args:
        tensors: By name.
        path: File to write.
        metadata: Texts to keep with them.
    """
    path = Path(path)
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(mode)
