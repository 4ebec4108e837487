"""A robot's rows, as it or its dataset gives them <-> the channels of a layout.

A `Mapping` reads the columns of whole episodes. This reads what a program has at hand, one state
or a batch of chunks, in the same way, and writes decoded chunks back as commands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvq_action.data.mapping import Columns, MappedColumns, Mapping
from rvq_action.data.term import Names, Term

Rows = Any
"""Rows in any of these forms, of whatever leading shape [...]:

- an array [..., W] of the one feature that is read, its numbers in the dataset's order,
- arrays by feature, `{"action": [..., W]}`,
- numbers by name, `{"shoulder_pan.pos": 12.5, ...}`, each [...]; others may stand among them.
"""


@dataclass(frozen=True)
class RowMapping:
    """A mapping for rows at hand.

    Attributes:
        mapping: The mapping; it must know its `columns`.
    """

    mapping: Mapping

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Names of the numbers of every feature, in the order of its rows."""
        return self.mapping.columns

    @property
    def unwritten(self) -> list[str]:
        """Numbers that no term writes, of the features that actions are written to."""
        mapping, found = self.mapping, list[str]()
        for feature in dict.fromkeys(term.feature for term in mapping.action):
            terms = [term for term in mapping.action if term.feature == feature]
            written = {i for term in terms for i in term.positions(self._names)}
            found += [n for i, n in enumerate(self._names(feature)) if i not in written]
        return found

    def read_actions(self, rows: Rows) -> np.ndarray:
        """Actions as recorded or commanded -> what `ActionTokenizer.encode` takes.

        Args:
            rows: Of the features that the actions are read from.

        Returns:
            [..., D] float32, absolute, in the layout's units; 0 where nothing is mapped.

        Raises:
            ValueError: A number is missing, NaN or infinite, or rows have another width.
        """
        return self._read(rows, self.mapping.action, self.mapping.read_actions)[0]

    def read_proprio(self, rows: Rows) -> np.ndarray:
        """The robot's state -> the anchor that `encode` and `decode` take.

        Args and errors as for `read_actions`, of the features that the state is read from.

        Returns:
            [..., D] float32 in the layout's units; NaN where nothing is mapped.
        """
        if not self.mapping.proprio:
            raise ValueError(
                f"The mapping of {self.mapping.embodiment!r} reads no state, and no action is "
                "relative to one: encode and decode without proprio."
            )
        values, known = self._read(rows, self.mapping.proprio, self.mapping.read_proprio)
        return np.where(known, values, np.float32(np.nan))

    def write_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Inverse of `read_actions`: what to command the robot, in its own units.

        Args:
            actions: [..., D] absolute, as `ActionTokenizer.decode` returns them.

        Returns:
            [..., W] float32 by feature, in the order of `columns`; NaN where nothing is mapped.

        Raises:
            ValueError: The last axis is not D wide.
        """
        values = np.asarray(actions)
        width = self.mapping.layout.width
        if values.ndim < 1 or values.shape[-1] != width:
            raise ValueError(f"actions must be [..., {width}], got {list(values.shape)}.")
        written = self.mapping.write_actions(values.reshape(-1, width), self._names)
        return {name: w.reshape(*values.shape[:-1], w.shape[-1]) for name, w in written.items()}

    def _read(
        self,
        rows: Rows,
        terms: tuple[Term, ...],
        read: Callable[[Columns, Names], MappedColumns],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values [..., D] and mask [D]."""
        given = self._by_feature(rows, terms)
        leading = {array.shape[:-1] for array in given.values()}
        if len(leading) > 1:
            raise ValueError(f"The features' rows differ in number: {sorted(leading)}.")
        shape = leading.pop()
        flat = {name: a.reshape(math.prod(shape), a.shape[-1]) for name, a in given.items()}
        values, mask = read(flat, self._names)
        return values.reshape(*shape, values.shape[-1]), mask

    def _by_feature(self, rows: Rows, terms: tuple[Term, ...]) -> dict[str, np.ndarray]:
        """Arrays [..., W] of the features that the terms read, whatever form the rows have."""
        used: dict[str, set[int]] = {}
        for term in terms:
            used.setdefault(term.feature, set()).update(term.positions(self._names))
        if not isinstance(rows, ReadOnly):
            if len(used) > 1:
                raise ValueError(f"Several features are read: give arrays by name, {[*used]}.")
            rows = dict.fromkeys(used, rows)
        by_name = [name for feature in used if feature not in rows for name in self._names(feature)]
        if len(set(by_name)) < len(by_name):
            raise ValueError(f"Names of numbers repeat: give arrays by feature, {[*used]}.")
        return {feature: self._array(rows, feature, used[feature]) for feature in used}

    def _array(self, rows: ReadOnly[str, Any], feature: str, used: set[int]) -> np.ndarray:
        names = self._names(feature)
        array = np.asarray(rows[feature]) if feature in rows else _stacked(rows, names, used)
        if array.ndim < 1 or array.shape[-1] != len(names):
            raise ValueError(
                f"Rows of {feature!r} have {len(names)} numbers ({', '.join(names)}), got "
                f"{list(array.shape)}."
            )
        return array

    def _names(self, feature: str) -> tuple[str, ...]:
        if feature not in self.columns:
            raise ValueError(
                f"The mapping of {self.mapping.embodiment!r} does not say in which order the "
                f"numbers of {feature!r} stand. Add them under `columns`, or fit the tokenizer "
                "again, which takes them from the dataset."
            )
        return self.columns[feature]


def _stacked(rows: ReadOnly[str, Any], names: tuple[str, ...], used: set[int]) -> np.ndarray:
    """Numbers by name -> [..., W], NaN for those that nothing reads."""
    missing = [names[i] for i in sorted(used) if names[i] not in rows]
    if missing:
        raise ValueError(
            f"Rows are an array, arrays by feature or numbers by name; of these {missing} are "
            f"missing from {list(rows)}."
        )
    unread = np.full(np.shape(rows[names[min(used)]]), np.nan)
    given = [np.asarray(rows[name]) if i in used else unread for i, name in enumerate(names)]
    return np.stack(given, axis=-1)
