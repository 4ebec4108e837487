"""What the tokenizers are read against: the ceilings of retrieval, the start frame alone, FAST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import stability
from analysis.codecs import FAST_SCALES, FastCodec, bits_per_window
from analysis.evalset import Batch
from analysis.rows import Row
from analysis.rvq_codec import RvqCodec
from analysis.semantics import ceiling, codes, fits, next_frame, noise, probe, retrieval
from analysis.semantics.fits import Fits
from analysis.semantics.next_frame import NextFrame
from analysis.semantics.noise import Steadiness
from analysis.semantics.probe import Inputs
from analysis.semantics.seen import SemanticSet
from analysis.stability import Disturbed

CEILING = "ceiling"


@dataclass(frozen=True)
class Context:
    """Measured once per dataset.

    Attributes:
        rows: Their rows.
        ceiling: Retrieval by the continuous chunk and anchor, trained with several seeds; None
            where not asked for.
        start_alone: The next frame from the start frame alone.
        fast: Stability of FAST at its scales; empty where not asked for.
        disturbed: The disturbed windows, the same for every tokenizer.
    """

    rows: list[Row]
    ceiling: Fits | None
    start_alone: NextFrame
    fast: list[Steadiness]
    disturbed: Disturbed[Batch]


def measure(
    data: SemanticSet,
    start: Inputs,
    codecs: Sequence[RvqCodec],
    whole: bool = True,
    quiet: bool = False,
) -> Context:
    """Measure what does not depend on a tokenizer.

    Args:
        data: The windows.
        start: The start feature as a probe reads it.
        codecs: The first of them says at how many bits FAST is asked to retrieve.
        whole: Also the ceilings and FAST.
        quiet: Draw no progress bar.
    """
    from tqdm.auto import tqdm

    disturbed = stability.disturb(data.data)
    alone = next_frame.compute(start, None, data)
    row = Row("start frame alone", "start frame alone", "start")
    row.add("next_frame_skill", alone.skill())
    if not whole:
        return Context([row], None, alone, [], disturbed)
    trained = tqdm(ceiling.readings(data).items(), desc="ceilings", unit="reading", disable=quiet)
    found = {name: ceiling.compute(reading, data) for name, reading in trained}
    rows = [row, *(_ceiling_row(name, result) for name, result in found.items())]
    rows.append(_linear_row(data))
    fast = [FastCodec(data.data, scale) for scale in FAST_SCALES]
    rivals = [noise.compute(noise.encode(codec, data.data, disturbed), data.data) for codec in fast]
    if codecs:
        rows.append(_fast_row(data, fast[noise.nearest(rivals, codecs[0].bits)]))
    return Context(rows, next(iter(found.values())), alone, rivals, disturbed)


def _ceiling_row(name: str, result: Fits) -> Row:
    row = Row(f"{CEILING}: {name}", CEILING, CEILING)
    fits.report(row, result)
    return row


def _linear_row(data: SemanticSet) -> Row:
    """The probe of the codes, given the continuous chunk and anchor instead."""
    name, reading = next(iter(ceiling.readings(data).items()))
    inputs = probe.standardised(reading.training, reading.held_out)
    row = Row(f"same probe: {name}", "same probe", "continuous")
    retrieval.report(row, retrieval.compute(inputs, data), None)
    return row


def _fast_row(data: SemanticSet, codec: FastCodec) -> Row:
    """FAST under the same probe, which reads how often each token occurs."""
    tokens = [codec.encode(part.batch) for part in (data.training, data.held_out)]
    size = int(codec.sizes(1)[0])
    inputs = probe.linear(*(codes.counts(part, size) for part in tokens))
    row = Row(codec.name, codec.name, codec.kind)
    retrieval.report(row, retrieval.compute(inputs, data), None)
    row.add("bits_mean", float(bits_per_window(tokens[1], codec.sizes(tokens[1].shape[1])).mean()))
    return row
