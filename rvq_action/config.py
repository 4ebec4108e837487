"""TokenizerConfig: the shape of a tokenizer, frozen, strict, with a JSON round trip."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

FORMAT_VERSION = 1
TOKEN_ORDERS = ("level_major", "slot_major")


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything needed to build an untrained `TokenizerModel`.

    Attributes:
        width: D, channels of the widest layout; narrower robots are padded and masked.
        num_frequencies: F, cosine components kept per channel.
        num_slots: S, latent slots.
        slot_width: C, components in the widest slot.
        num_quantizers: K, residual levels per slot.
        codebook_size: V, codes per (slot, level).
        num_embodiments: Entries of the embodiment table; "none" is kept beside them.
        hidden: Width of the residual networks.
        depth: Residual blocks in encoder and decoder; 0 leaves the closed form alone.
        token_order: `level_major` (coarse first, every prefix a coarser chunk) or `slot_major`.
        decay: Decay of the codebooks' moving averages.
        dead_code_share: A code used less than this share of a fair share is reset.
    """

    width: int
    num_frequencies: int
    num_slots: int
    slot_width: int
    num_quantizers: int
    codebook_size: int = 1024
    num_embodiments: int = 1
    hidden: int = 256
    depth: int = 2
    token_order: Literal["level_major", "slot_major"] = "level_major"
    decay: float = 0.999
    dead_code_share: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and field.name != "depth" and value < 1:
                raise ValueError(f"TokenizerConfig.{field.name} must be at least 1, got {value}.")
        if self.depth < 0:
            raise ValueError(f"TokenizerConfig.depth must be at least 0, got {self.depth}.")
        if self.token_order not in TOKEN_ORDERS:
            raise ValueError(f"token_order must be one of {TOKEN_ORDERS}: {self.token_order!r}.")
        if not 0.0 < self.decay < 1.0:
            raise ValueError(f"TokenizerConfig.decay must be in (0, 1), got {self.decay}.")

    @classmethod
    def tiny(cls, **overrides) -> TokenizerConfig:
        """A configuration for tests."""
        shape = {"width": 3, "num_frequencies": 8, "num_slots": 2, "slot_width": 6}
        small = {"num_quantizers": 2, "codebook_size": 16, "hidden": 16, "depth": 1}
        return cls(**{**shape, **small, **overrides})

    def save(self, path: str | Path) -> None:
        data = {"format_version": FORMAT_VERSION, **asdict(self)}
        Path(path).write_text(json.dumps(data, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> TokenizerConfig:
        """Read a config.json.

        Raises:
            ValueError: Not JSON, another format version, or a key too many or too few.
        """
        try:
            data = json.loads(Path(path).read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not valid JSON ({error}); export it again.") from error
        version = data.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {version}; this rvq-action reads {FORMAT_VERSION}. "
                "Install the version that wrote it, or export the tokenizer again."
            )
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise ValueError(
                f"{path}: unknown keys {sorted(set(data) - names)}, missing keys "
                f"{sorted(names - set(data))}. It was not written by this version; export again."
            )
        return cls(**data)
