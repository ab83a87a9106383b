"""The classes and functions that checkpoints may name, each with a builder that returns a plain value instead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from figment.legacy.pickle_vm import Builder, Damaged, Name, Record, Refused

STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
"""torch's storage classes and the numpy type codes of their numbers."""
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(eq=False)
class Storage:
    """A flat array of numbers that tensors are views of. Its bytes may come later in the file."""

    code: str
    """numpy type code, such as `f4`; `bf16` for bfloat16."""
    count: int
    """How many numbers it has."""
    data: memoryview | None = None
    """Its bytes; None until they are read."""

    @property
    def itemsize(self) -> int:
        """Bytes per number."""
        return 2 if self.code == "bf16" else np.dtype(self.code).itemsize

    def numbers(self) -> np.ndarray:
        """Return all numbers as a 1-D view of the file; bfloat16 is converted to float32.

        Raises Damaged if bytes are missing.
        """
        if self.data is None:
            raise Damaged("the data of a tensor is missing")
        if len(self.data) < self.count * self.itemsize:
            raise Damaged("the data of a tensor is cut off")
        data = self.data[: self.count * self.itemsize]
        if self.code == "bf16":
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        return np.frombuffer(data, "<" + self.code)


@dataclass(eq=False)
class StoredTensor:
    """A strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.storage.itemsize

    def array(self) -> np.ndarray:
        """Return the tensor as a read-only view of the file. Raises Damaged if it exceeds its storage."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32)
        if last >= self.storage.count or math.prod(self.shape) > self.storage.count:
            raise Damaged("a tensor exceeds its storage")
        numbers = self.storage.numbers()
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)


def _sizes(value: Any) -> tuple[int, ...]:
    """Return `value` as a shape or strides: at most 8 non-negative integers."""
    if not isinstance(value, tuple | list) or len(value) > 8:
        raise Damaged("an array with an invalid shape")
    if not all(type(size) is int and 0 <= size < 2**48 for size in value):
        raise Damaged("an array with an invalid shape")
    return tuple(value)


def _dtype(record: Any) -> np.dtype[Any]:
    """Return the numpy dtype of a pickled one, which must be numeric."""
    if not isinstance(record, Record) or record.kind != "dtype":
        raise Damaged("an array without a dtype")
    order = record.state.get("order")
    sign = order[1] if isinstance(order, tuple) and len(order) > 1 and order[1] in ("<", ">") else "<"
    dtype: np.dtype[Any] = np.dtype(sign + record.state["code"])
    return dtype


def _make_dtype(arguments: tuple[Any, ...]) -> Record:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", code):
        raise Refused("the pickle holds an array that is not of numbers")
    return Record("dtype", {"code": code.lstrip("<>|=")})


