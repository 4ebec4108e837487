"""Which runs are still to be made: those without a row, checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvq_action.housekeeping.training_folder import CONTENTS, differences
from vla.ablation.row import TokenRow
from vla.ablation.run import TokenRun
from vla.action_tokens import digest, load_tokens
from vla.training.train_cli import TrainCLI, decisive

SHOWN = 3
PATHS = ("tokenizer", "policy")
PATHS_OF_DATA = ("datasets", "conversations")


class ParsedOptions(TrainCLI):
    """The options of a run, read and checked, but nothing built from them."""

    def instantiate_classes(self) -> None:
        """Nothing: a plan needs no module or trainer."""


@dataclass(frozen=True)
class Planned:
    """A run that is to be made.

    Attributes:
        run: The run.
        settings: Everything that decides its result, as its row remembers it: no path.
        fresh: The run's folder holds one with other settings, which is to go.
    """

    run: TokenRun
    settings: dict[str, Any]
    fresh: bool


def plan(runs: Sequence[TokenRun], out: Path, again: bool = False) -> list[Planned]:
    """The runs without a row of these settings.

    Args:
        runs: All that are asked for.
        out: Folder of the rows.
        again: Make runs anew whose row has other settings.

    Raises:
        FileNotFoundError: Something that is named is missing.
        ValueError: A row is damaged, or there are rows with other settings.
    """
    missing, strays = [], []
    for run in runs:
        options = options_of(run)
        settings = portable(options, run)
        differing = list[str]()
        if run.row(out).is_file():
            differing = differences(TokenRow.load(run.row(out)).settings, settings)
            if not differing:
                continue
        differing = differing or _left_over(run, options)
        strays += [f"{run.name} ({'; '.join(differing[:SHOWN])})"] if differing else []
        missing.append(Planned(run, settings, fresh=bool(differing)))
    if strays and not again:
        raise ValueError(
            f"{len(strays)} of {len(runs)} runs are there with other settings: {strays[0]}"
            f"{' ...' if strays[1:] else ''}. Make them anew with --again, or choose other --rows "
            "and --runs."
        )
    return missing


def options_of(run: TokenRun) -> dict[str, Any]:
    """The options of the training that decide its result.

    Raises:
        ValueError: The budget cannot be read.
    """
    try:
        parsed = ParsedOptions(run.words())
    except SystemExit as error:
        raise ValueError(
            f"{run.name}: `rvq-vla train` does not understand its options (see above). Mend the "
            "budget."
        ) from error
    return decisive(json.loads(parsed.parser.dump(parsed.config, format="json")))


def portable(options: dict[str, Any], run: TokenRun) -> dict[str, Any]:
    """Everything that decides a run's row; JSON types, no path."""
    budget, rollouts = run.budget, run.budget.rollouts
    kept = {key: value for key, value in options.items() if key not in PATHS}
    data = {key: v for key, v in options["data"].items() if key not in PATHS_OF_DATA}
    if data.get("mapping") is not None:
        data["mapping"] = Path(data["mapping"]).name
    settings = {
        **kept,
        "data": data,
        "tokens": digest(load_tokens(run.arm.tokenizer)),
        "bridge": None if budget.bridge is None else _content(budget.bridge),
        "rollouts": {**rollouts.decisive(), "tasks": rollouts.tasks, "starts": rollouts.starts},
    }
    return json.loads(json.dumps(settings))


def _left_over(run: TokenRun, options: dict[str, Any]) -> list[str]:
    """What differs in the run that is in the folder, if one is."""
    if not run.folder.record.is_file():
        return []
    claimed = json.loads(run.folder.record.read_text())
    for noted in ("found", CONTENTS):
        claimed.pop(noted, None)
    return differences(claimed, options)


def _content(bridge: Path) -> str:
    """Equal for equal questions.

    Raises:
        FileNotFoundError: There are none.
        ValueError: Nothing is asked of held-out episodes.
    """
    files = [bridge / f"{part}.jsonl" for part in ("train", "held_out")]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{', '.join(missing)} is missing. Make the questions: rvq-vla bridge --out {bridge}"
        )
    empty = [str(file) for file in files if not file.read_bytes().strip()]
    if empty:
        raise ValueError(
            f"{', '.join(empty)} asks nothing. Record more demonstrations, or ask more kinds of "
            "questions: rvq-vla bridge."
        )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
