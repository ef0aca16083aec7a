"""NumPy arrays as payloads: ``open_root_actor(ext_types=[ARRAYS])``. Needs NumPy (extra ``numpy``).

Element type, shape and memory order arrive as they were sent, 0-d and empty arrays included. An arrived
array is a read-only view of the very bytes that were received, which it keeps alive; ``array.copy()``
makes one of one's own. Its data may begin at any address (``array.flags.aligned``).

Not sent, with a ``TypeError`` that says why: elements that are Python objects, element types that other
processes could not make again from their description (fields with titles), and subclasses of ``ndarray``.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from .extension import ExtType

try:
    import numpy as np
except ImportError as error:
    raise ImportError("NumPy is not installed: pip install 'tractor-core[numpy]'") from error

#: The number of arrays on the wire.
ARRAY_CODE: Final = 78

#: A simple element type by its name, such as ``"<f8"``; a structured one by its fields' names, types and
#: offsets and its size (bytes); an element that is itself an array by its type and shape.
ElementType: TypeAlias = Any

#: Element type, shape, order of the elements in memory, and the elements.
PlainArray: TypeAlias = tuple[Any, tuple[int, ...], Literal["C", "F"], memoryview]


def to_plain(array: np.ndarray[Any, Any]) -> PlainArray:
    """An array as plain values; what is not contiguous is copied. ``TypeError`` for what cannot be sent."""
    described = describe(array.dtype)
    order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if array.nbytes:
        # As bytes: a memoryview of some element types, such as datetimes, cannot be had.
        flat = array.reshape(-1, order=order)
        data = np.ascontiguousarray(flat).view(np.uint8).data
    else:
        data = memoryview(b"")
    return described, array.shape, order, data


def from_plain(plain: PlainArray) -> np.ndarray[Any, Any]:
    """The array, as a read-only view of the elements given. ``ValueError`` where the parts do not fit."""
    described, shape, order, data = plain
    if any(length < 0 for length in shape):
        raise ValueError(f"negative lengths in shape {shape}")
    dtype = restore(described)
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, buffer=data, order=order)
    if array.nbytes != data.nbytes:
        raise ValueError(f"an array of {array.nbytes} bytes came with {data.nbytes}")
    # Who received it owns the buffer; but other values of the same message are views of it too.
    array.flags.writeable = False
    return array


def describe(dtype: np.dtype[Any]) -> ElementType:
    """An element type as plain values; ``TypeError`` for one that cannot be restored from them."""
    if dtype.hasobject:
        raise TypeError(f"arrays of Python objects cannot be sent (element type {dtype})")
    described = _describe(dtype)
    try:
        restored = restore(described)
    except (TypeError, ValueError):
        restored = None
    if restored != dtype:
        raise TypeError(f"an array with elements of type {dtype!r} cannot be sent")
    return described


def _describe(dtype: np.dtype[Any]) -> ElementType:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe(base), list(shape)]
    if dtype.fields is None or dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_describe(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }


def restore(described: ElementType) -> np.dtype[Any]:
    """The element type for what :func:`describe` made; ``ValueError`` or ``TypeError`` for anything else."""
    match described:
        case str():
            dtype = np.dtype(described)
        case [base, [*shape]]:
            dtype = np.dtype((restore(base), tuple(shape)))
        case {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}:
            fields = [restore(each) for each in formats]
            dtype = np.dtype({"names": names, "formats": fields, "offsets": offsets, "itemsize": itemsize})
        case _:
            raise ValueError(f"not the description of an element type: {described!r}"[:200])
    if dtype.hasobject:
        raise ValueError("an array whose elements would be Python objects")
    return dtype


#: ``numpy.ndarray`` for ``ext_types=``.
ARRAYS: Final = ExtType(np.ndarray, ARRAY_CODE, to_plain, from_plain)

__all__ = ["ARRAYS", "ARRAY_CODE"]
