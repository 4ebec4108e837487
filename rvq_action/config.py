"""TokenizerConfig: the shape of a tokenizer, frozen, strict, with a JSON round trip."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rvq_action.housekeeping.json_file import read_json, write_json

FORMAT_VERSION, ONE_PATH = 3, 2
"""What is written; and the version in which all robots shared one linear path, still read."""
READABLE = (ONE_PATH, FORMAT_VERSION)
TOKEN_ORDERS = ("level_major", "slot_major")
MAY_BE_ZERO = ("depth", "semantic_slots", "semantic_width")


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything needed to build an untrained `TokenizerModel`.

    Attributes:
        width: D, channels of the widest layout; narrower robots are padded and masked.
        num_frequencies: F, cosine components kept per channel.
        num_slots: S, latent slots of the robot that has most.
        slot_width: C, latents of the widest slot.
        num_quantizers: K, residual levels per slot.
        codebook_size: V, codes per (slot, level).
        num_embodiments: Entries of the embodiment table; "none" is kept beside them.
        hidden: Width of the residual networks.
        depth: Residual blocks in encoder and decoder; 0 leaves the closed form alone.
        token_order: `level_major` (coarse first, every prefix a coarser chunk) or `slot_major`.
        semantic_slots: M, slots (the first ones) whose first-level codes are semantic.
        semantic_width: Q, latents of a semantic slot that those codes are about.
        path_slots: Latent slots (the first ones) that each robot's linear path fills, in the order
            of the tokenizer's embodiments; where left out, every fitted robot fills all.
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
    semantic_slots: int = 0
    semantic_width: int = 0
    path_slots: tuple[int, ...] = field(default=(), repr=False)
    """Not told, so that fingerprints, which are made of what is, stay those of earlier formats."""
    decay: float = 0.999
    dead_code_share: float = 0.01

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            least = 0 if entry.name in MAY_BE_ZERO else 1
            if entry.type == "int" and (type(value) is not int or value < least):
                raise ValueError(
                    f"TokenizerConfig.{entry.name} must be an integer of at least {least}, got "
                    f"{value!r}."
                )
            if entry.type == "float" and not (isinstance(value, float) and 0.0 <= value < 1.0):
                raise ValueError(f"TokenizerConfig.{entry.name} must be in [0, 1), got {value!r}.")
        self._check_paths()
        if self.semantic_slots > self.num_slots or self.semantic_width > self.slot_width:
            raise ValueError(
                f"{self.semantic_slots} semantic slots of {self.semantic_width} latents do not fit "
                f"into {self.num_slots} slots of {self.slot_width}."
            )
        if self.semantic_slots and not self.semantic_width:
            raise ValueError(f"{self.semantic_slots} semantic slots need a semantic_width above 0.")
        if self.token_order not in TOKEN_ORDERS:
            raise ValueError(f"token_order must be one of {TOKEN_ORDERS}: {self.token_order!r}.")

    def _check_paths(self) -> None:
        """Fill in and refuse slots of linear paths."""
        slots = tuple(self.path_slots) or (self.num_slots,) * self.num_embodiments
        object.__setattr__(self, "path_slots", slots)
        least = max(1, self.semantic_slots)
        fits = all(type(n) is int and least <= n <= self.num_slots for n in slots)
        if len(slots) < self.num_embodiments or not fits:
            raise ValueError(
                f"path_slots must say of each of the {self.num_embodiments} robots how many of the "
                f"{self.num_slots} slots it fills, at least {least}: {slots}."
            )

    @classmethod
    def tiny(cls, **overrides: Any) -> TokenizerConfig:
        """A configuration for tests."""
        shape = {"width": 3, "num_frequencies": 8, "num_slots": 2, "slot_width": 6}
        small = {"num_quantizers": 2, "codebook_size": 16, "hidden": 16, "depth": 1}
        return cls(**{**shape, **small, **overrides})

    def save(self, path: str | Path) -> None:
        write_json({"format_version": FORMAT_VERSION, **asdict(self)}, path)

    @classmethod
    def load(cls, path: str | Path) -> TokenizerConfig:
        """Read a config.json.

        Raises:
            ValueError: Not JSON, another format version, a key too many or too few, or a value
                that is none.
        """
        data = read_json(path)
        version = data.pop("format_version", None)
        if version not in READABLE:
            known = " and ".join(map(str, READABLE))
            raise ValueError(
                f"{path} has format version {version}; this rvq-action reads {known}. "
                "Install the version that wrote it, or export the tokenizer again."
            )
        if version == ONE_PATH:
            data.setdefault("path_slots", [])
        names = {entry.name for entry in fields(cls)}
        if set(data) != names:
            raise ValueError(
                f"{path}: unknown keys {sorted(set(data) - names)}, missing keys "
                f"{sorted(names - set(data))}. It was not written by this version; export again."
            )
        try:
            return cls(**{**data, "path_slots": tuple(data["path_slots"])})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error} Export the tokenizer again.") from error
