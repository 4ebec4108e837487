"""The comparison as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis import autoregression
from analysis import report_figures as figures
from analysis.against_fast import FAILING
from analysis.columns import COLUMNS, SCORE, SCORE_TOTAL, TIMES
from analysis.compare import Comparison, DatasetComparison
from analysis.report_tables import between, full_table, headline_table
from analysis.rows import Row
from analysis.scored import LIMIT

RANGE_NOTE = (
    "Below 1 is better than FAST. The score is the geometric mean, over the prefixes that fall "
    "into FAST's range of bits, of the error relative to FAST at equal bits; bars and small "
    "figures are 95 % intervals, by resampling held-out episodes. Hollow dots and “vs total”: the "
    "same against a stronger FAST, whose byte-pair encoding works on the integers themselves and "
    "whose alphabet covers every chunk, so that its own encodings always decode; where the "
    "published FAST fails on chunks, each counted as zeros, that is the fairer figure. "
    "“Adaptive”: as few tokens as a tolerance allows, end token counted."
)

FLIP_NOTE = "The error after one wrong token, by its level; the line: FAST nearest in bits."
AR_NOTE = (
    "How hard the tokens are to predict: held-out cross-entropy of a causal transformer of "
    f"{autoregression.LAYERS} layers and width {autoregression.WIDTH} that sees the robot's state "
    f"and the tokens before. One model per point of FAST, bins and adaptive length, "
    f"{autoregression.STEPS} steps of {autoregression.BATCH} chunks each; one for all prefixes of "
    "a tokenizer."
)


def write(comparison: Comparison, folder: Path, more: Sequence[str] = ()) -> Path:
    """Write index.html, with further sections at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(render(comparison, more), encoding="utf-8")
    return path


def render(comparison: Comparison, more: Sequence[str] = ()) -> str:
    """The page."""
    colours = figures.colours_of(comparison.datasets)
    names = ", ".join(d.data.name for d in comparison.datasets)
    body = [_opening(comparison, colours)]
    body += [_dataset(dataset, colours) for dataset in comparison.datasets]
    body += [_closing(comparison), *more]
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title=escape(f"Action tokenizers on {names}"), body="\n".join(body))


def _opening(comparison: Comparison, colours: dict[str, str]) -> str:
    count = len(comparison.datasets)
    parts = [
        "<h1>Action tokenizers, compared at equal bits</h1>",
        f'<p class="facts">{count} dataset{"s" * (count > 1)}, held-out episodes only, all windows '
        f"of one second. {escape(comparison.hardware)}.</p>",
    ]
    if colours:
        parts.append(headline_table(comparison.datasets, colours))
        if any("score" in d.row(n).metrics for d in comparison.datasets for n in d.families):
            parts.append(figure(figures.score_figure(comparison.datasets, colours), RANGE_NOTE))
    return "\n".join(parts)


def _dataset(result: DatasetComparison, colours: dict[str, str]) -> str:
    parts = [f"<h2>{escape(result.data.name)}</h2>", _facts(result)]
    parts += [f'<p class="note">{escape(note)}.</p>' for note in result.notes()]
    parts += [_tiles(result), "<h3>Rate and distortion</h3>", _rate_distortion(result, colours)]
    parts += _modelability(result, colours)
    parts += ["<h3>Held-out chunks over their reconstructions</h3>", _trajectories(result)]
    parts += ["<h3>Error in physical units</h3>", _groups(result, colours)]
    parts += _details(result, colours)
    parts += [
        "<h3>All figures</h3>",
        f"<details><summary>{len(result.rows)} rows; hover over a heading for its meaning"
        f"</summary>{full_table(result, colours)}</details>",
    ]
    return "\n".join(parts)


def _facts(result: DatasetComparison) -> str:
    data = result.data
    held_out, train = (_episodes(e) for e in (data.split.held_out, data.split.train))
    text = (
        f"Embodiment {data.embodiment}, {len(data.channels)} of {data.layout.width} channels, "
        f"{data.horizon} frames at {data.fps:g} Hz. Scored on {len(data.batch)} windows of the "
        f"{len(data.split.held_out)} held-out episodes {held_out} (split: {data.split_source}); "
        f"fitted on {len(data.training)} windows of the training episodes {train or 'elsewhere'}."
    )
    return f'<p class="facts">{escape(text)}</p>'


