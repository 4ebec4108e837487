"""`rvq-action encode`: the codes of a dataset's windows."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from rvq_action.adaptive_length.tolerance import AnyTolerance
    from rvq_action.data.dataset import RobotDataset
    from rvq_action.data.windows import Windows
    from rvq_action.tokenizer import ActionTokenizer

BATCH = 512


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "encode",
        help="turn a LeRobotDataset into codes",
        description="Encode the windows of a LeRobotDataset's episodes and write their codes, with "
        "episode, first frame and anchor of each, to a safetensors file.",
    )
    add = parser.add_argument
    add("tokenizer", help="folder of the tokenizer, or its id on the hub")
    add("dataset", help="folder of the dataset")
    add("--out", required=True, help="file to write (.safetensors)")
    add("--episodes", nargs="+", metavar="N", help="numbers or ranges such as 0 3 10-19 (all)")
    add("--stride", type=int, default=1, help="frames from one window's start to the next (1)")
    add("--seconds", type=float, help="length of a window (as in training; else 1)")
    add("--tails", action="store_true", help="also windows that overrun their episode's end")
    add(
        "--tolerance",
        nargs="+",
        metavar="E",
        help="emit only as many codes as keep the error within this: a mean squared error in model "
        "space (1e-3) or in scored space (scored=1e-3), or largest errors by channel group "
        "(position=0.002 gripper=0.05), beside scored=E or not",
    )
    add("--max_tokens", type=int, help="emit at most so many codes a chunk (all)")
    add("--beam", type=int, help="candidates in the search for codes (1; 4 with the two above)")
    add("--embodiment", help="which of the tokenizer's embodiments the dataset is of")
    add("--mapping", help="mapping file or name (default: the one stored in the tokenizer)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Encode, write and say what was written."""
    import numpy as np
    import torch

    from rvq_action.artifact.codes_file import Header, TensorFile, fingerprint
    from rvq_action.commands.fit_line import fit_line
    from rvq_action.data.windows import Windows, horizon_frames
    from rvq_action.tokenizer import ActionTokenizer

    tolerance = parse_tolerance(parsed.tolerance)
    limits = {"tolerance": tolerance, "max_tokens": parsed.max_tokens, "beam": parsed.beam}
    tokenizer = ActionTokenizer.from_pretrained(parsed.tokenizer)
    dataset = open_dataset(tokenizer, parsed.dataset, parsed.mapping, parsed.embodiment)
    numbers = parse_episodes(parsed.episodes, dataset.reader.num_episodes)
    seconds = tokenizer.seconds if parsed.seconds is None else parsed.seconds
    horizon = horizon_frames(dataset.fps, seconds)
    episodes = [dataset.episodes[i] for i in numbers]
    windows = Windows(episodes, horizon, parsed.stride, parsed.tails)
    lengths = {episode.index: len(episode) for episode in episodes}
    ends = np.array([lengths[i] for i in windows.episode_ids.tolist()])
    encoded, missed = encode_windows(tokenizer, windows, **limits)
    tensors = encoded | {
        "episode": torch.from_numpy(windows.episode_ids.astype(np.int64)),
        "start": torch.from_numpy(windows.starts.astype(np.int64)),
        "frames": torch.from_numpy(np.minimum(ends - windows.starts, horizon).astype(np.int64)),
    }
    header = Header(
        tokenizer=Path(parsed.tokenizer).name,
        fingerprint=fingerprint(tokenizer),
        embodiment=dataset.embodiment,
        channels=list(dataset.layout.names),
        fps=dataset.fps,
        horizon=horizon,
        dataset=dataset.name,
        tolerance=tolerance,
        max_tokens=parsed.max_tokens,
    )
    TensorFile(header, tensors).save(parsed.out)
    tokens = float((tensors["codes"] >= 0).sum()) / len(windows)
    print(
        f"Wrote {parsed.out}: {len(windows)} chunks of {horizon} frames from {len(episodes)} "
        f"episodes, {tokens:.1f} tokens ({tokens * tokenizer.bits_per_token:.0f} bits) each."
    )
    if tolerance is not None:
        print(f"{missed} chunks are not within the tolerance with all the tokens they may have.")
    print(fit_line(tokenizer, windows)[1])
    return 0


