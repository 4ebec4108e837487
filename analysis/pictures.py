"""Pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np

QUALITY = 80


def data_uri(image: np.ndarray, side: int) -> str:
    """A uint8 image [H, W, 3] as a JPEG of at most `side` pixels a side, in a data URI."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
