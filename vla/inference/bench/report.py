"""The benchmark as a table for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rvq_action.housekeeping.json_file import write_json
from vla.inference.bench.study import CACHED, PLAIN, Bench, Entry

NOTE = "Times on a CPU say little about another: quote the ratios."


def text(bench: Bench) -> str:
    """All entries, one line each, and what stands around them."""
    facts = f"{bench.parameters:,} parameters, {bench.dtype}, {bench.steps} denoising steps"
    rows = [_cells(entry) for entry in bench.entries]
    parts = [f"{_machine(bench)}\n{facts}, {bench.settings.horizon} frames", _table(rows)]
    parts += [f"{size} x {size} left out: {why}" for size, why in bench.skipped.items()]
    if bench.rates is None:
        parts.append(NOTE)
    else:
        bandwidth, flops = bench.rates.bytes_per_s / 1e9, bench.rates.flop_per_s / 1e12
        parts.append(f"Measured: {bandwidth:,.0f} GB/s copied, {flops:,.0f} TFLOP/s multiplied.")
    return "\n\n".join(parts)


def write(bench: Bench, path: Path) -> None:
    """Write everything, every round's times included, as JSON."""
    plain = asdict(bench)
    plain["settings"] |= {key: list(plain["settings"][key]) for key in ("views", "sizes")}
    write_json(plain, path)


def _machine(bench: Bench) -> str:
    return bench.hardware if bench.rates is None else f"{bench.device}; {bench.hardware}"


def _cells(entry: Entry) -> dict[str, str]:
    cells = {"views": str(entry.views), "size": str(entry.size), "tokens": str(entry.tokens)}
    cells |= {f"{name}, ms": f"{way.ms:.1f}" for name, way in entry.ways.items()}
    for name in (name for name in entry.ways if name not in (PLAIN, CACHED)):
        way = entry.ways[name]
        cells[f"{PLAIN}/{name}"] = f"{way.over_plain:.2f}"
        cells[f"{CACHED}/{name}"] = f"{way.over_cached:.2f}"
        cells[f"{name} apart"] = f"{way.apart:.0e}"
        if way.peak_gb is not None:
            cells |= {f"{name}, Hz": f"{1000 / way.ms:.1f}", f"{name}, GB": f"{way.peak_gb:.1f}"}
    if entry.bounds is not None:
        cells["weights, ms"] = f"{entry.bounds.weights:.1f}"
        cells["FLOPs, ms"] = f"{entry.bounds.flops:.1f}"
    return cells


def _table(rows: Sequence[dict[str, str]]) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
