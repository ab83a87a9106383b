"""Stand-ins for other programs' pickles: records become pickles again, with the names that those programs write."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np

from figment.legacy.classes import StoredTensor
from figment.legacy.pickle_vm import Foreign, Record

RNG = np.random.default_rng(0)


def dumps(value: Any) -> bytes:
    """Pickle records: `Foreign` ones as objects of their module, others as `torch_utils.persistence` does."""
    modules: dict[str, types.ModuleType] = {}

    def known(module: str, name: str) -> Any:
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            path = ".".join(parts[:count])
            modules.setdefault(path, types.ModuleType(path))
        if not hasattr(modules[module], name):
            setattr(modules[module], name, type(name, (), {"__module__": module}))
        return getattr(modules[module], name)

    class Pickler(pickle.Pickler):
        def reducer_override(self, found: Any) -> Any:
            if isinstance(found, StoredTensor):
                return np.array(found.array()).__reduce__()
            if isinstance(found, Foreign):
                return known(found.module, found.kind), (), found.state
            if isinstance(found, Record):
                meta = {"type": "class", "version": 6, "module_src": "", "class_name": found.kind, "state": found.state}
                return known("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,)
            if isinstance(found, type) and found.__module__ in modules:
                sys.modules.update(modules)
            return NotImplemented

    buffer = io.BytesIO()
    with mock.patch.dict(sys.modules):
        Pickler(buffer, protocol=4).dump(value)
    return buffer.getvalue()


def module(kind: str, **modules: Record) -> Record:
    """Return a module that only holds other modules."""
    return Record(kind, {"_parameters": {}, "_buffers": {}, "_modules": modules})


def array(*shape: int) -> np.ndarray:
    """Return random float32 numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def reshape_start(network: Record, start: tuple[int, int]) -> Record:
    """Let a generator or discriminator of stylegan2-ada-pytorch draw or see pictures of another shape, in place."""
    blocks = network.state["_modules"]
    blocks = blocks["synthesis"].state["_modules"] if "synthesis" in blocks else blocks
    for name, block in blocks.items():
        scale = int(name.removeprefix("b")) // 4 if name.startswith("b") else 1
        parameters = block.state["_parameters"]
        if "const" in parameters:
            parameters["const"] = array(parameters["const"].shape[0], *start)
        for layer in block.state["_modules"].values():
            if "noise_const" in layer.state["_buffers"]:
                layer.state["_buffers"]["noise_const"] = array(start[0] * scale, start[1] * scale)
        if name == "b4" and "fc" in block.state["_modules"]:
            dense = block.state["_modules"]["fc"].state["_parameters"]
            width = dense["bias"].shape[0]
            dense["weight"] = array(width, width * start[0] * start[1])
    return network


def tensorflow_generator(
    z_dim: int = 8,
    width: int = 8,
    start: tuple[int, int] = (4, 4),
    blocks: int = 3,
    *,
    depth: int = 2,
    labels: int = 0,
    source: str = "",  # text of the module that built it
    **settings: Any,
) -> Record:
    """Return a StyleGAN2 generator as NVIDIA's TensorFlow programs pickle it; z and w have the same length."""
    mapping = {"LabelEmbed/weight": array(labels, z_dim), "LabelEmbed/bias": array(z_dim)} if labels else {}
    for k in range(depth):
        mapping[f"Dense{k}/weight"] = array(2 * z_dim if labels and not k else z_dim, z_dim)
        mapping[f"Dense{k}/bias"] = array(z_dim)
    synthesis = {"4x4/Const/const": array(1, width, *start)}
    for k in range(blocks):
        side = 4 << k
        for name in ("Conv0_up", "Conv1") if k else ("Conv",):
            number = 2 * k - (name == "Conv0_up")
            synthesis[f"noise{number}"] = array(1, 1, start[0] << k, start[1] << k)
            synthesis |= _modulated(f"{side}x{side}/{name}/", z_dim, width, width, 3)
            synthesis[f"{side}x{side}/{name}/noise_strength"] = array()
        synthesis |= _modulated(f"{side}x{side}/ToRGB/", z_dim, width, 3, 1)
    parts = {
        "synthesis": _network("G_synthesis", synthesis, {}, source),
        "mapping": _network("G_mapping", mapping, {}, source),
    }
    return _network("G_main", {"dlatent_avg": array(z_dim)}, settings, source, parts)


def _modulated(prefix: str, w_dim: int, inputs: int, outputs: int, kernel: int) -> dict[str, np.ndarray]:
    shapes: dict[str, Sequence[int]] = {
        "weight": (kernel, kernel, inputs, outputs),
        "mod_weight": (w_dim, inputs),
        "mod_bias": (inputs,),
        "bias": (outputs,),
    }
    return {prefix + name: array(*shape) for name, shape in shapes.items()}


def tensorflow_discriminator(
    width: int = 8,
    start: tuple[int, int] = (4, 4),
    blocks: int = 3,
    *,
    mbstd_channels: int = 1,
    function: str = "D_stylegan2",
    labels: int = 0,
    depth: int = 0,  # layers that map the label
    **settings: Any,
) -> Record:
    """Return a residual discriminator as NVIDIA's TensorFlow programs pickle it."""
    top = 4 << (blocks - 1)
    shapes: dict[str, Sequence[int]] = {
        f"{top}x{top}/FromRGB/weight": (1, 1, 3, width),
        f"{top}x{top}/FromRGB/bias": (width,),
    }
    for k in range(1, blocks):
        side = 4 << k
        for name in ("Conv0", "Conv1_down"):
            shapes |= {f"{side}x{side}/{name}/weight": (3, 3, width, width), f"{side}x{side}/{name}/bias": (width,)}
        shapes[f"{side}x{side}/Skip/weight"] = (1, 1, width, width)
    outputs = width if labels else 1
    shapes |= {
        "4x4/Conv/weight": (3, 3, width + mbstd_channels, width),
        "4x4/Conv/bias": (width,),
        "4x4/Dense0/weight": (width * start[0] * start[1], width),
        "4x4/Dense0/bias": (width,),
        "Output/weight": (width, outputs),
        "Output/bias": (outputs,),
    }
    if labels:
        shapes |= {"LabelEmbed/weight": (labels, width), "LabelEmbed/bias": (width,)}
        for k in range(depth):
            shapes |= {f"Mapping{k}/weight": (width, width), f"Mapping{k}/bias": (width,)}
    return _network(function, {name: array(*shape) for name, shape in shapes.items()}, settings)


def _network(
    function: str,
    variables: dict[str, np.ndarray],
    settings: dict[str, Any],
    source: str = "",
    components: dict[str, Record] | None = None,
) -> Record:
    state = {"build_func_name": function, "build_module_src": source, "static_kwargs": settings, "version": 4}
    return Record("Network", {**state, "variables": list(variables.items()), "components": components or {}})
