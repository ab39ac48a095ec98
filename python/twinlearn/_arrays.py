"""What users have, as arrays that the engine borrows."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

from ._twinlearn import TwinlearnError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_torch(x: Any) -> bool:
    """Whether `x` is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def as_given(array: NDArray[Any], x: Any) -> Any:
    """`array` as a tensor where `x` is one."""
    if is_torch(x):
        import torch

        return torch.from_numpy(array)
    return array


def from_columns(x: Any, name: str = "X") -> Any:
    """Tensors and columns of vectors as arrays; anything else as it is.

    Memory is shared with tensors on the CPU (bfloat16 is widened in a copy) and with arrow's lists
    of one length; columns of Python lists are copied. Masked cells become NaN.
    """
    if is_torch(x):
        if x.device.type != "cpu":
            raise TwinlearnError(f"{name}: expected a tensor on the cpu, got one on {x.device}")
        x = x.detach()
        # NumPy has no such type.
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if isinstance(x, np.ma.MaskedArray):
        # What is masked is missing, whatever lies under the mask.
        return np.ma.filled(x.astype(np.float64), np.nan) if np.ma.is_masked(x) else x.data
    library = type(x).__module__.partition(".")[0]
    if library in {"polars", "pandas", "pyarrow"}:
        x = _one_column(x, library, name)
    if library == "polars" and type(x).__name__ == "Series" and x.dtype.is_nested():
        if importlib.util.find_spec("pyarrow") is None:
            return _from_polars(x, name)
        return _from_arrow(x.rechunk().to_arrow(), name)
    if library == "pandas" and type(x).__name__ == "Series":
        return _from_lists(x, name)
    if library == "pyarrow" and hasattr(x, "type"):
        return _from_arrow(x, name)
    return x


def _one_column(x: Any, library: str, name: str) -> Any:
    """The column of a frame that is one column of vectors; anything else as it is."""
    kind = type(x).__name__
    if kind == "LazyFrame":
        x, kind = x.collect(), "DataFrame"
    if kind == "Table" and library == "pyarrow":
        columns = {field.name: hasattr(field.type, "value_type") for field in x.schema}
    elif kind == "DataFrame" and library == "polars":
        columns = {column: dtype.is_nested() for column, dtype in x.schema.items()}
    elif kind == "DataFrame":
        if all(dtype.kind in "fiub" for dtype in x.dtypes) or not x.columns.is_unique:
            return x
        columns = {column: _holds_vectors(x[column]) for column in x.columns}
    else:
        return x
    vectors = [column for column, is_vectors in columns.items() if is_vectors]
    if not vectors:
        return x
    if len(columns) == 1:
        return x[vectors[0]]
    column = vectors[0]
    raise TwinlearnError(
        f"{name}: expected columns of numbers or one column of vectors, "
        f"got {len(columns)} columns, of which {column!r} holds vectors "
        f"(pass that column: frame[{column!r}])"
    )


def _holds_vectors(column: Any) -> bool:
    """Whether a column of pandas holds lists."""
    if hasattr(column.dtype, "pyarrow_dtype"):
        return hasattr(column.dtype.pyarrow_dtype, "value_type")
    is_object = column.dtype == object
    return bool(is_object and len(column) and isinstance(column.iloc[0], (list, tuple, np.ndarray)))


def _from_polars(x: Any, name: str) -> Any:
    """A column of lists or arrays, without arrow."""
    if x.null_count():
        row = int(np.flatnonzero(x.is_null().to_numpy())[0])
        raise TwinlearnError(f"{name}: expected a vector in every row, got none in row {row}")
    return _stacked(x.to_list(), name)


def _from_arrow(x: Any, name: str) -> Any:
    if hasattr(x, "combine_chunks"):
        x = x.combine_chunks()
        if hasattr(x, "chunks"):  # older versions give one chunk, not an array
            x = x.chunk(0)
    if hasattr(x, "storage"):  # tensors of one shape and other extensions
        x = x.storage
    if x.null_count:
        row = int(np.flatnonzero(x.is_null().to_numpy(zero_copy_only=False))[0])
        raise TwinlearnError(f"{name}: expected a vector in every row, got none in row {row}")
    if not hasattr(x.type, "value_type"):
        raise TwinlearnError(f"{name}: expected a column of lists of numbers, got one of {x.type}")
    width = getattr(x.type, "list_size", None)
    if width is None:
        lengths = x.value_lengths().to_numpy(zero_copy_only=False)
        width = int(lengths[0]) if len(lengths) else 0
        other = np.flatnonzero(lengths != width)
        if len(other):
            row = int(other[0])
            raise TwinlearnError(
                f"{name}: expected lists of one length ({width}), got {lengths[row]} in row {row}"
            )
    values = x.flatten()
    if values.null_count:
        where = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        raise TwinlearnError(f"{name}: expected numbers, got a null in row {where // width}")
    return values.to_numpy(zero_copy_only=False).reshape(len(x), width)


def _from_lists(x: Any, name: str) -> Any:
    if hasattr(x.dtype, "pyarrow_dtype"):
        return _from_arrow(x.array.__arrow_array__(), name)
    return _stacked(x, name)


def _stacked(x: Any, name: str) -> Any:
    """Lists of numbers, of one length."""
    rows = [np.asarray(row) for row in x]
    width = rows[0].shape if rows else (0,)
    for i, row in enumerate(rows):
        if row.shape != width or row.ndim != 1:
            raise TwinlearnError(
                f"{name}: expected lists of one length ({' × '.join(map(str, width))}), "
                f"got shape {row.shape} in row {i}"
            )
    return np.stack(rows) if rows else np.empty((0, 0))


def borrowable(array: NDArray[Any]) -> NDArray[Any]:
    """`array` itself where it is in C order and of a type that the engine reads; else a copy.

    The engine reads f16, f32, f64 and integers, and widens or rounds them block by block.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        array = array.view(np.uint8)
    elif kind == "f" and size > 8:
        array = array.astype(np.float64)
    elif kind not in "fiu":
        raise TwinlearnError(f"X: expected real numbers, got {array.dtype}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.require(array, requirements=["C", "ALIGNED"])


def rows(x: Any, name: str = "X") -> NDArray[Any]:
    """The rows of anything that is a matrix of numbers, for the engine.

    Values are checked by the engine, once.
    """
    array = check_array(
        from_columns(x, name), dtype="numeric", order="C", ensure_all_finite=False, input_name=name
    )
    return borrowable(array)
