"""Lets torchvision be imported next to a torch without CUDA.

PyPI's wheels of torchvision are linked against CUDA: without it their operators are missing, and
torchvision, which describes these to torch, cannot be imported. LeRobot needs none of them, only
the transforms. A line in a .pth file of the environment imports this at every start; nothing
happens until torchvision is asked for.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
KEPT: list[Any] = []
"""Libraries of schemas, which last as long as they are referred to."""


class DefineFirst(MetaPathFinder):
    """Finds nothing, but defines the schemas before torchvision is found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "DEF")
            for schema in SCHEMAS:
                library.define(schema)
            KEPT.append(library)


sys.meta_path.insert(0, DefineFirst())
