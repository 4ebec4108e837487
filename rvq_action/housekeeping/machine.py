"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def hardware() -> str:
    """The machine in words: processor, cores, threads of torch, versions."""
    cores = os.cpu_count() or 1
    threads = torch.get_num_threads()
    return (
        f"{_processor()}, {cores} cores, {threads} torch threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
