"""A recording as an mp4: its cameras side by side, and below them what it was told.

| front           | wrist   |
| - where it was  - ...     |    see legend.py
| vx [m/s]  ~~~~~|~~~~~~~~~ |    below the name the range of what it was told, and of where it was
| vy [m/s]  ~~~~~|~~~~~~~~~ |    the bar is now
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rvq_action.data.writer_video import encode
from vla.deploy.drive import legend
from vla.deploy.drive.legend import HELD, INK, NOW, SENT, WAS, WHITE, caption, draw_legend
from vla.deploy.drive.played import PlayedRun
from vla.deploy.safety.rates import rate_channels

HEIGHT, NARROWEST, ROW, CRF = 360, 720, 34, 20
TOLD, STATE, MARGIN = 6, 104, 204
"""Pixels from the left to the ranges of what it was told and where it was, and to the curves."""


def film(run: PlayedRun, out: Path) -> int:
    """Write the mp4; the number of its frames.

    Raises:
        ValueError: There is no picture, or the file exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists. Give another name, or delete it.")
    frames = _frames(run)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{run.folder} has no picture that could be shown.")
    out.parent.mkdir(parents=True, exist_ok=True)
    size = first.shape[0], first.shape[1]
    return encode(_with(first, frames), out, run.rate, size, CRF)


def _with(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def _frames(run: PlayedRun) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3], of even height and width."""
    below = None
    for period, images in run.pictures():
        views = [_view(image, name) for name, image in images.items()]
        width = max(sum(view.width for view in views), NARROWEST) // 2 * 2
        below = below or _below(run, width)
        canvas = Image.new("RGB", (width, HEIGHT + below.height), WHITE)
        left = 0
        for view in views:
            canvas.paste(view, (left, 0))
            left += view.width
        canvas.paste(below, (0, HEIGHT))
        at = place(run, run.times[period], width)
        edges = [(at, HEIGHT + legend.HEIGHT), (at, canvas.height)]
        ImageDraw.Draw(canvas).line(edges, fill=NOW, width=2)
        yield np.asarray(canvas)


def _view(image: np.ndarray, name: str) -> Image.Image:
    height, width = image.shape[:2]
    view = Image.fromarray(image).resize((round(width * HEIGHT / height), HEIGHT))
    caption(view, name)
    return view


def _below(run: PlayedRun, width: int) -> Image.Image:
    """What is the same in every frame: the legend and the curves."""
    curves = draw_curves(run, width)
    canvas = Image.new("RGB", (width, legend.HEIGHT + curves.height), WHITE)
    canvas.paste(draw_legend(run, width), (0, 0))
    canvas.paste(curves, (0, legend.HEIGHT))
    return canvas


def draw_curves(run: PlayedRun, width: int) -> Image.Image:
    """A row for each channel, over the whole run; next to a velocity its state is scaled alone."""
    height = (len(run.layout.names) * ROW + 1) // 2 * 2
    canvas = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(canvas)
    period = 1 / run.rate
    for held in run.times[np.isnan(run.sent).all(1)]:
        edges = place(run, held, width), place(run, held + period, width)
        pen.rectangle([edges[0], 0, edges[1], height], fill=HELD)
    rates = rate_channels(run.layout)
    for index, channel in enumerate(run.layout.channels):
        values, top = np.stack([run.state[:, index], run.sent[:, index]]), index * ROW
        spans = [_span(row if rates[index] else values) for row in values]
        unit = "" if channel.unit == channel.name else f" [{channel.unit}]"
        pen.text((TOLD, top + 4), f"{channel.name}{unit}", fill=INK)
        for row, (low, high), colour, left in zip(
            values, spans, (WAS, SENT), (STATE, TOLD), strict=True
        ):
            pen.text((left, top + 17), _range(row), fill=colour)
            known = np.isfinite(row)
            heights = top + ROW - 4 - (row[known] - low) / (high - low) * (ROW - 8)
            spots = [place(run, t, width) for t in run.times[known]]
            pen.line(list(zip(spots, heights.tolist(), strict=True)), fill=colour)
    return canvas


def place(run: PlayedRun, time: float, width: int) -> float:
    """Where a time lies in a row of curves, in pixels from the left."""
    share = time / max(float(run.times[-1]), 1e-9)
    return MARGIN + min(share, 1.0) * (width - MARGIN - 2)


def _span(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def _range(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.min():.3g} .. {known.max():.3g}" if len(known) else "not known"
