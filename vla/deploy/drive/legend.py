"""What a film of a run shows: its colours and its speed, drawn and in words.

- where it was   - what it was told   # held   | now
low speed, 0.2 of full, 60 periods in 3.0 s; ...
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vla.deploy.drive.played import PlayedRun
from vla.deploy.safety.rates import rate_channels

WHITE, INK, WAS, SENT, HELD, NOW = "white", "#444", "#888", "#1b6fc2", "#f6c9c4", "#d2322d"
HEIGHT, LINE, EDGE = 44, 18, 6
SWATCH, GAP = 16, 22
"""Pixels."""


class Meaning(NamedTuple):
    """A colour: its name, what it stands for, and how thick it is drawn."""

    colour: str
    name: str
    words: str
    thickness: int


MEANINGS = (
    Meaning(WAS, "grey", "where it was", 2),
    Meaning(SENT, "blue", "what it was told", 2),
    Meaning(HELD, "pink", "it was held", 12),
    Meaning(NOW, "red", "now", 2),
)


def words(run: PlayedRun) -> list[str]:
    """The legend for a terminal."""
    return [", ".join(f"{m.name}: {m.words}" for m in MEANINGS), facts(run)]


def facts(run: PlayedRun) -> str:
    """How fast, how long, and what is not to be mistaken."""
    told = f"{run.speed_in_words}; {run.times[-1]:.1f} s from left to right"
    if not rate_channels(run.layout).any():
        return told
    return f"{told}; beside a velocity grey is the state, in its own unit and on its own scale"


def draw_legend(run: PlayedRun, width: int) -> Image.Image:
    """Two lines, as wide as the film."""
    canvas = Image.new("RGB", (width, HEIGHT), WHITE)
    pen = ImageDraw.Draw(canvas)
    left, middle = float(EDGE), EDGE + LINE / 2
    for meaning in MEANINGS:
        half = meaning.thickness / 2
        pen.rectangle([left, middle - half, left + SWATCH, middle + half], fill=meaning.colour)
        left += SWATCH + EDGE
        pen.text((left, middle), meaning.words, fill=INK, anchor="lm")
        left += pen.textlength(meaning.words) + GAP
    pen.text((EDGE, middle + LINE), facts(run), fill=INK, anchor="lm")
    return canvas


def caption(view: Image.Image, name: str) -> None:
    """Write a camera's name onto its picture."""
    pen = ImageDraw.Draw(view)
    box = np.add(pen.textbbox((EDGE, EDGE), name), (-3, -2, 3, 2)).tolist()
    pen.rectangle(box, fill=WHITE)
    pen.text((EDGE, EDGE), name, fill=INK)
