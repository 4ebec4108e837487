"""What every console script does with errors and Ctrl-C: one line instead of a traceback."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OURS = ("rvq_action", "tokenizer_training", "vla", "analysis")
EXPECTED = (ValueError, KeyError, OSError)
"""Errors that tell a user what to mend; others are faults of ours and keep their traceback."""
FAILED, MISSING, INTERRUPTED, UNREAD = 1, 2, 130, 141


def guarded(
    program: str,
    words: Sequence[str],
    extra: str,
    command: Callable[[], int | None],
    expected: tuple[type[Exception], ...] = EXPECTED,
) -> int:
    """Run a command and turn what a user can mend into one line on stderr.

    Args:
        program: Name of the console script.
        words: Its arguments, of which the first names the subcommand.
        extra: The extra of this distribution that the script needs.
        command: What to run; its exit status, or None for 0.
        expected: Errors that become a line.

    Returns:
        The exit status: 130 after Ctrl-C, 141 where nobody reads the output any more.
    """
    name = " ".join([program, *(w for w in words[:1] if not w.startswith("-"))])
    try:
        return command() or 0
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OURS:
            raise
        return _say(f"{name}: {error}. Install it: pip install 'rvq-action[{extra}]'", MISSING)
    except KeyboardInterrupt:
        return _say(f"{name}: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes the output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except expected as error:
        return _say(f"{name}: {in_words(error)}", FAILED)


def in_words(error: Exception) -> str:
    """An error as a sentence, without Python's decoration."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error) or type(error).__name__


def writable_folder(path: str | Path) -> Path:
    """Create a folder, so that work does not end where its result cannot be kept.

    Raises:
        ValueError: Nothing can be written there; says why.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        reason = "it is a file" if path.is_file() else error.strerror
        raise ValueError(
            f"Cannot write into the folder {path}: {reason}. Choose another one."
        ) from error
    return path


@contextmanager
def kept_if_used(path: str | Path) -> Iterator[Path]:
    """Make sure of a folder before the work; where that fails, leave no new folder that is empty.

    Raises:
        ValueError: Nothing can be written there; says why.
    """
    path = Path(path)
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield writable_folder(path)
    except BaseException:
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _say(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status
