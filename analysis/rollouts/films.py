"""Film strips: a few pictures of a video side by side, with a link to all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from analysis.pictures import data_uri
from vla.deploy.recording.live_video import read_live_video

PICTURES, SIDE = 6, 200


def strip(video: Path, page: Path, caption: str) -> str:
    """A line of pictures from a video, the last one its end; nothing where there is no picture.

    Args:
        video: The mp4.
        page: Folder of the page, from which the video is linked.
        caption: What is to be seen.
    """
    pictures = list(read_live_video(video))
    if not pictures:
        return ""
    link = escape(os.path.relpath(video, page), quote=True)
    shown = "".join(
        f'<img src="{data_uri(pictures[i], SIDE)}" alt="">' for i in evenly(len(pictures))
    )
    told = f'{escape(caption)} <a href="{link}">mp4</a>'
    return f'<div class="strip"><a href="{link}">{shown}</a><span>{told}</span></div>'


def evenly(count: int) -> Sequence[int]:
    """Numbers of a few pictures, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, PICTURES).round().astype(int)).tolist()
