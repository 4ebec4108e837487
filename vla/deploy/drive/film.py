"""A recording as an mp4: its cameras side by side, and below them what it was told.

| front        | wrist   |
| vx    ~~~~~|~~~~~~~~~~ |     grey: where it was, blue: what was sent, red: held
| vy    ~~~~~|~~~~~~~~~~ |     the bar is now
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rvq_action.data.writer_video import encode
from vla.deploy.drive.played import PlayedRun
from vla.deploy.rates import SUFFIX

HEIGHT, NARROWEST, ROW, MARGIN, CRF = 360, 640, 34, 110, 20
WHITE, INK, WAS, SENT, HELD, NOW = "white", "#444", "#aaa", "#1b6fc2", "#f6c9c4", "#d2322d"


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
    curves = None
    for period, images in run.pictures():
        views = [_scaled(image) for image in images.values()]
        width = max(sum(view.width for view in views), NARROWEST) // 2 * 2
        curves = curves or draw_curves(run, width)
        canvas = Image.new("RGB", (width, HEIGHT + curves.height), WHITE)
        left = 0
        for view in views:
            canvas.paste(view, (left, 0))
            left += view.width
        canvas.paste(curves, (0, HEIGHT))
        at = place(run, run.times[period], width)
        ImageDraw.Draw(canvas).line([(at, HEIGHT), (at, canvas.height)], fill=NOW, width=2)
        yield np.asarray(canvas)


def _scaled(image: np.ndarray) -> Image.Image:
    height, width = image.shape[:2]
    return Image.fromarray(image).resize((round(width * HEIGHT / height), HEIGHT))


def draw_curves(run: PlayedRun, width: int) -> Image.Image:
    """A row for each channel, over the whole run; next to a velocity its state is scaled alone."""
    height = (len(run.layout.names) * ROW + 1) // 2 * 2
    canvas = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(canvas)
    period = 1 / run.rate
    for held in run.times[np.isnan(run.sent).all(1)]:
        edges = place(run, held, width), place(run, held + period, width)
        pen.rectangle([edges[0], 0, edges[1], height], fill=HELD)
    for index, channel in enumerate(run.layout.channels):
        values = np.stack([run.state[:, index], run.sent[:, index]])
        top, is_rate = index * ROW, channel.unit.endswith(SUFFIX)
        spans = [_span(row if is_rate else values) for row in values]
        pen.text((6, top + 4), channel.name, fill=INK)
        told = f"{spans[1][0]:.3g} .. {spans[1][1]:.3g} {channel.unit}"
        pen.text((6, top + 17), told[:20], fill=WAS)
        for row, (low, high), colour in zip(values, spans, (WAS, SENT), strict=True):
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
