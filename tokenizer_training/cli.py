"""`rvq-train`: statistics, visual features, training, ablations and export of tokenizers."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.console import EXPECTED, guarded, kept_if_used, writable_folder

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    words = list(sys.argv[1:] if args is None else args)
    expected = (*EXPECTED, FloatingPointError)
    return guarded("rvq-train", words, "train", lambda: _run(words), expected)


def _run(words: Sequence[str]) -> None:
    if words[:1] == ["fit"]:
        _fit(words[1:])
    else:
        config = _parser().parse_args(words)
        COMMANDS[config.command][1](config[config.command])


def _parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="rvq-train", description="Train tokenizers, and what goes with it."
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, (build, _) in COMMANDS.items():
        subparser = build()
        commands.add_subcommand(name, subparser, help=subparser.description)
    return parser


def _fit_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    return ArgumentParser(description="Train a tokenizer on LeRobot datasets.")


def _fit(words: Sequence[str] | Namespace) -> None:
    from tokenizer_training.fit import fit
    from tokenizer_training.fit_cli import FitCLI

    _quieten_lightning()
    cli = FitCLI(list(words))
    run = cli.run_settings()
    with kept_if_used(run.run_dir):
        fit(run, cli.model, cli.datamodule, cli.trainer)


def _quieten_lightning() -> None:
    import lightning  # noqa: F401, because it sets its levels when it is imported

    for package in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)


def _ablate_parser() -> ArgumentParser:
    from tokenizer_training.ablation.command import ablate_parser

    return ablate_parser()


def _ablate(config: Namespace) -> None:
    from tokenizer_training.ablation.command import ablate

    _quieten_lightning()
    ablate(config)


def _statistics_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Statistics of the training episodes, in model space.")
    add = parser.add_argument
    add("--data.datasets", nargs="+", type=str, required=True, help="folders of LeRobot datasets")
    add("--mapping", type=str | None, default=None, help="mapping: a YAML file or a packaged name")
    add("--seconds", type=float, default=1.0, help="duration of a chunk")
    add("--split_seed", type=int, default=0, help="seed of the split into episodes")
    add("--out", type=str | None, default=None, help="JSON file to write; printed if not given")
    return parser


def _statistics(config: Namespace) -> None:
    from rvq_action.statistics import save_statistics
    from tokenizer_training.sources import open_sources
    from tokenizer_training.start import fit_embodiments
    from tokenizer_training.tables import statistics_table

    if config.out:
        writable_folder(Path(config.out).parent)
    sources = open_sources(
        config.data.datasets, config.mapping, config.split_seed, seconds=config.seconds
    )
    known = fit_embodiments(sources)
    for name, embodiment in known.items():
        print(statistics_table(name, embodiment))
    if config.out:
        save_statistics({n: e.statistics for n, e in known.items()}, config.out)


def _features_parser() -> ArgumentParser:
    from tokenizer_training.features.command import features_parser

    return features_parser()


def _features(config: Namespace) -> None:
    from tokenizer_training.features.command import features

    features(config)


def _export_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Turn a checkpoint into an artefact that can be loaded.")
    add = parser.add_argument
    add("--checkpoint", type=str, required=True, help="a checkpoint, or the folder of a run")
    add("--out", type=str, required=True, help="folder of the artefact")
    return parser


def _export(config: Namespace) -> None:
    from tokenizer_training.export import export_checkpoint

    writable_folder(Path(config.out).parent)
    tokenizer = export_checkpoint(Path(config.checkpoint), Path(config.out))
    print(f"Wrote {config.out}: {json.dumps(tokenizer.metadata.get('steps'))} steps.")


COMMANDS: dict[str, tuple[Callable[[], ArgumentParser], Callable[[Namespace], None]]] = {
    "statistics": (_statistics_parser, _statistics),
    "features": (_features_parser, _features),
    "fit": (_fit_parser, _fit),
    "ablate": (_ablate_parser, _ablate),
    "export": (_export_parser, _export),
}
