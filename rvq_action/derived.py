"""Values that follow from tensors which seldom change, computed once for many calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Derived(Generic[Value]):
    """A value kept until one of the tensors it follows from changes.

    A tensor has changed when it lives elsewhere or its version counter moved on. In-place
    operations move that counter, except through `.data` and in fused optimizers, after which
    `forget` is due. Tensors made under `torch.inference_mode` count no versions: what follows from
    them is computed anew.
    """

    def __init__(self) -> None:
        self._kept: tuple[list, Value] | None = None

    def get(self, tensors: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """The value, computed where it is not known for these tensors as they are.

        Args:
            tensors: What the value follows from.
            compute: Called without gradients and outside inference mode, so that training may use
                what a look at the model computed.
        """
        if any(map(Tensor.is_inference, tensors)):
            return compute()
        key = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        kept = self._kept
        if kept is None or kept[0] != key:
            with torch.inference_mode(False), torch.no_grad():
                kept = self._kept = key, compute()
        return kept[1]

    def forget(self) -> None:
        """Compute the value anew next time."""
        self._kept = None
