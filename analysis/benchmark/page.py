"""The benchmark as a table for the terminal and as one self-contained page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from analysis import svg
from analysis.benchmark.result import Benchmark, DatasetBenchmark, Entry
from analysis.benchmark.runners import PUBLIC, WAYS
from analysis.benchmark.study import FAST
from analysis.columns import Column
from analysis.report import figure
from analysis.report_tables import heading, table
from analysis.style import FAST as FAST_COLOUR
from analysis.style import GRID, SERIES, number_ticks
from analysis.table import aligned

COLOURS = (SERIES[0], SERIES[3], SERIES[2], SERIES[4], SERIES[7])
STROKES = ("-", "--", ":")
"""Where there are more lines than colours."""
NOTE = (
    "Time per chunk relative to FAST at the same size of batch; below the line is faster. Encoding "
    "and decoding together, medians over passes in which all were asked in turn."
)


def _times(value: float) -> str:
    return f"{value:.2f}×" if value < 10 else f"{value:.0f}×"


def _micros(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}×"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.4g} %"


COLUMNS = (
    Column("encode_ratio", "encode", _times, "time to encode a chunk, relative to FAST"),
    Column("decode_ratio", "decode", _times, "time to decode a chunk, relative to FAST"),
    Column("both_ratio", "both", _times, "encoding and decoding together, relative to FAST"),
    Column("encode_us", "encode, µs", _micros, "median microseconds per chunk"),
    Column("decode_us", "decode, µs", _micros, "median microseconds per chunk"),
    Column(
        "same_codes",
        "same codes",
        _share,
        "chunks whose codes are those of `public` on the CPU",
    ),
    Column(
        "error_ratio",
        "error",
        _ratio,
        "mean squared error of decoded chunks relative to that of `public` on the CPU",
    ),
)
LABELS = ("batch", "tokenizer", "way", "device")


def text(benchmark: Benchmark) -> str:
    """One table per dataset."""
    head = [*LABELS, *(column.heading for column in COLUMNS)]
    parts = [f"{benchmark.hardware}; {_threads(benchmark)}"]
    for dataset in benchmark.datasets:
        lines = [[*_labels(e), *_cells(e)] for e in dataset.entries]
        parts.append(f"{_facts(dataset)}\n{aligned([head, *lines])}")
    return "\n\n".join(parts)


def write(benchmark: Benchmark, folder: Path) -> Path:
    """Write index.html."""
    path = folder / "index.html"
    path.write_text(render(benchmark), encoding="utf-8")
    return path


def render(benchmark: Benchmark) -> str:
    """The page."""
    body = [
        "<h1>Time to encode and to decode, beside FAST</h1>",
        f'<p class="facts">{escape(benchmark.hardware)}; {_threads(benchmark)}.</p>',
    ]
    for dataset in benchmark.datasets:
        body += [
            f"<h2>{escape(dataset.dataset)}</h2>",
            f'<p class="facts">{escape(_facts(dataset))}.</p>',
            figure(_drawing(dataset), NOTE),
            _table(dataset),
        ]
    body.append(_closing())
    template = Template(files("analysis").joinpath("templates/compare.html").read_text("utf-8"))
    return template.substitute(title="Speed of action tokenizers", body="\n".join(body))


def plot(entries: Sequence[Entry], label: Callable[[Entry], str], ax) -> None:
    """Ratio to FAST over the size of batch, a line per tokenizer, way and device."""
    lines: dict[str, list[Entry]] = {}
    for entry in entries:
        lines.setdefault(label(entry), []).append(entry)
    for number, (name, points) in enumerate(lines.items()):
        ratios = [point.both_ratio for point in points]
        again, place = divmod(number, len(COLOURS))
        style = {"color": COLOURS[place], "linestyle": STROKES[again % len(STROKES)]}
        ax.plot(range(len(points)), ratios, marker="o", label=name, **style)
    sizes = list(dict.fromkeys(entry.batch for entry in entries))
    ax.axhline(1, color=FAST_COLOUR, linewidth=1.4, label="FAST")
    ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    ax.set(xlabel="chunks per call", ylabel="time relative to FAST", yscale="log")
    number_ticks(ax.yaxis)
    ax.grid(axis="y", color=GRID)


def _drawing(dataset: DatasetBenchmark) -> str:
    ours = [entry for entry in dataset.entries if entry.way != FAST]
    several = len({entry.tokenizer for entry in ours}) > 1

    def label(entry: Entry) -> str:
        return " · ".join([*([entry.tokenizer] if several else []), entry.way, entry.device])

    def paint(figure, axes) -> None:
        plot(ours, label, axes[0, 0])
        axes[0, 0].legend(loc="upper right")

    return svg.draw(f"{dataset.dataset}: time relative to FAST", (9.5, 3.6), paint)


def _table(dataset: DatasetBenchmark) -> str:
    lines: list[str] = []
    size = dataset.entries[0].batch
    for entry in dataset.entries:
        classes = " ".join(["gap"] * (entry.batch != size) + ["whole"] * (entry.way == PUBLIC))
        size = entry.batch
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*_labels(entry), *_cells(entry)))
        lines.append(f'<tr class="{classes}">{cells}</tr>')
    labels = "".join(f"<th>{name}</th>" for name in LABELS)
    return table(labels + "".join(heading(column) for column in COLUMNS), lines)


def _labels(entry: Entry) -> list[str]:
    return [str(entry.batch), entry.tokenizer, entry.way, entry.device]


def _cells(entry: Entry) -> list[str]:
    return [column.show(getattr(entry, column.metric)) for column in COLUMNS]


def _facts(dataset: DatasetBenchmark) -> str:
    bits = ", ".join(f"{name} {bits:.0f} bits" for name, bits in dataset.bits.items())
    return f"{dataset.dataset}: chunks of {dataset.horizon} x {dataset.channels}; {bits}"


def _threads(benchmark: Benchmark) -> str:
    return f"{benchmark.threads} thread{'s' * (benchmark.threads > 1)} each"


def _closing() -> str:
    meanings = {column.heading: column.meaning for column in COLUMNS} | WAYS
    items = "".join(f"<li><b>{escape(k)}</b>: {escape(v)}</li>" for k, v in meanings.items())
    return (
        f"<h2>How to read this</h2><ul class='note'>{items}</ul>"
        '<p class="note">FAST is the one whose bits per chunk come nearest, encoding chunks that '
        "are normalised already. Between machines compare ratios; microseconds on a CPU say little "
        "about another. All figures are in <code>benchmark.json</code>.</p>"
    )