def open_dataset(
    tokenizer: ActionTokenizer, path: str, mapping: str | None, embodiment: str | None
) -> RobotDataset:
    """Open a dataset as the tokenizer's training saw it.

    The mapping is the given one, else the one that the tokenizer stores for the embodiment; the
    embodiment is the given one, else the tokenizer's only one, else the dataset's own.

    Raises:
        ValueError: The tokenizer does not know the dataset's embodiment, or with other channels.
    """
    from rvq_action.data.dataset import RobotDataset

    known = tokenizer.embodiments
    if embodiment is not None and embodiment not in known:
        raise ValueError(
            f"There is no embodiment {embodiment!r}; this tokenizer knows {sorted(known)}."
        )
    if mapping is not None:
        dataset = RobotDataset.open(path, mapping)
    else:
        dataset = _open_as_trained(tokenizer, path, embodiment)
    name = embodiment or dataset.embodiment
    if name not in known or dataset.embodiment != name:
        raise ValueError(
            f"This tokenizer is for {_listed(known)}; {path} is of robot type "
            f"{dataset.reader.robot_type!r}, mapped to embodiment {dataset.embodiment!r}. Say "
            "which one it is with --embodiment, or give its --mapping."
        )
    if dataset.layout != known[name].layout:
        raise ValueError(
            f"The mapping of {path} fills layout {dataset.layout.name!r} with channels "
            f"{dataset.layout.names}, but the tokenizer was trained on {known[name].layout.names}."
        )
    return dataset


def _open_as_trained(tokenizer: ActionTokenizer, path: str, embodiment: str | None) -> RobotDataset:
    """Open a dataset by the mapping that the tokenizer stores for it, if it does."""
    from rvq_action.data.dataset import RobotDataset
    from rvq_action.data.lerobot import LeRobotReader
    from rvq_action.data.mapping import Mapping
    from rvq_action.data.resolve import check_columns, check_features, resolve_mapping

    known, reader = tokenizer.embodiments, LeRobotReader(path)
    only = next(iter(known)) if len(known) == 1 else None
    name = embodiment or only or resolve_mapping(reader).embodiment
    stored = known[name].mapping if name in known else None
    if stored is None:
        return RobotDataset.open(path)
    trained = Mapping.from_dict(stored, f"the mapping of {name!r}")
    try:
        check_features(trained, reader)
        check_columns(trained, reader)
    except ValueError as error:
        raise ValueError(
            f"This tokenizer is for {_listed(known)}; {path} is of robot type "
            f"{reader.robot_type!r}. {error}"
        ) from error
    return RobotDataset.open(path, trained)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


def parse_episodes(words: Sequence[str] | None, count: int) -> list[int]:
    """Numbers and ranges such as `3` and `10-19` -> episode numbers, ascending; None -> all.

    Raises:
        ValueError: A word is neither, or an episode does not exist.
    """
    if words is None:
        return list(range(count))
    numbers: set[int] = set()
    for word in words:
        first, dash, last = word.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"--episodes takes numbers and ranges such as 10-19, not {word!r}.")
        numbers |= set(range(int(first), int(last if dash else first) + 1))
    missing = sorted(n for n in numbers if n >= count)
    if missing or not numbers:
        raise ValueError(f"The dataset has episodes 0-{count - 1}, not {' '.join(words)}.")
    return sorted(numbers)


def parse_tolerance(words: Sequence[str] | None) -> AnyTolerance | None:
    """`1e-3`, or names and numbers such as `position=0.002 scored=1e-3`; None -> None.

    Raises:
        ValueError: A word is neither.
    """
    if words is None:
        return None
    pairs = [word.partition("=") for word in words]
    try:
        if len(words) == 1 and not pairs[0][1]:
            return float(words[0])
        return {group: float(number) for group, _, number in pairs}
    except ValueError as error:
        raise ValueError(
            "--tolerance takes one number, or names and numbers such as position=0.002, not "
            f"{' '.join(words)!r}."
        ) from error


def encode_windows(
    tokenizer: ActionTokenizer, windows: Windows, **limits: Any
) -> tuple[dict[str, Tensor], int]:
    """Codes of all windows, and how many windows are not within the tolerance.

    Args:
        tokenizer: Encodes.
        windows: N windows.
        **limits: `tolerance`, `max_tokens` and `beam` as `ActionTokenizer.encode` takes them.

    Returns:
        Codes [N, S, K], and proprio [N, D] (NaN where unknown) where the dataset has it; a number.
    """
    import torch
    from tqdm import tqdm

    from rvq_action.adaptive_length.tolerance import ToleranceWarning

    codes, anchors, missed = [], [], 0
    with (
        tqdm(total=len(windows), desc="encode", unit="chunk", disable=None, file=sys.stderr) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ToleranceWarning)
        for first in range(0, len(windows), BATCH):
            chunk = windows.chunk(slice(first, first + BATCH))
            proprio = None
            if chunk.anchor is not None and chunk.anchor_mask is not None:
                proprio = chunk.anchor.masked_fill(~chunk.anchor_mask, torch.nan)
                anchors.append(proprio)
            robot = (proprio, chunk.embodiment, chunk.fps)
            codes.append(tokenizer.encode(chunk.actions, *robot, mask=chunk.mask, **limits))
            if limits.get("tolerance") is not None:
                found = tokenizer.fidelity(chunk.actions, codes[-1], *robot, mask=chunk.mask)
                missed += int((~found.within(limits["tolerance"])).sum())
            bar.update(len(chunk))
    proprios = {"proprio": torch.cat(anchors)} if anchors else {}
    return {"codes": torch.cat(codes), **proprios}, missed