def _episodes(numbers: Sequence[int]) -> str:
    """Episode numbers with runs drawn together: 0-3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


def _tiles(result: DatasetComparison) -> str:
    fast = [row for row in result.rows if row.kind == "fast"]
    worst = max(fast, key=lambda row: row.metrics["decode_failures"])
    lost = sum(row.metrics["flip_failures"] for row in fast) / len(fast)
    failing = worst.metrics["decode_failures"]
    tiles = [_score_tile(result.row(family), failing) for family in result.families]
    tiles += [
        _tile(lost, "of FAST's chunks are lost by", "one wrong token"),
        _tile(failing, "of held-out chunks FAST cannot", f"decode ({worst.name})"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _score_tile(row: Row, failing: float) -> str:
    """The score; where FAST fails, the one against the FAST that always decodes.

    Where that was not measured a score against a FAST that fails has no colour.
    """
    fails, rival, colour = failing > FAILING, "", ""
    column = SCORE_TOTAL if fails and SCORE_TOTAL.metric in row.metrics else SCORE
    if column.metric not in row.metrics:
        return ""
    value = row.metrics[column.metric]
    if column is SCORE_TOTAL:
        rival = " against the FAST that always decodes"
    elif fails:
        rival = f" against a FAST that fails on {100 * failing:.2g} %"
    if column is SCORE_TOTAL or not fails:
        colour = f' class="{"good" if value < 1 else "bad"}"'
    return (
        f'<div class="tile"><b{colour}>{column.show(value)}</b><span>{escape(row.name)}<br>'
        f"score{rival}{between(row, column)}</span></div>"
    )


def _tile(share: float, first: str, second: str) -> str:
    value = f"{100 * share:.3g} %"
    return f'<div class="tile"><b>{value}</b><span>{first}<br>{escape(second)}</span></div>'


def _rate_distortion(result: DatasetComparison, colours: dict[str, str]) -> str:
    return figure(
        figures.rate_distortion_figure(result, colours),
        f"Every prefix of our tokens is a point of its curve. Error on values clipped to ±{LIMIT}, "
        "one normalisation for all. Hollow: FAST's points off its Pareto front. Dotted: what a "
        "Gaussian source of the same covariance would need.",
    )


def _modelability(result: DatasetComparison, colours: dict[str, str]) -> list[str]:
    drawing = figures.modelability_figure(result, colours)
    return [] if drawing is None else ["<h3>AR-modelability</h3>", figure(drawing, AR_NOTE)]


def _trajectories(result: DatasetComparison) -> str:
    assert result.trajectories is not None
    drawn = result.trajectories
    shown = ", ".join(drawn.reconstructed)
    name = result.families[0] if result.families else "FAST"
    return figure(
        figures.trajectory_figure(result),
        "Channels that move most in their group, in windows at the 50th, 75th and 95th percentile "
        f"of motion; {shown} ({escape(name)}) over the recording (broad line)"
        f"{_relative_to_state(drawn.anchored, drawn.channels)}.",
    )


def _relative_to_state(anchored: Sequence[str], channels: Sequence[str]) -> str:
    """Which of the channels are drawn relative to the robot's state, to end a sentence with."""
    if not anchored:
        return ""
    which = "" if len(anchored) == len(channels) else f" {escape(', '.join(anchored))}"
    return f",{which} relative to the robot's state before the chunk"


def _groups(result: DatasetComparison, colours: dict[str, str]) -> str:
    return figure(
        figures.group_figure(result, colours),
        "Mean error per value, not clipped; rotations as geodesic angles. FAST and 256 bins encode "
        "chunks that were clipped in scored space, ours as they were recorded: that costs the "
        "first two where a recording goes further. FAST's scales at which more than "
        f"{100 * FAILING:g} % of the chunks fail are left out.",
    )


def _details(result: DatasetComparison, colours: dict[str, str]) -> list[str]:
    drawn = [
        figure(
            figures.codebook_figure(result, family),
            f"{escape(family)}: codes in use on {len(result.data.batch)} held-out windows.",
        )
        for family in result.families
    ]
    noise = "Edit distance between the tokens of a chunk and of the same chunk with noise."
    flips = figures.flip_figure(result, colours)
    drawn += [figure(flips, FLIP_NOTE)] if flips else []
    drawn += [
        figure(figures.stability_figure(result, colours), noise),
        figure(figures.spectrum_figure(result, colours), "The error by frequency, all tokens."),
    ]
    heading = "<h3>Codebooks, stability, smoothness</h3>"
    return [heading, f'<div class="pair">{"".join(drawn)}</div>']


def _closing(comparison: Comparison) -> str:
    meanings = "".join(
        f"<li><b>{escape(column.heading)}</b>: {escape(column.meaning)}</li>"
        for column in (*COLUMNS, *TIMES)
    )
    return (
        f"<h2>How to read this</h2><ul class='note'>{meanings}</ul>"
        f'<p class="note">Times: one chunk per call, all tokenizers in turn in every pass, on '
        f"{escape(comparison.hardware)}; <code>rvq-analysis benchmark</code> has larger batches "
        "and other ways to run a tokenizer. Absolute times and all intervals are in "
        "<code>metrics.json</code>.</p>"
    )


def figure(drawing: str, caption: str) -> str:
    """A drawing with its caption."""
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"
