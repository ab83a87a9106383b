"""Pickles of stylegan2-ada-pytorch and of the stylegan3 repository (`--cfg=stylegan2`): `dict(G, D, G_ema, ...)`.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.pickle_vm import Foreign, Record, printable
from figment.legacy.torchfile import as_array
from figment.legacy.variables import Variables, last_block_size, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

NETWORKS = {"G": "g", "G_ema": "g_ema", "D": "d"}
"""Entries with networks, and their names in a `Model`."""
SETTINGS = "training_set_kwargs"
"""The entry with settings of the data set, which are noted; all other entries are dropped and named."""
PROGRAMS = {
    "pg_modules": "Projected GAN",
    "R3GAN": "R3GAN",
    "lightweight_gan": "lightweight-gan",
}
"""Modules of networks that figment does not draw, and the programs they belong to."""
STYLEGAN3 = "StyleGAN3 (config T or R)"
"""What networks with an `input` layer of Fourier features are called."""
KINDS = {"SuperresGenerator": "StyleGAN-XL", "TriPlaneGenerator": "EG3D"}
"""Classes of networks that figment does not draw, and the programs they belong to."""


def read(value: dict[Any, Any], where: str) -> Model:
    """Return the model in a snapshot. `where` names the file in messages.

    Entries that are not networks of this program are dropped and named, among them a discriminator of another kind.
    Raises FigmentError for another program's generator, for left-over variables, and for variants that figment does not
    implement.
    """
    model = Model(origin="NVlabs/stylegan2-ada-pytorch")
    dropped = [str(key)[:40] for key in value if key not in NETWORKS and key != SETTINGS and value[key] is not None]
    for key in ("G", "G_ema"):
        if isinstance(value.get(key), Record) and (program := _program(value[key], value)):
            instead = "; of that repository it reads --cfg=stylegan2" if program == STYLEGAN3 else ""
            raise FigmentError(f"{where}: {key} is a network of {program}, which figment does not draw{instead}")
    for key, name in NETWORKS.items():
        network = value.get(key)
        if network is None:
            continue
        if not isinstance(network, Record):
            raise FigmentError(f"{where}: {key} is not a network")
        if name != "d":
            setattr(model, name, fill_generator(*_read_network(network, f"{where}: {key}", "Generator")))
        elif network.kind != "Discriminator" or (isinstance(network, Foreign) and "b4" not in _modules(network)):
            dropped.append("D")
            named = str(network) if isinstance(network, Foreign) else network.kind
            model.config["notes"] = f"its discriminator, a {printable(named)}, is left out"
        else:
            start = next((g.settings()["start"] for g in (model.g, model.g_ema) if g is not None), None)
            model.d = fill_discriminator(*_read_network(network, f"{where}: {key}", "Discriminator", start))
    if not model.networks() and "D" in dropped:
        raise FigmentError(f"{where}: {model.config['notes']}, and it holds no generator")
    if dropped:
        model.config["dropped"] = dropped
    data = value.get(SETTINGS)
    if isinstance(data, dict):
        plain = {str(k): v for k, v in data.items() if isinstance(v, str | int | float | bool) and k != "path"}
        model.config["data"] = plain
    return model


def _program(network: Record, snapshot: dict[Any, Any]) -> str | None:
    """Return the program that a generator belongs to if figment does not draw its networks, else None."""
    if network.kind in KINDS:
        return KINDS[network.kind]
    modules = _modules(network)
    for part in (network, *modules.values()):
        program = PROGRAMS.get(part.module.partition(".")[0]) if isinstance(part, Foreign) else None
        if program and "b4" not in _modules(modules.get("synthesis")):
            return program
    layers = _modules(modules.get("synthesis"))
    if "input" not in layers and not any(re.match(r"L\d+_\d+_\d+$", str(name)) for name in layers):
        return None
    if "embed_proj" in _modules(modules.get("mapping")) or isinstance(snapshot.get("D"), Foreign):
        return "StyleGAN-XL"
    return STYLEGAN3


def _modules(record: Any) -> dict[Any, Any]:
    """Return the submodules of a module by name; none if it is no module."""
    found = record.state.get("_modules") if isinstance(record, Record) else None
    return found if isinstance(found, dict) else {}


def _read_network(
    network: Record,
    where: str,
    wanted: str,  # its class
    start: tuple[int, int] | None = None,  # a discriminator's: first block of the generator beside it
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if network.kind != wanted:
        raise FigmentError(f"{where}: is a {network.kind[:40]!a}, expected a {wanted}")
    if wanted == "Generator" and "b4" not in _modules(_modules(network).get("synthesis")):
        raise FigmentError(f"{where}: a Generator whose blocks are not StyleGAN2's, which figment does not draw")
    variables = Variables(_tensors(network, where), where)
    variables.skip_filters(r"resample_filter$")
    if wanted == "Generator":
        config, tensors = _generator(network, variables)
    else:
        config, tensors = _discriminator(network, variables, start)
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
    if not config["map_depth"]:
        raise FigmentError(f"{v.where}: missing mapping.fc0.weight")
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
    _, *start = v.shape("synthesis.b4.const", 3)
    tensors["const"] = v.take("synthesis.b4.const")
    config |= {
        "family": "stylegan2",
        "z_dim": z_dim,
        "w_dim": w_dim,
        "start": start,
        "resolution": max(start) << (len(resolutions) - 1),
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "map_lr_mul": _lr_mul(mapping),
        "clamp": _clamp(first),
    }
    return config, tensors


def _raw_clamp(layer: Record) -> Any:
    return layer.state.get("conv_clamp")


def _discriminator(
    network: Record,
    v: Variables,
    start: tuple[int, int] | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
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
        if config["map_depth"]:
            config["map_lr_mul"] = _lr_mul(_part(network, "mapping"))
    start = last_block_size(tensors["dense.weight"], first, start, v.where)
    config |= {
        "family": "stylegan2",
        "start": start,
        "resolution": max(start) << (len(resolutions) - 1),
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
