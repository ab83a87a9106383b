"""Pickles of stylegan2-ada-pytorch and of the stylegan3 repository (`--cfg=stylegan2`): `dict(G, D, G_ema, ...)`.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.pickle_vm import Record
from figment.legacy.torchfile import as_array
from figment.legacy.variables import Variables, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

NETWORKS = {"G": "g", "G_ema": "g_ema", "D": "d"}
"""Entries with networks, and their names in a `Model`."""
OTHERS = ("augment_pipe", "training_set_kwargs", "snapshot_pkl", "pl_mean")
"""Entries without networks: training settings, which are noted or dropped."""


def read(value: dict[Any, Any], where: str) -> Model:
    """Return the model in a snapshot. `where` names the file in messages.

    Raises FigmentError for left-over entries or variables and for variants that figment does not implement.
    """
    unknown = [str(key) for key in value if key not in NETWORKS and key not in OTHERS]
    if unknown:
        raise FigmentError(f"{where}: left over: {listed(unknown)}")
    model = Model(origin="NVlabs/stylegan2-ada-pytorch")
    for key, name in NETWORKS.items():
        network = value.get(key)
        if network is None:
            continue
        if not isinstance(network, Record):
            raise FigmentError(f"{where}: {key} is not a network")
        if name == "d":
            model.d = fill_discriminator(*_read_network(network, f"{where}: {key}", "Discriminator"))
        else:
            setattr(model, name, fill_generator(*_read_network(network, f"{where}: {key}", "Generator")))
    data = value.get("training_set_kwargs")
    if isinstance(data, dict):
        plain = {str(k): v for k, v in data.items() if isinstance(v, str | int | float | bool) and k != "path"}
        model.config["data"] = plain
    return model


def _read_network(network: Record, where: str, wanted: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if network.kind != wanted:
        raise FigmentError(f"{where}: is a {network.kind[:40]!a}, expected a {wanted}")
    variables = Variables(_tensors(network, where), where)
    variables.skip_filters(r"resample_filter$")
    config, tensors = (_generator if wanted == "Generator" else _discriminator)(network, variables)
    variables.done()
    return config, tensors


def _part(record: Any, path: str) -> Record:
    """Return the submodule at the dotted `path`. Raises FigmentError if it is missing."""
    for name in path.split(".") if path else ():
        modules = record.state.get("_modules") if isinstance(record, Record) else None
        record = modules.get(name) if isinstance(modules, dict) else None
    if not isinstance(record, Record):
        raise FigmentError(f"missing module {path}")
    return record


def _tensors(record: Record, where: str, prefix: str = "", depth: int = 0) -> dict[str, Any]:
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
        found.update(_tensors(module, where, f"{prefix}{key}.", depth + 1))
    return found


def _resolutions(v: Variables, prefix: str, suffix: str) -> list[int]:
    """Return the resolutions R of the variables `bR.` + `suffix`, which must be 4, 8, 16 ... without a gap."""
    pattern = rf"{re.escape(prefix)}b(\d{{1,5}})\.{suffix}"
    found = sorted({int(m[1]) for name in v.values if (m := re.fullmatch(pattern, name))})
    if not found or found != [4 << k for k in range(len(found))]:
        raise FigmentError(f"{v.where}: block resolutions are {found}, expected 4, 8, 16 ...")
    return found


def _clamp(layer: Record) -> float | None:
    clamp = layer.state.get("conv_clamp")
    return None if clamp is None else float(clamp)


def _require(record: Record, where: str, **wanted: Any) -> None:
    """Raise FigmentError if a setting of a module differs from the one that figment implements."""
    wrong = [
        f"{name}={record.state[name]!r}"
        for name, value in wanted.items()
        if name in record.state and record.state[name] != value
    ]
    if wrong:
        raise FigmentError(f"{where}: a variant that figment does not implement: {listed(wrong)}")


def _mapping(v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the mapping network: its label size and depth, and its tensors."""
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"mapping.fc{depth}.weight" in v:
        tensors[f"mapper.layers.{depth}.weight"] = v.take(f"mapping.fc{depth}.weight")
        tensors[f"mapper.layers.{depth}.bias"] = v.take(f"mapping.fc{depth}.bias")
        depth += 1
    if not depth:
        raise FigmentError(f"{v.where}: missing mapping.fc0.weight")
    c_dim = 0
    if "mapping.embed.weight" in v:
        tensors["mapper.embed.weight"] = v.take("mapping.embed.weight")
        tensors["mapper.embed.bias"] = v.take("mapping.embed.bias")
        c_dim = tensors["mapper.embed.weight"].shape[1]
    return {"c_dim": c_dim, "map_depth": depth}, tensors


