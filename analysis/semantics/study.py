"""What is in the codes beside the motion: every tokenizer measured against what cameras saw.

semantics.json is `{dataset: {"facts": {...}, "rows": {row: {"kind": ..., metric: value,
metric + "_ci": [low, high]}}}}`. Rows are `NAME` (all codes), `NAME@k` (k of the tokens: the first
level, or a quarter), `ceiling: ...`, `start frame alone` and `fast@SCALE`. Metrics of a tokenizer:

    retrieval_r1, _r5, _median_rank      own pictures found; _spread over galleries
    embedded_r1, ...                     the same, the probe reading the codes' vectors as well
    retrieval_r1_floor                   that of probes fitted with shuffled images, three shuffles
    retrieval_r1_of_ceiling              over that of the continuous chunk and anchor
    next_frame_skill                     of the frame after the chunk; _shuffled from other codes
    task_accuracy, gripper_event_accuracy    balanced; _majority beside them
    noise_wer_SIGMA, token_overlap       fast_noise_wer_SIGMA at equal bits beside them
    noise_wer_SIGMA_over_fast            less that, of the same windows under the same noise
    mse, mse_times_plain                 in scored space, over the plain tokenizer's at equal bits

Ceilings are trained, and images shuffled, with three seeds: figures are means over these fits, and
`_fit_spread`, of a ceiling's R@1 and R@5 and of the floor, is the standard deviation over them.

`_over_plain` is the paired difference to the plain tokenizer at as many tokens, `_times_plain` the
ratio; `_over_fast` is that to FAST at as many bits, absent where FAST has no such bits. Intervals
resample episodes; with fewer than 4 held-out ones there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.evalset import EvalSet, load_eval_set
from analysis.loading import LoadedTokenizer, check_robots, load_tokenizers, splits_of
from analysis.rows import Row
from analysis.rvq_codec import RvqCodec, artefact_name
from analysis.semantics import (
    context,
    fits,
    labels,
    latents,
    next_frame,
    noise,
    price,
    retrieval,
    seen,
)
from analysis.semantics.context import Context
from analysis.semantics.result import Study
from analysis.semantics.seen import SemanticSet
from analysis.semantics.subject import Probed, Subject
from rvq_action.data.dataset import RobotDataset
from rvq_action.housekeeping.json_file import write_json

if TYPE_CHECKING:
    from tokenizer_training.features.cache import DatasetFeatures


def compute(
    tokenizers: Sequence[Path],
    features: Sequence[Path],
    data: Sequence[Path],
    plain: str | Path | Sequence[str | Path] = (),
    seeds: int = 3,
    mapping: Path | str | None = None,
    in_context: bool = True,
    quiet: bool = False,
) -> list[Study]:
    """Measure every tokenizer on every dataset.

    Args:
        tokenizers: Artefact directories.
        features: Caches of `rvq-train features`.
        data: Datasets, measured on their held-out episodes.
        plain: The tokenizer that the others are held against, or one per robot: names of some of
            them, or directories.
        seeds: Galleries.
        mapping: Of the datasets; None to find each one's own.
        in_context: Also measure the ceilings of retrieval and FAST.
        quiet: Draw no progress bar.

    Raises:
        ValueError: A dataset has no features, a plain tokenizer is none, no tokenizer knows the
            robot of any dataset, or there is no gallery.
    """
    from tokenizer_training.features.cache import FeatureCache

    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least one gallery is needed.")
    named = [plain] if isinstance(plain, str | Path) else plain
    loaded, plain_names = _load(tokenizers, named)
    caches = [FeatureCache.open(path) for path in features]
    opened = [RobotDataset.open(path, mapping) for path in data]
    check_robots([dataset.embodiment for dataset in opened], loaded)
    found = [seen.cache_of(caches, dataset.name) for dataset in opened]
    splits = splits_of(loaded)
    studies = []
    for dataset, looked in zip(opened, found, strict=True):
        eval_set = load_eval_set(dataset, None, splits)
        windows = seen.load(eval_set, dataset, looked, seeds)
        studies.append(measure(loaded, windows, looked, plain_names, in_context, quiet))
    return studies


def _load(
    tokenizers: Sequence[Path], plain: Sequence[str | Path]
) -> tuple[list[LoadedTokenizer], list[str]]:
    """The artefacts, plain ones first, and the plain ones' names."""
    paths = [Path(path) for path in tokenizers]
    known = {artefact_name(path): path for path in paths}
    chosen: dict[str, Path] = {}
    for named in plain:
        name = str(named) if str(named) in known else artefact_name(Path(named))
        if name not in known and not (Path(named) / "config.json").is_file():
            raise ValueError(
                f"--plain {named} is neither the name of a tokenizer ({', '.join(known)}) nor "
                "the directory of one."
            )
        chosen[name] = known.get(name, Path(named))
    others = [path for path in paths if path not in chosen.values()]
    return load_tokenizers([*chosen.values(), *others], closed_forms=False), list(chosen)