def _array(data: Any, dtype: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    """Return the array with these bytes, as a view of the file if they are stored as bytes."""
    if isinstance(data, str):  # Python 2 and pickle protocol 2 write bytes as Latin-1 text
        data = data.encode("latin-1")
    shape = _sizes(shape)
    if not isinstance(data, bytes | memoryview) or math.prod(shape) * dtype.itemsize != len(data):
        raise Damaged("an array whose size does not match its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _fill_array(state: Any) -> np.ndarray:
    """Return the array of numpy's pickled state: ([version,] shape, dtype, is_fortran, bytes)."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise Damaged("an array with an incomplete state")
    shape, dtype, column_major, data = state[-4:]
    return _array(data, _dtype(dtype), shape, "F" if column_major else "C")


def _make_ndarray(arguments: tuple[Any, ...]) -> Record:
    return Record("ndarray", {"fill": _fill_array})


def _make_buffer_array(arguments: tuple[Any, ...]) -> np.ndarray:
    data, dtype, shape, order = arguments
    return _array(data, _dtype(dtype), shape, order)


def _make_scalar(arguments: tuple[Any, ...]) -> Any:
    dtype, data = arguments
    return _array(data, _dtype(dtype), (), "C")[()]


def _make_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, stride = arguments[:4]
    shape, stride = _sizes(shape), _sizes(stride)
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0 or len(shape) != len(stride):
        raise Damaged("a tensor with an incomplete state")
    return StoredTensor(storage, offset, shape, stride)


def _make_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int) for pair in pairs
    ):
        raise Damaged("an invalid dictionary")
    return dict(pairs)


def _make_persistent(arguments: tuple[Any, ...]) -> Record:
    """Return an object of stylegan2-ada's `torch_utils.persistence` as a record. Its source code is ignored."""
    meta = arguments[0] if arguments else None
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Damaged("a persistent object without a class")
    state = meta.get("state")
    return Record(meta["class_name"], state if isinstance(state, dict) else {})


def _make_bytes(arguments: tuple[Any, ...]) -> bytes:
    text = arguments[0]
    if not isinstance(text, str) or arguments[1:] not in (("latin1",), ("latin-1",)):
        raise Damaged("invalid bytes")
    return text.encode("latin-1")


def _make_empty_bytes(arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise Damaged("invalid bytes")
    return b""


def _make_empty_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the dictionary that a defaultdict starts as; its items follow."""
    return {}


def _make_list(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the list that stands for a deque; its items follow."""
    return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []


def _make_set(arguments: tuple[Any, ...]) -> set[Any]:
    """Return a set as Python 2 and pickle protocol 2 write it, of numbers and text."""
    items = arguments[0] if arguments else []
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | int | float) for item in items):
        raise Damaged("an invalid set")
    return set(items)


def _make_path(arguments: tuple[Any, ...]) -> str:
    """Return a path, which settings may hold, as text."""
    return "/".join(part[:200] for part in arguments[:20] if isinstance(part, str))


def _make_object(arguments: tuple[Any, ...]) -> Any:
    """Return an object from copyreg's (class, base, state)."""
    if len(arguments) != 3 or not isinstance(arguments[0], Name) or arguments[0].name == "_reconstructor":
        raise Damaged("an object without a class")
    return BUILDERS[arguments[0]](())


def _record(kind: str) -> Builder:
    return lambda arguments: Record(kind)


def _value(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _text(arguments: tuple[Any, ...]) -> str:
    return str(arguments[0])[:40] if arguments and isinstance(arguments[0], str) else ""


def _shape(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    return _sizes(arguments[0] if arguments else ())


def _only_named(arguments: tuple[Any, ...]) -> Any:
    raise Refused("the pickle calls a class that checkpoints only mention; nothing was run")


def _table() -> dict[Name, Builder]:
    """Return the builder of every name, with old and new module names."""
    table: dict[Name, Builder] = {}

    def add(modules: str, names: str, builder: Callable[[tuple[Any, ...]], Any]) -> None:
        table.update({Name(module, name): builder for module in modules.split() for name in names.split()})

    # numpy
    add("numpy.core.multiarray numpy._core.multiarray", "_reconstruct", _make_ndarray)
    add("numpy.core.multiarray numpy._core.multiarray", "scalar", _make_scalar)
    add("numpy.core.numeric numpy._core.numeric", "_frombuffer", _make_buffer_array)
    add("numpy", "dtype", _make_dtype)
    add("numpy", "ndarray float16 float32 float64 int32 int64 uint8 bool_", _only_named)
    # Python
    add("collections", "OrderedDict", _make_dict)
    add("builtins __builtin__", "bytes", _make_empty_bytes)
    add("argparse", "Namespace", _record("Namespace"))
    add("_codecs", "encode", _make_bytes)
    add("copyreg copy_reg", "_reconstructor", _make_object)
    add("builtins __builtin__", "set", _make_set)
    add("builtins __builtin__", "object dict list tuple str int float bool", _only_named)
    add("collections", "deque", _make_list)
    add("collections", "Counter", _make_dict)
    add("types", "SimpleNamespace", _record("SimpleNamespace"))
    add("collections", "defaultdict", _make_empty_dict)
    add("easydict", "EasyDict", _make_dict)
    add("pathlib pathlib._local", "PosixPath PurePosixPath WindowsPath PureWindowsPath", _make_path)
    # TensorFlow StyleGAN, StyleGAN2 and ProGAN
    add("dnnlib.tflib.network tfutil", "Network", _record("Network"))
    add("dnnlib.util dnnlib", "EasyDict", _make_dict)
    # stylegan2-ada-pytorch, stylegan3
    add("torch_utils.persistence", "_reconstruct_persistent_obj", _make_persistent)
    # torch
    add("torch._utils", "_rebuild_parameter _rebuild_parameter_with_state", _value)
    add("torch._utils", "_rebuild_tensor _rebuild_tensor_v2", _make_tensor)
    add("torch", "Size", _shape)
    add("torch", "device", _text)
    add("torch torch.storage", " ".join(STORAGES), _only_named)
    add("torch", " ".join(DTYPES), _only_named)
    return table


BUILDERS = _table()
"""Builder for every name that a checkpoint may use."""
