"""The handful of names in checkpoints' pickles, and the plain values that stand for calling them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from figment.legacy.machine import Builder, Damaged, Name, Record, Refused

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
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(eq=False)
class Storage:
    """A run of numbers of one type that tensors are windows of; its bytes may follow later in the file."""

    code: str
    """Type and size, such as `f4`; `bf16` for bfloat16."""
    count: int
    """Numbers in it."""
    data: memoryview | None = None
    """Its bytes; None until they were found."""

    def numbers(self) -> np.ndarray:
        """All of it as one line of numbers, a view of the file (bfloat16: as float32)."""
        if self.data is None:
            raise Damaged("a tensor's numbers are missing")
        size = 2 if self.code == "bf16" else np.dtype(self.code).itemsize
        if len(self.data) < self.count * size:
            raise Damaged("a tensor's numbers are cut off")
        data = self.data[: self.count * size]
        if self.code == "bf16":
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        return np.frombuffer(data, "<" + self.code)


@dataclass(eq=False)
class StoredTensor:
    """A window of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * (2 if self.storage.code == "bf16" else np.dtype(self.storage.code).itemsize)

    def array(self) -> np.ndarray:
        """Its numbers, a view of the file; never larger than the storage."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, np.float32)
        if last >= self.storage.count or math.prod(self.shape) > self.storage.count:
            raise Damaged("a tensor reaches beyond its storage")
        numbers = self.storage.numbers()
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)


def _sizes(value: Any) -> tuple[int, ...]:
    """`value` as a shape or strides: at most 8 numbers from 0 on."""
    if not isinstance(value, tuple | list) or len(value) > 8:
        raise Damaged("a shape that is none")
    if not all(type(size) is int and 0 <= size < 2**48 for size in value):
        raise Damaged("a shape that is none")
    return tuple(value)


def _dtype(record: Any) -> np.dtype[Any]:
    """The type that a pickled numpy dtype means; numbers only."""
    if not isinstance(record, Record) or record.kind != "dtype":
        raise Damaged("an array without a type")
    order = record.state.get("order")
    sign = order[1] if isinstance(order, tuple) and len(order) > 1 and order[1] in ("<", ">") else "<"
    dtype: np.dtype[Any] = np.dtype(sign + record.state["code"])
    return dtype


def _make_dtype(arguments: tuple[Any, ...]) -> Record:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", code):
        raise Refused("it holds an array that is not of numbers")
    return Record("dtype", {"code": code.lstrip("<>|=")})


def _array(data: Any, dtype: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    """The array of `data`, a view of the file's bytes wherever they stand there."""
    if isinstance(data, str):  # Python 2's bytes, or protocol 2's way to write them
        data = data.encode("latin-1")
    shape = _sizes(shape)
    if not isinstance(data, bytes | memoryview) or math.prod(shape) * dtype.itemsize != len(data):
        raise Damaged("an array whose bytes do not fit its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _fill_array(state: Any) -> np.ndarray:
    """The array of numpy's pickled state: (version, shape, type, column-major, bytes), the version optional."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise Damaged("an array without its parts")
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
        raise Damaged("a tensor without its parts")
    return StoredTensor(storage, offset, shape, stride)


def _make_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = arguments[0] if arguments else []
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int) for pair in pairs
    ):
        raise Damaged("a dictionary that is none")
    return dict(pairs)


def _make_persistent(arguments: tuple[Any, ...]) -> Record:
    """An object of stylegan2-ada's `torch_utils.persistence`: its class's name and state, its source left unread."""
    meta = arguments[0] if arguments else None
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Damaged("a persistent object without its class")
    state = meta.get("state")
    return Record(meta["class_name"], state if isinstance(state, dict) else {})


def _make_bytes(arguments: tuple[Any, ...]) -> bytes:
    text = arguments[0]
    if not isinstance(text, str) or arguments[1:] not in (("latin1",), ("latin-1",)):
        raise Damaged("bytes that are none")
    return text.encode("latin-1")


def _make_no_bytes(arguments: tuple[Any, ...]) -> bytes:
    if arguments:
        raise Damaged("bytes that are none")
    return b""


def _make_object(arguments: tuple[Any, ...]) -> Any:
    """copyreg's way to make an object: (class, base, state)."""
    if len(arguments) != 3 or not isinstance(arguments[0], Name) or arguments[0].name == "_reconstructor":
        raise Damaged("an object without its class")
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
    raise Refused("it calls a class that checkpoints only mention; nothing was run")


def _table() -> dict[Name, Builder]:
    """The names by module, the same thing under each of its names."""
    table: dict[Name, Builder] = {}

    def know(modules: str, names: str, builder: Callable[[tuple[Any, ...]], Any]) -> None:
        table.update({Name(module, name): builder for module in modules.split() for name in names.split()})

    # numpy
    know("numpy.core.multiarray numpy._core.multiarray", "_reconstruct", _make_ndarray)
    know("numpy.core.multiarray numpy._core.multiarray", "scalar", _make_scalar)
    know("numpy.core.numeric numpy._core.numeric", "_frombuffer", _make_buffer_array)
    know("numpy", "dtype", _make_dtype)
    know("numpy", "ndarray", _only_named)
    # Python
    know("collections", "OrderedDict", _make_dict)
    know("builtins __builtin__", "bytes", _make_no_bytes)
    know("argparse", "Namespace", _record("Namespace"))
    know("_codecs", "encode", _make_bytes)
    know("copyreg copy_reg", "_reconstructor", _make_object)
    know("builtins __builtin__", "object dict set", _only_named)
    # TensorFlow StyleGAN, StyleGAN2 and ProGAN
    know("dnnlib.tflib.network tfutil", "Network", _record("Network"))
    know("dnnlib.util dnnlib", "EasyDict", _make_dict)
    # stylegan2-ada-pytorch, stylegan3
    know("torch_utils.persistence", "_reconstruct_persistent_obj", _make_persistent)
    # torch
    know("torch._utils", "_rebuild_parameter _rebuild_parameter_with_state", _value)
    know("torch._utils", "_rebuild_tensor _rebuild_tensor_v2", _make_tensor)
    know("torch", "Size", _shape)
    know("torch", "device", _text)
    know("torch torch.storage", " ".join(STORAGES), _only_named)
    know("torch", " ".join(DTYPES), _only_named)
    return table


BUILDERS = _table()
