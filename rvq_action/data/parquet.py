"""Parquet files and their columns as numpy arrays, with errors that name the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or only some of its columns.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: The file is truncated or damaged, or lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. Copy or download the dataset again.")
    try:
        with pq.ParquetFile(path) as file:
            missing = [c for c in columns or () if c not in file.schema_arrow.names]
            if missing:
                raise ValueError(
                    f"{path} has no column {missing}, only {file.schema_arrow.names}. "
                    "meta/info.json and the data do not belong together."
                )
            return file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is no readable parquet file; it is truncated or damaged "
            f"({str(error).splitlines()[0]}). Copy or download it again."
        ) from error


def to_numpy(column: pa.ChunkedArray, shape: Sequence[int], where: str) -> np.ndarray:
    """A numeric column, nested lists included, as one array.

    Args:
        column: N rows of numbers or of (nested) lists of numbers.
        shape: Shape of one row; (1,) means a plain number.
        where: The column's name in error messages.

    Returns:
        [N] for plain numbers, [N, *shape] for lists; the caller's to write to.

    Raises:
        ValueError: Values are missing or the rows do not have the stated shape.
    """
    rows, values = len(column), column
    nested = _is_list(values.type)
    while True:
        if values.null_count:
            raise ValueError(f"{where} has {values.null_count} missing values. Repair the dataset.")
        if not _is_list(values.type):
            break
        values = pa.chunked_array([c.flatten() for c in values.chunks], values.type.value_type)
    array = np.require(values.to_numpy(), requirements="W")
    if array.size != rows * int(np.prod(shape)):
        raise ValueError(
            f"{where} holds {array.size} numbers in {rows} rows, but meta/info.json states the "
            f"shape {tuple(shape)} for a row. One of the two is wrong."
        )
    return array.reshape(rows, *shape) if nested else array


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