def _lr_mul(mapping: Record) -> float:
    """Return the learning rate multiplier of the mapping network, which its layers store as `bias_gain`."""
    gain = _part(mapping, "fc0").state.get("bias_gain", 0.01)
    return float(as_array(gain)) if not isinstance(gain, int | float) else float(gain)


def _generator(network: Record, v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # Mapping network.
    config, tensors = _mapping(v)
    mapping, synthesis = _part(network, "mapping"), _part(network, "synthesis")
    tensors["w_avg"] = v.take("mapping.w_avg")
    w_dim = len(tensors["w_avg"])
    z_dim = tensors["mapper.layers.0.weight"].shape[1] - (
        tensors["mapper.embed.weight"].shape[0] if config["c_dim"] else 0
    )

    # Blocks, smallest resolution first.
    resolutions = _resolutions(v, "synthesis.", "torgb.weight")
    first = _part(synthesis, "b4.conv1")
    widths = []
    for k, r in enumerate(resolutions):
        block = _part(synthesis, f"b{r}")
        _require(block, f"{v.where}: b{r}", architecture="skip")
        for name in ("conv0", "conv1") if k else ("conv1",):
            layer = _part(block, name)
            _require(layer, f"{v.where}: b{r}.{name}", activation="lrelu", use_noise=True, conv_clamp=_raw_clamp(first))
            path, to = f"synthesis.b{r}.{name}.", f"blocks.{k}.{name}."
            for part in ("weight", "bias", "affine.weight", "affine.bias", "noise_strength"):
                tensors[to + part] = v.take(path + part)
            tensors[to + "noise"] = v.take(path + "noise_const")
        for part in ("weight", "bias", "affine.weight", "affine.bias"):
            tensors[f"blocks.{k}.rgb.{part}"] = v.take(f"synthesis.b{r}.torgb.{part}")
        widths.append(len(tensors[f"blocks.{k}.conv1.bias"]))
    tensors["const"] = v.take("synthesis.b4.const")
    config |= {
        "family": "stylegan2",
        "z_dim": z_dim,
        "w_dim": w_dim,
        "resolution": resolutions[-1],
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "map_lr_mul": _lr_mul(mapping),
        "clamp": _clamp(first),
    }
    return config, tensors


def _raw_clamp(layer: Record) -> Any:
    return layer.state.get("conv_clamp")


def _discriminator(network: Record, v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # Blocks; only the largest has a fromRGB layer.
    resolutions = _resolutions(v, "", r"conv0?\.weight")
    top = resolutions[-1]
    tensors: dict[str, Tensor] = {}
    for part in ("weight", "bias"):
        tensors[f"from_rgb.{part}"] = v.take(f"b{top}.fromrgb.{part}")
    clamp = _part(network, f"b{top}.fromrgb")
    for k, r in enumerate(resolutions[1:]):
        block = _part(network, f"b{r}")
        _require(block, f"{v.where}: b{r}", architecture="resnet")
        for name in ("conv0", "conv1"):
            _require(_part(block, name), f"{v.where}: b{r}.{name}", activation="lrelu", conv_clamp=_raw_clamp(clamp))
            for part in ("weight", "bias"):
                tensors[f"blocks.{k}.{name}.{part}"] = v.take(f"b{r}.{name}.{part}")
        tensors[f"blocks.{k}.skip.weight"] = v.take(f"b{r}.skip.weight")

    # Last block, and the mapping network of labels.
    for name, to in (("conv", "conv"), ("fc", "dense"), ("out", "out")):
        for part in ("weight", "bias"):
            tensors[f"{to}.{part}"] = v.take(f"b4.{name}.{part}")
    first = len(tensors["conv.bias"])
    config: dict[str, Any] = {"c_dim": 0, "map_depth": 8}
    if "mapping.embed.weight" in v:
        mapped, mapper = _mapping(v)
        config |= mapped
        tensors |= mapper
    config |= {
        "family": "stylegan2",
        "resolution": top,
        "channels": tensors["from_rgb.weight"].shape[1],
        "widths": [first, *(len(tensors[f"blocks.{k}.conv0.bias"]) for k in range(len(resolutions) - 1))],
        "mbstd_group": _group(network),
        "mbstd_channels": tensors["conv.weight"].shape[1] - first,
        "clamp": _clamp(clamp),
    }
    return config, tensors


def _group(network: Record) -> int:
    """Return the group size of the minibatch stddev layer: 0 for the whole batch (None in the original)."""
    modules = _part(network, "b4").state.get("_modules", {})
    layer = modules.get("mbstd")
    group = layer.state.get("group_size") if isinstance(layer, Record) else None
    return int(group) if isinstance(group, int) else 0
