"""All checks of a dataset, in the order of the table."""

from __future__ import annotations

from pathlib import Path

from rvq_action.data.check.cameras import check_cameras
from rvq_action.data.check.channels import check_channels
from rvq_action.data.check.files import (
    check_features,
    check_stored_statistics,
    check_tasks,
    check_totals,
)
from rvq_action.data.check.finding import Finding, failed, passed, warned
from rvq_action.data.check.gripper import check_grippers
from rvq_action.data.check.idle import check_idle
from rvq_action.data.check.joints import check_joints
from rvq_action.data.check.lag import check_lag
from rvq_action.data.check.language import check_language
from rvq_action.data.check.lengths import check_lengths
from rvq_action.data.check.mapped import (
    apply_mapping,
    channel_groups,
    check_delta_rules,
    check_weak,
    columns_by_use,
)
from rvq_action.data.check.outliers import check_outliers
from rvq_action.data.check.pictures import check_pictures
from rvq_action.data.check.rate import check_frame_index, check_timestamps
from rvq_action.data.check.recording import (
    Recording,
    one_line,
    read_metadata,
    read_recording,
)
from rvq_action.data.lerobot import LeRobotReader
from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import OWN_FILE, Choice, packaged_choice, resolve_mapping


def check_dataset(
    path: str | Path,
    mapping: str | Path | None = None,
    all_videos: bool = False,
    progress: bool = False,
) -> list[Finding]:
    """Check a dataset before anyone trains on it.

    Args:
        path: A LeRobotDataset.
        mapping: A mapping file or the name of a packaged one; found by itself where omitted.
        all_videos: Decode all videos instead of a sample.
        progress: Whether to show a progress bar.

    Returns:
        The rows of the table. Damage is a failed row, never an exception.
    """
    reader, metadata = read_metadata(Path(path))
    if reader is None:
        return [metadata]
    recording, findings = read_recording(reader)
    rows = [metadata, check_totals(reader), *findings, check_tasks(reader)]
    rows.append(check_stored_statistics(reader))
    cameras = check_cameras(reader) + check_pictures(reader, all_videos, progress)
    if recording is None:
        return [*rows, *cameras]
    rows += [check_features(recording), check_timestamps(recording), check_frame_index(recording)]
    rows += [*cameras, *_check_signals(reader, recording, mapping)]
    return [*rows, *check_language(recording), *check_lengths(recording)]


def _check_signals(
    reader: LeRobotReader, recording: Recording, given: str | Path | None
) -> list[Finding]:
    """The checks of actions and state, with as much of the mapping as fits."""
    mapping, rows = _find_mapping(reader, given)
    episodes = None
    if mapping is not None:
        episodes, fit = apply_mapping(recording, mapping)
        rows.append(fit)
    if mapping is None or episodes is None:
        rows += [*check_lag(recording, {}), *check_channels(recording)]
        return [*rows, *check_grippers(recording, None), *check_outliers(recording)]
    groups = {f: channel_groups(recording, mapping, f) for f in recording.action_features}
    scaled = {t.feature for t in mapping.action if t.unit is not None or t.scale != (1.0,)}
    rows += [*check_joints(recording, mapping), check_delta_rules(recording, mapping)]
    rows += check_lag(recording, groups, scaled)
    rows += check_channels(recording, *columns_by_use(recording, mapping))
    rows += [check_weak(episodes), check_idle(episodes)]
    return [*rows, *check_grippers(recording, mapping), *check_outliers(recording)]


def _find_mapping(
    reader: LeRobotReader, given: str | Path | None
) -> tuple[Mapping | None, list[Finding]]:
    name = "mapping: choice"
    try:
        mapping = resolve_mapping(reader, given)
    except (OSError, ValueError, KeyError) as error:
        fix = f"Describe the actions in {OWN_FILE}, or give a mapping with --mapping."
        return None, [failed(name, one_line(error), fix)]
    if given is not None:
        return mapping, [passed(name, f"{given}, as asked for")]
    if (reader.path / OWN_FILE).is_file():
        return mapping, [passed(name, f"the dataset's own, {OWN_FILE}")]
    if (choice := packaged_choice(reader)) is not None:
        return mapping, [_chosen(name, choice, reader.robot_type)]
    fix = f"Describe the actions in {OWN_FILE} if they are not plain joints."
    message = f"none fits robot type {reader.robot_type!r}, so channels are taken as joints"
    return mapping, [warned(name, message, fix)]


def _chosen(name: str, choice: Choice, robot: str) -> Finding:
    """A packaged mapping, and whether anything tells it from others of the robot."""
    message = f"{choice.name}, the packaged one for {robot}"
    if not choice.others:
        return passed(name, f"{message}: {choice.why}" if choice.why else message)
    others = " or ".join(f"`--mapping {other}`" for other in choice.others)
    return warned(
        name,
        f"{message}; nothing tells whether its joints are in percent of their range, as that takes "
        "them, or in degrees",
        "If it was recorded with `use_degrees: true`, as LeRobot does since 0.4.4 where nothing is "
        f"said, give {others} here and in training.",
    )
