"""Modules of torch in the persistence pickles of NVIDIA's programs, and the parts that their networks share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.pickle_vm import Record
from figment.legacy.torchfile import as_array
from figment.legacy.variables import Variables, listed


def submodules(record: Any) -> dict[Any, Any]:
    """Return the submodules of a module by name; none if it is no module."""
    found = record.state.get("_modules") if isinstance(record, Record) else None
    return found if isinstance(found, dict) else {}


def submodule(record: Any, path: str) -> Record:
    """Return the submodule at the dotted `path`. Raises FigmentError if it is missing."""
    for name in path.split(".") if path else ():
        modules = record.state.get("_modules") if isinstance(record, Record) else None
        record = modules.get(name) if isinstance(modules, dict) else None
    if not isinstance(record, Record):
        raise FigmentError(f"missing module {path}")
    return record


def all_tensors(record: Record, where: str, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return all parameters and buffers of a module and its submodules by dotted name."""
    found: dict[str, Any] = {}
    if depth > 8:
        raise FigmentError(f"{where}: modules are nested too deeply for a network")
    for group in ("_parameters", "_buffers"):
        part = record.state.get(group)
        if not isinstance(part, dict):
            raise FigmentError(f"{where}: {prefix or 'a module'} is not a torch module")
        found.update({f"{prefix}{key}": value for key, value in part.items() if value is not None})
    modules = record.state.get("_modules")
    for key, module in modules.items() if isinstance(modules, dict) else ():
        if module is None:
            continue
        if not isinstance(module, Record):
            raise FigmentError(f"{where}: {prefix}{key} is not a torch module")
        found.update(all_tensors(module, where, f"{prefix}{key}.", depth + 1))
    return found


def require(record: Record, where: str, **wanted: Any) -> None:
    """Raise FigmentError if a setting of a module differs from the one that figment implements."""
    wrong = [
        f"{name}={record.state[name]!r}"
        for name, value in wanted.items()
        if name in record.state and record.state[name] != value
    ]
    if wrong:
        raise FigmentError(f"{where}: a variant that figment does not implement: {listed(wrong)}")


def read_mapping(v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the mapping network: its label size and depth, and its tensors."""
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"mapping.fc{depth}.weight" in v:
        tensors[f"mapper.layers.{depth}.weight"] = v.take(f"mapping.fc{depth}.weight")
        tensors[f"mapper.layers.{depth}.bias"] = v.take(f"mapping.fc{depth}.bias")
        depth += 1
    c_dim = 0
    if "mapping.embed.weight" in v:
        tensors["mapper.embed.weight"] = v.take("mapping.embed.weight")
        tensors["mapper.embed.bias"] = v.take("mapping.embed.bias")
        c_dim = tensors["mapper.embed.weight"].shape[1]
    return {"c_dim": c_dim, "map_depth": depth}, tensors


def generator_mapping(network: Record, v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the mapping network of a generator, and its mean w: their settings and tensors."""
    config, tensors = read_mapping(v)
    if not config["map_depth"]:
        raise FigmentError(f"{v.where}: missing mapping.fc0.weight")
    tensors["w_avg"] = v.take("mapping.w_avg")
    z_dim = tensors["mapper.layers.0.weight"].shape[1]
    if config["c_dim"]:
        z_dim -= len(tensors["mapper.embed.weight"])
    config |= {"z_dim": z_dim, "w_dim": len(tensors["w_avg"]), "map_lr_mul": lr_mul(submodule(network, "mapping"))}
    return config, tensors


def lr_mul(mapping: Record) -> float:
    """Return the learning rate multiplier of the mapping network, which its layers store as `bias_gain`."""
    gain = submodule(mapping, "fc0").state.get("bias_gain", 0.01)
    return float(as_array(gain)) if not isinstance(gain, int | float) else float(gain)


def clamp_of(layer: Record) -> float | None:
    """Return the limit of a layer's activations; None for no limit."""
    clamp = layer.state.get("conv_clamp")
    return None if clamp is None else float(clamp)
