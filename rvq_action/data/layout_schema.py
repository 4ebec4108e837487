"""A layout as it is written in a mapping file."""

from __future__ import annotations

from typing import Any

from rvq_action.data.strict import check_keys
from rvq_action.layout import WALL_26, ActionLayout, Channel, DeltaRule

NAMED = {WALL_26.name: WALL_26}
LAYOUT_KEYS = {
    "name": "a name of your choice",
    "groups": "{part/quantity: {channels: [...], unit: ..., delta: ...}}",
}
GROUP_KEYS = {
    "channels": "their names, in order",
    "unit": "m, rad, m/s, rad/s, gripper, rot6d or free text",
    "delta": f"one of {', '.join(rule.value for rule in DeltaRule)}",
}
"""What the keys hold, for error messages."""


def layout_from_data(data: Any, where: str) -> ActionLayout:
    """Parse a layout.

    Args:
        data: A name (`wall_26`), or `{name: ..., groups: {part/quantity: {channels: [...], unit:
            ..., delta: ...}}}`.
        where: Its place, for error messages.

    Raises:
        ValueError: An unknown name, key or delta rule, or a layout that makes no sense.
    """
    if isinstance(data, str):
        if data not in NAMED:
            raise ValueError(f"{where}: no layout is called {data!r}. Named ones: {list(NAMED)}.")
        return NAMED[data]
    data = check_keys(data, where, LAYOUT_KEYS)
    channels = [
        channel
        for group, entry in check_keys(data["groups"], where, (), data["groups"]).items()
        for channel in _group(group, entry, f"{where}.groups.{group}")
    ]
    return ActionLayout(data["name"], tuple(channels))


def layout_to_data(layout: ActionLayout) -> str | dict[str, Any]:
    """Inverse of `layout_from_data`.

    Raises:
        ValueError: A group mixes units or delta rules, or is not in one piece.
    """
    if layout in NAMED.values():
        return layout.name
    groups = {}
    for group, indices in layout.groups.items():
        first = layout.channels[indices[0]]
        names = [layout.names[i] for i in indices]
        groups[group] = {"channels": names, "unit": first.unit, "delta": first.delta.value}
    data = {"name": layout.name, "groups": groups}
    if layout_from_data(data, "layout") != layout:
        raise ValueError(
            f"Layout {layout.name!r}: a group must be in one piece, with one unit and rule."
        )
    return data


def _group(group: str, entry: Any, where: str) -> list[Channel]:
    entry = check_keys(entry, where, GROUP_KEYS)
    rules = [rule.value for rule in DeltaRule]
    if entry["delta"] not in rules:
        raise ValueError(f"{where}: delta {entry['delta']!r} is no delta rule. Use one of {rules}.")
    rule = DeltaRule(entry["delta"])
    return [Channel(str(name), entry["unit"], group, rule) for name in entry["channels"]]
