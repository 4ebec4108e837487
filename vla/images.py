"""Pictures as arrays -> what the vision tower takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Image = np.ndarray
"""uint8 [H, W, 3], RGB."""


@dataclass(frozen=True)
class Pixels:
    """Attributes:
    patches: float32 [P, patch], of all pictures.
    grids: int64 [I, 3], patches of every picture in time, height and width.
    tokens: Of the language model, for every picture.
    """

    patches: Tensor
    grids: Tensor
    tokens: tuple[int, ...]


def read_pixels(processor: Any, images: Sequence[Image]) -> Pixels:
    """Cut pictures into normalised patches.

    Args:
        processor: The backbone's image processor; it rounds sizes to whole tokens and keeps them
            within its own bounds.
        images: Of any sizes; none are fine.

    Raises:
        ValueError: One is no uint8 [H, W, 3].
    """
    for number, image in enumerate(images):
        _check_image(image, f"picture {number}")
    if not images:
        return Pixels(torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.int64), ())
    given = processor(list(images), return_tensors="pt", input_data_format="channels_last")
    grids = given["image_grid_thw"]
    tokens = tuple((grids.prod(1) // processor.merge_size**2).tolist())
    return Pixels(given["pixel_values"].float(), grids, tokens)


def cut_pixels(processor: Any, images: Sequence[Image]) -> Pixels:
    """The same for pictures of one size that the processor keeps (`check_size`), sooner.

    Args:
        processor: The backbone's image processor.
        images: uint8 [H, W, 3] each; none are fine.
    """
    if not images or not (processor.do_rescale and processor.do_normalize):
        return read_pixels(processor, images)
    side, merge = processor.patch_size, processor.merge_size
    given = torch.from_numpy(np.stack(images))
    rows, columns = given.shape[1] // side, given.shape[2] // side
    units = given.view(len(given), rows // merge, merge, side, columns // merge, merge, side, 3)
    patches = units.permute(0, 1, 4, 2, 5, 7, 3, 6).to(torch.float32, copy=True).contiguous()
    mean, spread = (
        torch.tensor(x).view(3, 1, 1) for x in (processor.image_mean, processor.image_std)
    )
    patches.mul_(processor.rescale_factor).sub_(mean).div_(spread)
    moments = patches.unsqueeze(-3).expand(*(-1,) * 6, processor.temporal_patch_size, -1, -1)
    grids = torch.tensor([[1, rows, columns]] * len(given))
    tokens = (rows * columns // merge**2,) * len(given)
    return Pixels(moments.flatten(5).flatten(0, 4), grids, tokens)


def robot_views(
    images: Mapping[str, Image], cameras: Sequence[str], size: int, robot: str
) -> list[Image]:
    """The pictures of a robot's cameras, in their order.

    Raises:
        ValueError: One is missing or superfluous, no uint8 picture, or of another size.
    """
    missing = [name for name in cameras if name not in images]
    unknown = [name for name in images if name not in cameras]
    if missing or unknown:
        raise ValueError(
            f"{robot!r} has the cameras {list(cameras)}; missing: {missing}, unknown: {unknown}. "
            "Give a picture of each, under its name."
        )
    for name in cameras:
        _check_image(images[name], f"the picture of {name!r}")
        if images[name].shape[:2] != (size, size):
            height, width = images[name].shape[:2]
            raise ValueError(
                f"The picture of {name!r} is {height} x {width}, but this policy sees "
                f"{size} x {size}. Bring it there with vla.images.fit(image, {size})."
            )
    return [images[name] for name in cameras]


def fit(image: Image, size: int) -> Image:
    """Scale a picture into a square, with black bars where it is not one.

    Args:
        image: uint8 [H, W, 3].
        size: Pixels per side.

    Returns:
        uint8 [size, size, 3]; the very same where it has that size.
    """
    _check_image(image, "the picture")
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    small = _scaled(image, size / max(image.shape[:2]))
    height, width = small.shape[:2]
    square = np.zeros((size, size, 3), dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def shrink(image: Image, max_pixels: int) -> Image:
    """Scale a picture down, keeping its proportions, if it has more pixels than that."""
    _check_image(image, "the picture")
    pixels = image.shape[0] * image.shape[1]
    return image if pixels <= max_pixels else _scaled(image, (max_pixels / pixels) ** 0.5)


def _scaled(image: Image, scale: float) -> Image:
    from PIL import Image as Pillow

    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    size = width, height
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC))


def check_size(processor: Any, size: int) -> None:
    """Refuse a size of robots' pictures that the image processor would change.

    Raises:
        ValueError: It is no whole number of tokens, or outside the processor's bounds.
    """
    unit = processor.patch_size * processor.merge_size
    blank = np.zeros((size, size, 3), dtype=np.uint8)
    rows = int(read_pixels(processor, [blank]).grids[0, 1])
    if size % unit or rows * processor.patch_size != size:
        raise ValueError(
            f"image_size {size} is not kept by the backbone's image processor: give a multiple of "
            f"{unit} between its min_pixels and max_pixels."
        )


def _check_image(image: Any, what: str) -> None:
    is_array = isinstance(image, np.ndarray)
    if not is_array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {list(image.shape)}" if is_array else type(image).__name__
        raise ValueError(f"{what} must be a uint8 array [H, W, 3] in RGB, got {found}.")
