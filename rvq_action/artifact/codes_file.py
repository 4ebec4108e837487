"""Files of codes and of decoded chunks: safetensors that name the tokenizer they belong to.

| tensor   | shape, type      | meaning                                                     |
|----------|------------------|-------------------------------------------------------------|
| codes    | [N, S, K] int64  | of a codes file; absent = -1                                |
| actions  | [N, T, D] float32| of a chunks file; absolute, physical units                  |
| episode  | [N] int64        | the window's episode                                        |
| start    | [N] int64        | its first frame there                                       |
| frames   | [N] int64        | how many of its T frames lie within the episode             |
| proprio  | [N, D] float32   | the anchor, NaN where unknown; left out where there is none |
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rvq_action.artifact.tensor_store import save_tensors

if TYPE_CHECKING:
    from rvq_action.adaptive_length.tolerance import AnyTolerance
    from rvq_action.tokenizer import ActionTokenizer

CODES, CHUNKS = "rvq-action codes", "rvq-action chunks"
"""Formats: what `rvq-action encode` writes, and `rvq-action decode`."""
KEY = "rvq_action"
"""Under which a file's metadata, strings only, keep the header as JSON."""


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors.

    Attributes:
        tokenizer: Name of the tokenizer.
        fingerprint: Of the tokenizer, from `fingerprint`.
        embodiment: Name of the embodiment.
        channels: Names of the D channels.
        fps: Frames per second.
        horizon: T, frames of a chunk.
        dataset: Name of the dataset.
        tolerance: The bound of adaptive length, as `encode` was given it; None for no bound.
        max_tokens: At most so many tokens a chunk; None for all.
        tokens: Of a chunks file, from how many tokens of each chunk it was decoded; None for all.
        format: `CODES` or `CHUNKS`.
    """

    tokenizer: str
    fingerprint: str
    embodiment: str
    channels: list[str]
    fps: float
    horizon: int
    dataset: str
    tolerance: AnyTolerance | None = None
    max_tokens: int | None = None
    tokens: int | None = None
    format: str = CODES


@dataclass(frozen=True)
class TensorFile:
    """A header and its tensors by name, as in the table above."""

    header: Header
    tensors: dict[str, Tensor]

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_tensors(self.tensors, partial, {KEY: json.dumps(asdict(self.header))})
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> TensorFile:
        """Read a file.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged, or none of ours.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        try:
            with safe_open(path, "pt") as file:
                header = (file.metadata() or {}).get(KEY)
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or no safetensors file: {error}.") from error
        return cls(_read_header(header, path), tensors)


def fingerprint(tokenizer: ActionTokenizer) -> str:
    """Sixteen digits that differ between tokenizers whose codes mean different things."""
    digest = hashlib.sha256(repr(tokenizer.config).encode())
    for name, tensor in sorted(tokenizer.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    for name, known in tokenizer.embodiments.items():
        digest.update(repr((name, known.layout, known.statistics)).encode())
    return digest.hexdigest()[:16]


def _read_header(text: str | None, path: str | Path) -> Header:
    try:
        data: Any = json.loads(text or "")
    except json.JSONDecodeError:
        data = None
    names = {f.name for f in fields(Header)}
    needed = {f.name for f in fields(Header) if f.default is MISSING} | {"format"}
    is_header = isinstance(data, dict) and needed <= set(data) <= names
    if not is_header or data["format"] not in (CODES, CHUNKS):
        raise ValueError(f"{path} was not written by `rvq-action encode`; encode a dataset first.")
    return Header(**data)
