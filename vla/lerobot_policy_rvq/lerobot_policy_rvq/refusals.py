"""Why an option is refused. Since LeRobot 0.6 its parser says only which class cannot be built."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def said_aloud() -> Iterator[None]:
    """Log what an error says before it goes on to whoever may keep it back."""
    try:
        yield
    except ValueError as error:
        logging.getLogger(__name__).error("%s", error)
        raise
