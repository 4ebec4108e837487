"""Tables for the terminal."""

from __future__ import annotations

from rvq_action.embodiment import Embodiment

COLUMNS = ("min", "q01", "mean", "q99", "max", "std")


def statistics_table(name: str, embodiment: Embodiment) -> str:
    """Statistics of an embodiment's relative actions, a line per channel."""
    figures, layout = embodiment.statistics.actions, embodiment.layout
    width = max(len(channel) for channel in layout.names)
    lines = [
        f"{name}: layout {layout.name}, {embodiment.fps:g} Hz",
        f"{'channel':{width}}  {'unit':10}" + "".join(f"{c:>11}" for c in COLUMNS),
    ]
    for index, channel in enumerate(layout.channels):
        if figures.count[index]:
            values = "".join(f"{getattr(figures, c)[index]:11.4g}" for c in COLUMNS)
        else:
            values = f"{'absent':>11}"
        lines.append(f"{channel.name:{width}}  {channel.unit:10}{values}")
    return "\n".join(lines)
