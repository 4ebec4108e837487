"""Recording: what the checks look at, read once. Damage becomes findings instead of exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rvq_action.data.check.finding import Finding, counted, failed, listed, passed, runs
from rvq_action.data.lerobot import LeRobotReader

BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
COPY_AGAIN = "Copy or download the named file again."
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Recording:
    """A dataset's numbers in memory: those of the episodes that can be read and are finite.

    Attributes:
        path: The dataset.
        fps: Frames per second, as the dataset states.
        indices: Numbers of the E episodes.
        columns: Per episode its numeric columns: bookkeeping [N], features [N, D].
        names: Channel names of the features.
        tasks: Per episode its task texts.
    """

    path: Path
    fps: float
    indices: tuple[int, ...]
    columns: tuple[Columns, ...]
    names: dict[str, tuple[str, ...]]
    tasks: tuple[tuple[str, ...], ...]

    @property
    def action_features(self) -> tuple[str, ...]:
        """The features LeRobot counts as actions: those whose name begins so."""
        return tuple(n for n in self.names if n == "action" or n.startswith("action."))

    @property
    def signal_features(self) -> tuple[str, ...]:
        """Actions and the measured state."""
        state = [n for n in self.names if n == "observation.state"]
        return (*self.action_features, *state)

    def episodes_of(self, feature: str) -> list[np.ndarray]:
        """[N, D] float64 per episode."""
        return [np.asarray(c[feature], dtype=np.float64) for c in self.columns]


def read_metadata(path: Path) -> tuple[LeRobotReader | None, Finding]:
    """Open a dataset; None where that is impossible."""
    try:
        reader = LeRobotReader(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return None, failed("files: metadata", one_line(error), COPY_AGAIN)
    info = reader.info
    message = (
        f"LeRobot {info.version}, {reader.robot_type}, {counted(reader.num_episodes, 'episode')}"
    )
    return reader, passed("files: metadata", message)


def read_recording(reader: LeRobotReader) -> tuple[Recording | None, list[Finding]]:
    """Read every episode's numbers; None where no episode is usable."""
    columns, errors = _read_columns(reader)
    findings = [_readable(reader.num_episodes, errors)]
    if not columns:
        return None, findings
    features = next(iter(columns.values()))
    names = {n: reader.channel_names(n) for n in features if n not in BOOKKEEPING}
    bad = _not_finite(columns, names)
    findings.append(_finite(columns, bad))
    finite = {index: c for index, c in columns.items() if index not in bad}
    if not finite:
        return None, findings
    tasks = tuple(tuple(reader.episode_tasks(i)) for i in finite)
    values = tuple(finite.values())
    return Recording(reader.path, reader.fps, tuple(finite), values, names, tasks), findings


def one_line(error: Exception) -> str:
    """An exception's message on one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


def grouped(errors: Iterable[tuple[int, str]]) -> str:
    """Episodes with the same error together."""
    found: dict[str, list[int]] = {}
    for episode, text in errors:
        found.setdefault(text, []).append(episode)
    return listed((f"episodes {runs(e)}: {text}" for text, e in found.items()), 2)


def _read_columns(reader: LeRobotReader) -> tuple[dict[int, Columns], list[tuple[int, str]]]:
    columns, errors = {}, []
    for index in range(reader.num_episodes):
        try:
            read = reader.episode(index)
            if missing := [n for n in ("timestamp", "frame_index") if n not in read]:
                raise ValueError(f"the columns {missing} are missing")
        except (OSError, ValueError, KeyError) as error:
            errors.append((index, one_line(error)))
            continue
        columns[index] = {n: _rows(n, values) for n, values in read.items()}
    return columns, errors


def _rows(name: str, values: np.ndarray) -> np.ndarray:
    rows = values.reshape(len(values), -1)
    return rows[:, 0] if name in BOOKKEEPING else rows


def _not_finite(columns: dict[int, Columns], names: dict) -> dict[int, str]:
    """Where NaN and infinity are, by episode."""
    bad = {}
    for index, episode in columns.items():
        for feature, values in episode.items():
            wrong = np.argwhere(~np.isfinite(values))
            if len(wrong):
                channel = f" {names[feature][wrong[0][1]]}" if feature in names else ""
                bad[index] = f"{feature}{channel} of episode {index} from frame {wrong[0][0]}"
    return bad


def _finite(columns: dict[int, Columns], bad: dict[int, str]) -> Finding:
    name = "files: finite numbers"
    if bad:
        fix = "Repair these rows or leave the episodes out; nothing can be learned from them."
        return failed(name, f"NaN or infinity in {listed(bad.values(), 3)}", fix)
    frames = sum(len(c["timestamp"]) for c in columns.values())
    return passed(name, f"{frames} frames, no NaN, no infinity")


def _readable(total: int, errors: list[tuple[int, str]]) -> Finding:
    name = "files: tables"
    if errors:
        message = f"{len(errors)} of {total} episodes cannot be read; {grouped(errors)}"
        return failed(name, message, COPY_AGAIN)
    return passed(name, "every episode can be read")
