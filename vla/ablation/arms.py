"""Arms: what is tried. Everything is the same but the words that the VL Expert learns to say.

vision_aligned   codes that also tell what is to be seen
plain_rvq        codes that tell the motion alone
fast             FAST's tokens, in the same model space
none             no action tokens: the flow head alone
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rvq_action import ActionTokenizer
from vla.fast_tokens import FastTokens

ALIGNED, PLAIN, FAST, NONE = "vision_aligned", "plain_rvq", "fast", "none"
ARMS = (ALIGNED, PLAIN, FAST, NONE)
SILENT = ("--data.action_tokens", "false", "--model.weights.action_ce", "0")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arm:
    """One kind of words.

    Attributes:
        name: Of its rows.
        tokenizer: Folder of what says them, or whose space alone is used.
        options: Of `rvq-vla train`, in which it differs.
    """

    name: str
    tokenizer: Path
    options: tuple[str, ...] = ()


def read_tokenizers(given: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` words -> folders by name.

    Raises:
        ValueError: A word has no name, or a name comes twice.
    """
    pairs = [word.partition("=") for word in given]
    named = {name: Path(path) for name, sign, path in pairs if sign and path}
    if len(named) < len(given) or not named:
        raise ValueError(
            f"Give every tokenizer under a name of its own, such as {PLAIN}=DIR, not "
            f"{' '.join(given) or 'none'}."
        )
    return named


def choose(
    names: Sequence[str],
    tokenizers: dict[str, Path],
    datasets: Sequence[str],
    mapping: str | None,
    folder: Path,
) -> list[Arm]:
    """The arms asked for; FAST is fitted where it is not there yet.

    Args:
        names: `fast`, `none`, or names of tokenizers.
        tokenizers: By name; the plain one, else the first, lends its space to `fast` and `none`.
        datasets: What FAST is fitted on.
        mapping: Of the datasets.
        folder: Where FAST is kept.

    Raises:
        FileNotFoundError: A tokenizer is missing.
        ValueError: An arm is unknown or comes twice, or the tokenizers' spaces differ.
    """
    known = [*tokenizers, *(n for n in (FAST, NONE) if n not in tokenizers)]
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"--arms takes some of {known}, each once, not {list(names)}. An arm of its own needs "
            "--tokenizers NAME=DIR."
        )
    loaded = {name: ActionTokenizer.from_pretrained(path) for name, path in tokenizers.items()}
    check_same_space(loaded)
    lender = PLAIN if PLAIN in tokenizers else next(iter(tokenizers))
    arms = {name: Arm(name, path) for name, path in tokenizers.items()}
    if FAST in names and FAST not in arms:
        fit_fast(loaded[lender], datasets, mapping, folder / FAST)
        arms[FAST] = Arm(FAST, folder / FAST)
    arms.setdefault(NONE, Arm(NONE, tokenizers[lender], SILENT))
    return [arms[name] for name in names]


def fit_fast(
    space: ActionTokenizer, datasets: Sequence[str], mapping: str | None, folder: Path
) -> None:
    """Fit FAST anew: it takes seconds, and the same data give the same tokens."""
    fast = FastTokens.fit(space, datasets, mapping)
    fast.save_pretrained(folder)
    logger.info(
        "FAST says a chunk in up to %d tokens of %d; it is in %s.",
        *(fast.longest, fast.fast.vocab_size, folder),
    )


def check_same_space(tokenizers: dict[str, ActionTokenizer]) -> None:
    """Refuse tokenizers whose flow heads would act in different spaces: not words alone differ.

    Raises:
        ValueError: Names what differs.
    """
    first, *others = tokenizers.items()
    for name, other in others:
        differs = differing(first[1], other)
        if differs:
            raise ValueError(
                f"The tokenizers {first[0]!r} and {name!r} differ in {differs}, so that more than "
                "the tokens would be swapped. Train both on the same data with the same split."
            )


def differing(one: ActionTokenizer, other: ActionTokenizer) -> str | None:
    """What two tokenizers differ in beside their words."""
    if set(one.embodiments) != set(other.embodiments):
        return f"their robots: {sorted(one.embodiments)} and {sorted(other.embodiments)}"
    for name in ("split", "seconds"):
        if one.metadata.get(name) != other.metadata.get(name):
            return f"their {name}"
    if one.config.width != other.config.width:
        return "the width of their model space"
    for name, known in one.embodiments.items():
        same = other.embodiments[name]
        if (known.layout, known.fps) != (same.layout, same.fps):
            return f"layout or rate of {name!r}"
        ends = torch.tensor([-1.0, 1.0])[:, None].expand(-1, known.layout.width)
        physical = known.actions.denormalize(ends), same.actions.denormalize(ends)
        if not torch.allclose(*physical, rtol=1e-4):
            return f"the statistics of {name!r}"
    return None
