"""`rvq-analysis`: look at tokenizers, and let them be compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.rollouts.command import rollouts_parser, run_rollouts
from analysis.tokens.command import run_tokens, tokens_parser
from rvq_action.housekeeping.console import guarded, kept_if_used

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from analysis.semantics.result import Study


def compare_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis compare`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Compare tokenizers with FAST, bins and a yardstick.")
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR"}
    parser.add_argument("--tokenizers", **many, default=[], help="artefact directories")
    parser.add_argument("--data", **many, required=True, help="datasets, scored where held out")
    parser.add_argument(
        "--fit_data", **many, default=[],
        help="where FAST, bins and the scored space are fitted; the training split by default",
    )  # fmt: skip
    parser.add_argument(
        "--features", **many, default=[],
        help="caches of `rvq-train features`: also measure what the codes tell about the pictures",
    )  # fmt: skip
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--fast_total", type=bool, default=True,
        help="also compare with a FAST whose own encodings always decode",
    )  # fmt: skip
    parser.add_argument(
        "--ar", type=bool, default=False,
        help="also measure how hard the tokens are to predict: trains a small model per row, for "
        "a robot of six joints about forty minutes of one CPU core",
    )  # fmt: skip
    return parser


def run_compare(arguments: Namespace) -> None:
    """Measure, print the tables, write metrics.json and index.html (and semantics.json)."""
    from analysis import compare, report, table
    from analysis.semantics import page, study, text

    studies: list[Study] = []
    with kept_if_used(arguments.out):
        comparison = compare.compute(
            arguments.tokenizers,
            arguments.data,
            arguments.fit_data,
            arguments.mapping,
            arguments.fast_total,
            arguments.ar,
        )
        if arguments.features:
            tokenizers, data = arguments.tokenizers, arguments.data
            mapping = arguments.mapping
            studies = study.compute(tokenizers, arguments.features, data, mapping=mapping)
    written = [compare.write_metrics(comparison, arguments.out)]
    tables = [table.render(comparison)]
    if studies:
        written.append(study.write(studies, arguments.out))
        tables.append(text.render(studies))
    more = page.sections(studies) if studies else []
    written.append(report.write(comparison, arguments.out, more))
    print("", *tables, "", *written, sep="\n")


def semantics_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis semantics`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Measure what codes tell about the pictures.")
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR", "required": True}
    parser.add_argument("--tokenizers", **many, help="artefact directories")
    parser.add_argument("--features", **many, help="caches of `rvq-train features`")
    parser.add_argument("--data", **many, help="datasets, measured where held out")
    parser.add_argument(
        "--plain", nargs="+", default=[], metavar="NAME_OR_DIR",
        help="what the others are held against, one per robot: some of them, or directories",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="galleries")
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_semantics(arguments: Namespace) -> None:
    """Measure, print the table, write semantics.json and index.html."""
    from analysis.semantics import page, study, text

    with kept_if_used(arguments.out):
        studies = study.compute(
            arguments.tokenizers,
            arguments.features,
            arguments.data,
            arguments.plain,
            arguments.seeds,
            arguments.mapping,
        )
    figures = study.write(studies, arguments.out)
    drawn = page.write(studies, arguments.out)
    print(f"\n{text.render(studies)}\n\n{figures}\n{drawn}")


def transfer_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis transfer`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Measure tokenizers where they were not trained.")
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR"}
    parser.add_argument("--tokenizers", **many, default=[], help="artefact directories")
    parser.add_argument(
        "--data", **many, required=True,
        help="datasets, scored where held out; those of robots that a tokenizer does not know are "
        "added to it, with a linear path of their training episodes",
    )  # fmt: skip
    parser.add_argument("--joint", type=Path | None, metavar="DIR", help="trained on many robots")
    parser.add_argument("--singles", **many, default=[], help="trained on one of them each")
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_transfer(arguments: Namespace) -> None:
    """Measure, print the tables, write transfer.json and index.html."""
    from analysis.transfer import page, study, text

    with kept_if_used(arguments.out):
        results = study.compute(
            arguments.tokenizers,
            arguments.data,
            arguments.joint,
            arguments.singles,
            arguments.mapping,
        )
    figures = study.write(results, arguments.out)
    drawn = page.write(results, arguments.out)
    print(f"\n{text.render(results)}\n\n{figures}\n{drawn}")


def ablation_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis ablation`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Measure the runs of an ablation and hold them together.")
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR", "default": []}
    parser.add_argument(
        "--rows", type=Path, default=Path("runs/ablation/rows"), metavar="DIR",
        help="rows of `rvq-train ablate`; the figures measured are added to them",
    )  # fmt: skip
    parser.add_argument(
        "--runs_dir", type=Path, default=Path("runs/ablation"), metavar="DIR",
        help="its runs, needed where there are rows to be measured",
    )  # fmt: skip
    parser.add_argument("--features", **many, help="caches of `rvq-train features`")
    parser.add_argument("--data", **many, help="datasets whose runs are to be measured")
    parser.add_argument("--seeds", type=int, default=3, help="galleries")
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_ablation(arguments: Namespace) -> None:
    """Measure what is new, print the table, write ablation.json, table.md and index.html."""
    from analysis.ablation import markdown, page, study

    with kept_if_used(arguments.out):
        ablations = study.compute(
            arguments.rows,
            arguments.runs_dir,
            arguments.features,
            arguments.data,
            arguments.seeds,
            arguments.mapping,
        )
    written = [module.write(ablations, arguments.out) for module in (study, markdown, page)]
    print(f"\n{markdown.render(ablations)}\n", *written, sep="\n")


def benchmark_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis benchmark`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        description="Time tokenizers beside FAST, on this machine: from chunks to codes and back, "
        "and as far as flat token ids (ids, adaptive-ids), which is what FAST gives; by FAST's own "
        "interface too (processor)."
    )
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR", "required": True}
    parser.add_argument("--tokenizers", **many, help="artefact directories")
    parser.add_argument("--data", **many, help="datasets whose held-out windows are encoded")
    parser.add_argument("--threads", type=int, default=1, help="of torch and of FAST's encoder")
    parser.add_argument("--compiled", type=bool, default=True, help="also time compiled modules")
    parser.add_argument(
        "--onnx", type=bool | None, default=None, help="also time exported files (if installed)"
    )
    parser.add_argument("--passes", type=int, default=7, help="passes that the medians are of")
    parser.add_argument("--mapping", help="mapping file or name, for all datasets")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_benchmark(arguments: Namespace) -> None:
    """Measure, print the tables, write benchmark.json and index.html."""
    from analysis.benchmark import page, study

    with kept_if_used(arguments.out):
        benchmark = study.compute(
            arguments.tokenizers,
            arguments.data,
            arguments.threads,
            arguments.compiled,
            arguments.onnx,
            passes=arguments.passes,
            mapping=arguments.mapping,
        )
    written = [module.write(benchmark, arguments.out) for module in (study, page)]
    print("", page.text(benchmark), "", *written, sep="\n")


def gradients_parser() -> ArgumentParser:
    """Arguments of `rvq-analysis gradients`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Draw how the terms of policies share their backbone.")
    many: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "DIR", "required": True}
    parser.add_argument("--runs", **many, help="folders of `rvq-vla train`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    return parser


def run_gradients(arguments: Namespace) -> None:
    """Print the medians, write gradients.json and index.html."""
    from analysis import gradients

    with kept_if_used(arguments.out):
        runs = [gradients.compute(folder) for folder in arguments.runs]
    for run in runs:
        print(run.name, json.dumps(gradients.medians(run)))
    print("", *gradients.write(runs, arguments.out), sep="\n")


COMMANDS = {
    "ablation": (ablation_parser, run_ablation),
    "benchmark": (benchmark_parser, run_benchmark),
    "compare": (compare_parser, run_compare),
    "gradients": (gradients_parser, run_gradients),
    "rollouts": (rollouts_parser, run_rollouts),
    "semantics": (semantics_parser, run_semantics),
    "tokens": (tokens_parser, run_tokens),
    "transfer": (transfer_parser, run_transfer),
}


def build_parser() -> ArgumentParser:
    """The parser of all subcommands."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog="rvq-analysis", description="Look at tokenizers side by side.")
    commands = parser.add_subcommands(required=True, dest="command")
    for name, (make_parser, _) in COMMANDS.items():
        subparser = make_parser()
        commands.add_subcommand(name, subparser, help=subparser.description)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded("rvq-analysis", words, "analysis", lambda: _run(words))


def _run(words: Sequence[str]) -> None:
    parsed = build_parser().parse_args(words)
    COMMANDS[parsed.command][1](parsed[parsed.command])


if __name__ == "__main__":
    sys.exit(main())
