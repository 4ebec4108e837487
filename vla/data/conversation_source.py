"""ConversationSource: a file of conversations as samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla.data.conversations import Conversation, read_conversations
from vla.images import Image
from vla.samples import SampleBuilder
from vla.sequence import Sample


@dataclass(frozen=True)
class ConversationSource:
    """The conversations of a file.

    Attributes:
        path: The file.
        entries: What it holds.
    """

    path: Path
    entries: tuple[Conversation, ...]

    @classmethod
    def open(cls, path: str | Path) -> ConversationSource:
        """Read a file; errors as `read_conversations`."""
        return cls(Path(path), tuple(read_conversations(path)))

    @property
    def kinds(self) -> list[str]:
        """The kind of every conversation: groups that are sampled apart."""
        return [entry.kind for entry in self.entries]

    def sample(self, index: int, builder: SampleBuilder, rng: np.random.Generator) -> Sample:
        """One answer of a conversation, chosen at random, after all that was said before it.

        Raises:
            ValueError: A picture is damaged, or the words hold special tokens; names the line.
        """
        entry = self.entries[index]
        turn = int(rng.integers(len(entry.turns)))
        try:
            images = [read_picture(path) for path in entry.images]
            return builder.to_answer(images, *entry.turns[turn], entry.turns[:turn])
        except ValueError as error:
            raise ValueError(f"{entry.where}: {error}") from error


def read_picture(path: Path) -> Image:
    """uint8 [H, W, 3] of a picture file, upright.

    Raises:
        ValueError: It is missing or damaged.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(path) as file:
            return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no readable picture ({error}). Copy it again.") from error
