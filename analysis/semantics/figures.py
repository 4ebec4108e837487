"""The figures of the semantics page, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis import stability, svg
from analysis.rows import Row
from analysis.semantics import labels, latents, next_frame, noise, price, retrieval
from analysis.semantics.columns import R1
from analysis.semantics.context import CEILING
from analysis.semantics.labels import AccuracyDots
from analysis.semantics.next_frame import SkillBars
from analysis.semantics.result import Study
from analysis.semantics.retrieval import RetrievalCurve
from analysis.style import FAST, MUTED, SERIES
from analysis.table import cell

PLAIN = SERIES[7]
OTHERS = (SERIES[0], SERIES[2], SERIES[3], SERIES[4], SERIES[6], SERIES[5])


def colours_of(studies: Sequence[Study]) -> dict[str, str]:
    """A colour per tokenizer, the same on the whole page; the plain one is grey."""
    names = dict.fromkeys(name for study in studies for name in study.subjects)
    plain = {study.plain for study in studies}
    others = [name for name in names if name not in plain]
    colours = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)}
    return colours | {name: PLAIN for name in names if name in plain}


def retrieval_figure(study: Study, colours: dict[str, str]) -> str:
    """R@1 over the number of tokens."""
    curves = [(_curve(study, name), colours[name]) for name in study.subjects]
    ceilings = {
        f"{row.name.removeprefix(f'{CEILING}: ')} {cell(row, R1)}": row.metrics["retrieval_r1"]
        for row in study.of_kind(CEILING)
    }

    def paint(figure, axes) -> None:
        retrieval.plot(curves, ceilings, study.chance, axes[0, 0])
        figure.legend(loc="outside upper center", ncols=4)

    return svg.draw(f"{study.name}: retrieval", (9.5, 4.6), paint)


def _curve(study: Study, name: str) -> RetrievalCurve:
    rows = [row for row in study.rows if row.family == name]
    rows.sort(key=lambda row: row.metrics["tokens_mean"])
    ends = np.array([row.ends("retrieval_r1") for row in rows])
    tokens, r1 = (np.array([r.metrics[m] for r in rows]) for m in ("tokens_mean", "retrieval_r1"))
    return RetrievalCurve(name, tokens, r1, ends[:, 0], ends[:, 1])


def skill_figure(study: Study, colours: dict[str, str]) -> str:
    """Next-frame skill of the start frame alone, of codes and of the codes of other windows."""
    bars: list[tuple[str, tuple[float, float, float], str]] = []
    for row in study.of_kind("start"):
        bars.append((row.name, _estimate(row, "next_frame_skill"), MUTED))
    for name in study.subjects:
        row = study.row(name)
        bars.append((name, _estimate(row, "next_frame_skill"), colours[name]))
        bars.append((f"{name}, shuffled", _estimate(row, "next_frame_skill_shuffled"), MUTED))
    skill, low, high = np.array([values for _, values, _ in bars]).T
    result = SkillBars([label for label, _, _ in bars], skill, low, high)

    def paint(figure, axes) -> None:
        next_frame.plot(result, [colour for _, _, colour in bars], axes[0, 0])

    return svg.draw(f"{study.name}: next-frame skill", (5.6, 1.1 + 0.32 * len(bars)), paint)


def _estimate(row: Row, metric: str) -> tuple[float, float, float]:
    return row.metrics[metric], *row.ends(metric)


def stability_figure(study: Study, colours: dict[str, str]) -> str:
    """Word error rate over noise, with FAST's at as many bits."""
    curves, rivals = [], {}
    for name in study.subjects:
        row = study.row(name)
        curves.append((noise.curve(row, name), colours[name]))
        if f"fast_{noise.FIRST}" in row.metrics:
            rival = noise.curve(row, "FAST", "fast_noise_wer")
            rivals[tuple(rival.wer)] = (rival, FAST)

    def paint(figure, axes) -> None:
        stability.plot([*curves, *rivals.values()], axes[0, 0])
        figure.legend(loc="outside upper center", ncols=2)

    return svg.draw(f"{study.name}: token stability", (5.6, 3.3), paint)


def price_figure(study: Study, colours: dict[str, str]) -> str:
    """MSE over bits."""

    def paint(figure, axes) -> None:
        price.plot(study.errors, colours, axes[0, 0])
        axes[0, 0].legend(loc="upper right")

    return svg.draw(f"{study.name}: the price in reconstruction", (5.6, 3.3), paint)


def label_figure(study: Study, colours: dict[str, str]) -> str | None:
    """Balanced accuracies; None where the dataset has nothing to be told."""
    names = list(study.subjects)
    asked = [told.label for told in study.probed(names[0]).told]
    if not asked:
        return None
    dots = []
    for label in asked:
        metric = f"{label.name}_accuracy"
        values = np.array([_estimate(study.row(name), metric) for name in names])
        title = label.name.replace("_", " ")
        dots.append(AccuracyDots(title, names, values, labels.majority(label)))

    def paint(figure, axes) -> None:
        for result, ax in zip(dots, axes[0], strict=True):
            labels.plot(result, [colours[name] for name in names], ax)
        axes[0, 0].legend(loc="lower left")

    size = (5.6, 1.4 + 0.3 * len(names))
    return svg.draw(f"{study.name}: linear probes", size, paint, 1, len(dots), sharey=True)


def latent_figure(study: Study) -> str:
    """The latents of every tokenizer on a plane."""
    pictures = study.latents
    columns = min(3, len(pictures))
    rows = -(-len(pictures) // columns)

    def paint(figure, axes) -> None:
        for picture, ax in zip(pictures, axes.flat, strict=False):
            latents.plot(picture, ax)
        for ax in axes.flat[len(pictures) :]:
            ax.set_visible(False)
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)

    size = (9.5, 0.6 + (9.0 / max(columns, 2)) * rows * 0.85)
    return svg.draw(f"{study.name}: latents", size, paint, rows, columns)
