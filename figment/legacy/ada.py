"""Pickles of stylegan2-ada-pytorch and of the stylegan3 repository: `dict(G, D, G_ema, ...)`.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676; Karras et al. 2021,
"Alias-Free Generative Adversarial Networks", arXiv 2106.12423.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy import stylegan3
from figment.legacy.modules import (
    all_tensors,
    clamp_of,
    generator_mapping,
    lr_mul,
    read_mapping,
    require,
    submodule,
    submodules,
)
from figment.legacy.pickle_vm import Foreign, Record, printable
from figment.legacy.variables import Variables, last_block_size
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
NO_DISCRIMINATOR = "NoDiscriminator"
"""The class that stands for a discriminator in snapshots that figment writes of models without one."""
KINDS = {"SuperresGenerator": "StyleGAN-XL", "TriPlaneGenerator": "EG3D"}
"""Classes of networks that figment does not draw, and the programs they belong to."""


def read(value: dict[Any, Any], where: str) -> Model:
    """Return the model in a snapshot. `where` names the file in messages.

    Entries that are not networks of this program are dropped and named, among them a discriminator of another kind.
    Raises FigmentError for another program's generator, for left-over variables, and for variants that figment does not
    implement.
    """
    alias_free = any(stylegan3.fits(value.get(key)) for key in ("G", "G_ema"))
    model = Model(origin="NVlabs/stylegan3" if alias_free else "NVlabs/stylegan2-ada-pytorch")
    dropped = [str(key)[:40] for key in value if key not in NETWORKS and key != SETTINGS and value[key] is not None]
    for key in ("G", "G_ema"):
        if isinstance(value.get(key), Record) and (program := _program(value[key], value)):
            raise FigmentError(f"{where}: {key} is a network of {program}, which figment does not draw")
    for key, name in NETWORKS.items():
        network = None if key == "G" and value.get("G") is value.get("G_ema") else value.get(key)
        if network is None:
            continue
        if not isinstance(network, Record):
            raise FigmentError(f"{where}: {key} is not a network")
        if name != "d":
            setattr(model, name, fill_generator(*_read_network(network, f"{where}: {key}", "Generator")))
        elif network.kind == NO_DISCRIMINATOR:
            continue
        elif network.kind != "Discriminator" or (isinstance(network, Foreign) and "b4" not in submodules(network)):
            dropped.append("D")
            named = str(network) if isinstance(network, Foreign) else network.kind
            model.config["notes"] = f"its discriminator, a {printable(named)}, is left out"
        else:
            like = next((g.settings() for g in (model.g, model.g_ema) if g is not None), {})
            settings, tensors = _read_network(network, f"{where}: {key}", "Discriminator", like.get("start"))
            settings["family"] = like.get("family", settings["family"])  # StyleGAN3 has StyleGAN2's discriminator
            model.d = fill_discriminator(settings, tensors)
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
    modules = submodules(network)
    for part in (network, *modules.values()):
        program = PROGRAMS.get(part.module.partition(".")[0]) if isinstance(part, Foreign) else None
        if program and "b4" not in submodules(modules.get("synthesis")):
            return program
    foreign = "embed_proj" in submodules(modules.get("mapping")) or isinstance(snapshot.get("D"), Foreign)
    return "StyleGAN-XL" if foreign and stylegan3.fits(network) else None


def _read_network(
    network: Record,
    where: str,
    wanted: str,  # its class
    start: tuple[int, int] | None = None,  # a discriminator's: first block of the generator beside it
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if network.kind != wanted:
        raise FigmentError(f"{where}: is a {network.kind[:40]!a}, expected a {wanted}")
    alias_free = wanted == "Generator" and stylegan3.fits(network)
    if wanted == "Generator" and not alias_free and "b4" not in submodules(submodules(network).get("synthesis")):
        raise FigmentError(f"{where}: a Generator whose blocks are not StyleGAN2's, which figment does not draw")
    variables = Variables(all_tensors(network, where), where)
    variables.skip_filters(r"resample_filter$")
    if alias_free:
        config, tensors = stylegan3.read_generator(network, variables)
    elif wanted == "Generator":
        config, tensors = _generator(network, variables)
    else:
        config, tensors = _discriminator(network, variables, start)
    variables.done()
    return config, tensors


def _resolutions(v: Variables, prefix: str, suffix: str) -> list[int]:
    """Return the resolutions R of the variables `bR.` + `suffix`, which must be 4, 8, 16 ... without a gap."""
    pattern = rf"{re.escape(prefix)}b(\d{{1,5}})\.{suffix}"
    found = sorted({int(m[1]) for name in v.values if (m := re.fullmatch(pattern, name))})
    if not found or found != [4 << k for k in range(len(found))]:
        raise FigmentError(f"{v.where}: block resolutions are {found}, expected 4, 8, 16 ...")
    return found


def _generator(network: Record, v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, tensors = generator_mapping(network, v)
    synthesis = submodule(network, "synthesis")

    # Blocks, smallest resolution first.
    resolutions = _resolutions(v, "synthesis.", "torgb.weight")
    first = submodule(synthesis, "b4.conv1")
    widths = []
    for k, r in enumerate(resolutions):
        block = submodule(synthesis, f"b{r}")
        require(block, f"{v.where}: b{r}", architecture="skip")
        for name in ("conv0", "conv1") if k else ("conv1",):
            layer = submodule(block, name)
            require(layer, f"{v.where}: b{r}.{name}", activation="lrelu", use_noise=True, conv_clamp=_raw_clamp(first))
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
        "start": start,
        "resolution": max(start) << (len(resolutions) - 1),
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "clamp": clamp_of(first),
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
    clamp = submodule(network, f"b{top}.fromrgb")
    for k, r in enumerate(resolutions[1:]):
        block = submodule(network, f"b{r}")
        require(block, f"{v.where}: b{r}", architecture="resnet")
        for name in ("conv0", "conv1"):
            require(submodule(block, name), f"{v.where}: b{r}.{name}", activation="lrelu", conv_clamp=_raw_clamp(clamp))
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
        mapped, mapper = read_mapping(v)
        config |= mapped
        tensors |= mapper
        if config["map_depth"]:
            config["map_lr_mul"] = lr_mul(submodule(network, "mapping"))
    start = last_block_size(tensors["dense.weight"], first, start, v.where)
    config |= {
        "family": "stylegan2",
        "start": start,
        "resolution": max(start) << (len(resolutions) - 1),
        "channels": tensors["from_rgb.weight"].shape[1],
        "widths": [first, *(len(tensors[f"blocks.{k}.conv0.bias"]) for k in range(len(resolutions) - 1))],
        "mbstd_group": _group(network),
        "mbstd_channels": tensors["conv.weight"].shape[1] - first,
        "clamp": clamp_of(clamp),
    }
    return config, tensors


def _group(network: Record) -> int:
    """Return the group size of the minibatch stddev layer: 0 for the whole batch (None in the original)."""
    modules = submodule(network, "b4").state.get("_modules", {})
    layer = modules.get("mbstd")
    group = layer.state.get("group_size") if isinstance(layer, Record) else None
    return int(group) if isinstance(group, int) else 0
