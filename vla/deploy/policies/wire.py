"""openpi's messages: msgpack with arrays, as `openpi_client.msgpack_numpy` packs them.

An array is `{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [2, 3]}`, one number
of numpy's `{b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}`. Only plain numbers and texts
are read: nothing that a message holds is ever executed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

READABLE = "biufUS"
"""Kinds of arrays: bool, int, unsigned, float, text."""
MAX_ENTRIES = 4096
"""Of all lists and maps of a message: numbers travel as arrays. It keeps a message from becoming
many times larger once it is read."""


def pack(message: Any) -> bytes:
    """A message as bytes."""
    import msgpack

    return msgpack.packb(message, default=_to_plain)


def unpack(data: bytes) -> Any:
    """Inverse of `pack`; arrays own their memory.

    Raises:
        ValueError: It is no such message; says what is wrong.
    """
    import msgpack

    entries = 0

    def counted(part: Any) -> Any:
        nonlocal entries
        entries += len(part) + 1
        if entries > MAX_ENTRIES:
            raise ValueError(f"its lists and maps have more than {MAX_ENTRIES} entries")
        return _from_plain(part) if isinstance(part, dict) else part

    limits = {"max_array_len": MAX_ENTRIES, "max_map_len": MAX_ENTRIES}
    try:
        return msgpack.unpackb(data, object_hook=counted, list_hook=counted, **limits)
    except Exception as error:
        raise ValueError(f"not a message: {type(error).__name__}: {error}") from error


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in READABLE:
        raise TypeError(f"Arrays of {value.dtype} cannot be sent.")
    if isinstance(value, np.ndarray):
        told = {b"dtype": value.dtype.str, b"shape": list(value.shape)}
        return {b"__ndarray__": True, b"data": value.tobytes()} | told
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} cannot be sent.")


def _from_plain(entry: dict[Any, Any]) -> Any:
    if b"__ndarray__" in entry:
        return _array(entry[b"data"], np.dtype(entry[b"dtype"]), entry[b"shape"])
    if b"__npgeneric__" in entry:
        return _readable(np.dtype(entry[b"dtype"])).type(entry[b"data"])
    return entry


def _array(data: Any, kind: np.dtype, shape: Any) -> np.ndarray:
    if not isinstance(data, bytes) or not isinstance(shape, list):
        raise ValueError("an array takes bytes and a list of sizes")
    if any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"an array has no shape {shape}")
    size = math.prod(shape) * _readable(kind).itemsize
    if len(data) != size:
        raise ValueError(f"an array {shape} of {kind} has {size} bytes, got {len(data)}")
    return np.frombuffer(data, kind).reshape(shape).copy()


def _readable(kind: np.dtype) -> np.dtype:
    if kind.kind not in READABLE:
        raise ValueError(f"arrays of {kind} are not read")
    return kind
