"""What LeRobot 0.4.4 and 0.6 call by different names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

try:
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset
except ModuleNotFoundError:
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

    LATER = False
    H264: dict[str, Any] = {"vcodec": "h264"}
    RELATIVE = "use_delta_transform", "delta_dims", "delta_dim_list"
else:
    LATER = True
    H264 = {"rgb_encoder": RGBEncoderConfig(vcodec="h264")}
    RELATIVE = "use_relative_transform", "relative_dims", "relative_dim_list"


def convert(root: Path) -> None:
    """A dataset `local/NAME` of v2.1 is v3.0 from now on, by LeRobot's own converter.

    Args:
        root: Its folder, which is called so: `.../local/NAME`.
    """
    place = root if LATER else root.parents[1]
    convert_dataset(f"local/{root.name}", root=place, push_to_hub=False)