def measure(
    loaded: Sequence[LoadedTokenizer],
    data: SemanticSet,
    features: DatasetFeatures,
    plain: Sequence[str] = (),
    in_context: bool = True,
    quiet: bool = False,
) -> Study:
    """Measure tokenizers on one dataset; nothing is drawn.

    Args:
        loaded: The artefacts, plain ones first.
        data: The windows.
        features: Where their features are from.
        plain: Names of the plain ones; the first that knows the robot is held against the others.
        in_context: Also measure the ceilings of retrieval and FAST.
        quiet: Draw no progress bar.
    """
    from tqdm.auto import tqdm

    study = Study(data, features.teacher.kind, features.fingerprint)
    known = _known(loaded, study)
    study.plain = next((codec.name for codec in known if codec.name in plain), None)
    asked, absent = labels.labels_of(data)
    study.missing |= absent
    start = next_frame.start_inputs(data)
    around = context.measure(data, start, known[:1], in_context, quiet)
    study.rows += around.rows
    for codec in tqdm(known, desc=study.name, unit="tokenizer", disable=quiet):
        subject = Subject.of(codec, data, start, asked)
        study.subjects[codec.name] = subject
        study.errors[codec.name] = price.compute(codec, data.data, subject.views)
        study.latents.append(latents.compute(codec, data))
        study.rows += _rows(subject, study, around)
    return study


def write(studies: Sequence[Study], folder: Path) -> Path:
    """Write semantics.json."""
    path = folder / "semantics.json"
    write_json({study.name: study.to_dict() for study in studies}, path)
    return path


def _known(loaded: Sequence[LoadedTokenizer], study: Study) -> list[RvqCodec]:
    """The tokenizers that know the embodiment."""
    data: EvalSet = study.data.data
    codecs = []
    for entry in loaded:
        if data.embodiment in entry.embodiments:
            codecs.append(RvqCodec(entry.tokenizer, entry.name, entry.kind, data))
        else:
            names = ", ".join(entry.embodiments)
            study.missing[entry.name] = f"knows {names}, not {data.embodiment}"
    return codecs


def _rows(subject: Subject, study: Study, around: Context) -> list[Row]:
    """A row for every view of one tokenizer."""
    codec, data = subject.codec, study.data.data
    plain = study.subjects[study.plain] if study.plain else None
    plain = None if plain is subject else plain
    plain_errors = study.errors[plain.codec.name] if plain else None
    encoded = noise.encode(codec, data, around.disturbed)
    rows = []
    for view in subject.views:
        kind = f"{codec.kind}-prefix" if view.name else codec.kind
        row = Row(f"{codec.name}{view.name}", codec.name, kind)
        row.add("tokens_mean", float(view.tokens))
        other = plain.probed(plain.counterpart(view)) if plain else None
        _report(row, subject.probed(view), other, around)
        steady = noise.compute(encoded, data, view)
        noise.report(row, steady, noise.at_equal_bits(around.fast, steady.bits))
        price.report(row, view, study.errors[codec.name], plain_errors)
        rows.append(row)
    return rows


def _report(row: Row, probed: Probed, plain: Probed | None, around: Context) -> None:
    """What the probes found, beside what they find in the plain tokenizer's codes."""
    retrieval.report(row, probed.retrieval, plain.retrieval if plain else None)
    retrieval.report(row, probed.embedded, plain.embedded if plain else None, "embedded")
    fits.report_floor(row, probed.floor)
    if around.ceiling is not None:
        fits.report_ceiling(row, probed.retrieval, around.ceiling)
    others = around.start_alone, probed.next_frame_of_others, plain.next_frame if plain else None
    next_frame.report(row, probed.next_frame, *others)
    for told in probed.told:
        labels.report(row, told)
