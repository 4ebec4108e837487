"""The bench of training steps for the terminal."""

from __future__ import annotations

from vla.training.bench.study import Entry, TrainingBench


def text(bench: TrainingBench) -> str:
    """What was timed, on what."""
    told = bench.settings
    tokens = ", ".join(f"{count} {name}" for name, count in bench.tokens.items())
    checkpointing = "recomputed" if told.gradient_checkpointing else "kept"
    lines = [
        bench.hardware if bench.rates is None else f"{bench.device}; {bench.hardware}",
        f"{bench.parameters:,} parameters, {bench.trained:,} trained by {told.optimizer}, "
        f"{told.precision}, activations {checkpointing}; a sequence: {tokens}",
    ]
    if bench.rates is not None:
        lines.append(f"Measured: {bench.rates.flop_per_s / 1e12:,.0f} TFLOP/s multiplied.")
    return "\n".join(lines)


def line(entry: Entry) -> str:
    """One size of batch."""
    head = f"batch of {entry.batch_size}: "
    if entry.ms is None:
        return head + "does not fit this GPU's memory"
    rate = entry.tflops / entry.ms * 1000
    words = [f"{entry.ms:,.0f} ms a step", f"{entry.tflops:.3g} TFLOP ({rate:.3g} TFLOP/s)"]
    if entry.utilisation is not None:
        words.append(f"MFU {100 * entry.utilisation:.1f} %")
    if entry.peak_gb is not None:
        words.append(f"peak {entry.peak_gb:.1f} GB")
    return head + ", ".join(words)
