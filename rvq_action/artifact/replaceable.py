"""Which folders a save may replace: empty ones, and those that it wrote itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def check_replaceable(path: Path, known: Sequence[str], ours: Sequence[str], what: str) -> None:
    """Refuse to put a folder where something else is.

    Args:
        path: Where the folder is to be.
        known: Names of all that it may hold.
        ours: Those among them that it always holds and that nobody else's folder does: a
            config.json, weights and a README.md are any model's of the hub.
        what: What the folder is, for the error: tokenizer, policy.

    Raises:
        ValueError: The path is a file, or a directory that holds anything but ours.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; give the directory to write the {what} to.")
    found = sorted(file.name for file in path.iterdir()) if path.exists() else []
    foreign = [name for name in found if name not in known]
    if found and not foreign and not set(ours) <= set(found):
        foreign = found
    if foreign:
        raise ValueError(
            f"{path} holds files that are no {what}'s: {foreign[:5]}. Choose an empty directory; "
            "nothing was overwritten."
        )
