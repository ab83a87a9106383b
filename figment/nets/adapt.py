"""Networks for other pictures: levels grown or cut, colours added or dropped, labels dropped. Only ever on request.

figment convert ffhq.pkl -o start.safetensors --resolution 256 --channels 4 --no-labels
figment train heads.zip -o runs --init ffhq.pkl --adapt
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.nets.layers import SQRT2, normalise_rows
from figment.nets.modelfile import Model, fill
from figment.nets.registry import build_discriminator, build_generator

GROWN = ("stylegan1", "progan")
ADAPTABLE = ("stylegan2", *GROWN)
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


def differences(
    network: nn.Module,
    resolution: int,  # of the data
    channels: int,
    c_dim: int,
) -> list[str]:
    """What keeps `network` from drawing such data, each with what `adapt` would do about it."""
    config: Any = network.config
    found = []
    if config["resolution"] != resolution:
        verb = "grown" if config["resolution"] < resolution else "cut"
        found.append(f"draws {config['resolution']} px, the data have {resolution} (can be {verb})")
    if config["channels"] != channels:
        mine = name_colours(config["channels"])
        found.append(f"draws {mine}, the data are {name_colours(channels)} (can be changed)")
    if config.get("c_dim", 0) != c_dim:
        offer = "can be dropped" if not c_dim else "can't be added"
        found.append(f"has {config.get('c_dim', 0)} labels, the data have {c_dim or 'none'} ({offer})")
    return found


def name_colours(channels: int) -> str:
    """RGB, RGBA, grey, or the number of channels."""
    return COLOURS.get(channels, f"{channels} channels")


def adapt(
    model: Model,
    *,
    resolution: int | None = None,  # the longer side; None leaves it
    channels: int | None = None,  # 1, 3 or 4; None leaves them
    labels: bool = True,  # False drops them: the network then draws what the mean label draws
) -> tuple[Model, list[str]]:
    """`model` for other pictures, and a line for each thing that was done.

    New levels start without a say: behind colours that are nothing yet (StyleGAN2) or behind `lod` (StyleGAN,
    ProGAN), so that at first the pictures are the old ones enlarged, and a picture scores what it scored at half its
    size. Raises FigmentError for what can't be done.
    """
    networks: dict[str, Any] = {}
    done: list[str] = []
    if resolution is None and channels is None and labels:
        return model, done
    for name, network in model.networks().items():
        family = network.config["family"]  # type: ignore[index]
        if family not in ADAPTABLE:
            raise FigmentError(f"networks of family {family} can't be adapted; those of {', '.join(ADAPTABLE)} can")
        kind = "discriminator" if name == "d" else "generator"
        if not labels and network.config["c_dim"]:  # type: ignore[index]
            done.append(f"{name}: {network.config['c_dim']} labels dropped")  # type: ignore[index]
            network = fill(*_drop_labels(network), kind)
        old = int(network.config["resolution"])  # type: ignore[index]
        if resolution is not None and resolution != old:
            done.append(f"{name}: {'grown' if resolution > old else 'cut'} from {old} to {resolution} px")
            network = fill(*_resize(network, resolution, kind), kind)
        colours = int(network.config["channels"])  # type: ignore[index]
        if channels is not None and channels != colours:
            done.append(f"{name}: {name_colours(colours)} to {name_colours(channels)}")
            network = fill(*_recolour(network, channels, kind), kind)
        networks[name] = network
    if "g_ema" in networks:
        networks["g_ema"].requires_grad_(False)
    config = model.config | ({"adapted": done} if done else {})
    return dataclasses.replace(model, config=config, **networks), done


Parts = tuple[dict[str, Any], dict[str, Tensor]]


def _parts(network: nn.Module) -> Parts:
    """Copies of a network's configuration and of its table of tensors."""
    config: Any = network.config
    return dict(config), dict(network.state_dict())


# Resolution ---------------------------------------------------------------------------------------------------


def _resize(network: nn.Module, resolution: int, kind: str) -> Parts:
    """Levels more or fewer; the smaller levels keep their weights."""
    config, old = _parts(network)
    steps = round(math.log2(resolution / config["resolution"]))
    if resolution < max(config["start"]) * 2 or config["resolution"] * 2.0**steps != resolution:
        raise FigmentError(f"resolution {resolution}: must be {config['resolution']} times or over a power of two, "
                           f"and at least {max(config['start']) * 2}")  # fmt: skip
    if steps > 1:  # one doubling after the other
        network = fill(*_resize(network, resolution // 2, kind), kind)
        steps, (config, old) = 1, _parts(network)
    if config["widths"] is not None:
        widths = list(config["widths"])
        config["widths"] = widths[:steps] if steps < 0 else [*widths, max(widths[-1] // 2, 1)]
    config["resolution"] = resolution
    if config["family"] in GROWN:
        config["lod"] = max(config["lod"] + steps, 0.0)

    # Fresh weights wherever the old ones have no place.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build_generator(config) if kind == "generator" else build_discriminator(config)
    dtype = next(iter(old.values())).dtype
    tensors = {
        name: old[name] if name in old and old[name].shape == value.shape else value.detach().to(dtype)
        for name, value in fresh.state_dict().items()
    }
    if kind == "generator" and config["family"] == "stylegan2":
        for name in tensors.keys() - old.keys():
            if name.endswith("rgb.weight"):
                tensors[name] = torch.zeros_like(tensors[name])
    if kind == "discriminator" and config["family"] == "stylegan2" and steps == 1:
        _keep_scores(tensors, old["from_rgb.weight"], old["from_rgb.bias"])
    return config, tensors


def _keep_scores(tensors: dict[str, Tensor], weight: Tensor, bias: Tensor) -> None:
    """Let StyleGAN2's new top level do what the old first layer [out, C, 1, 1] did, on the picture at half the size.

    Feature maps carry the colours x through leaky ReLUs as the pair f(x), f(-x): x = (f(x) - f(-x)) / 1.2. The new
    level's other maps start with random weights and no say.
    """
    colours, width = weight.shape[1], len(tensors["from_rgb.weight"])
    used = 2 * colours
    if width < used:
        return
    top = max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    pair = torch.cat([torch.eye(colours), -torch.eye(colours)]).to(weight)  # [2 C, C]: from x to (x, -x)
    back = pair.t() / 1.2  # [C, 2 C]: from (f(x), f(-x)) to x
    narrow, wide = math.sqrt(colours), math.sqrt(width * 9)  # what equalised weights are divided by

    # Colours in, through, and out again; equalised layers multiply by sqrt(2), and the last by 1 in all.
    for name in ("from_rgb.weight", "from_rgb.bias"):
        tensors[name] = tensors[name].clone()
    tensors["from_rgb.bias"][:used] = 0
    tensors["from_rgb.weight"][:used] = (pair * (narrow / SQRT2))[:, :, None, None]
    through = tensors[f"blocks.{top}.conv0.weight"]
    through[:used] = 0
    through[:used, :used, 1, 1] = (pair @ back) * (wide / SQRT2)
    out = torch.zeros_like(tensors[f"blocks.{top}.conv1.weight"])
    out[:, :used, 1, 1] = (weight[:, :, 0, 0] @ back) * (SQRT2 / narrow * wide)
    tensors[f"blocks.{top}.conv1.weight"] = out
    tensors[f"blocks.{top}.conv1.bias"] = bias * SQRT2
    tensors[f"blocks.{top}.skip.weight"] = torch.zeros_like(tensors[f"blocks.{top}.skip.weight"])


# Colours ------------------------------------------------------------------------------------------------------


def _recolour(network: nn.Module, channels: int, kind: str) -> Parts:
    """Colours more or fewer: new alpha is opaque, RGB out of grey is grey."""
    config, tensors = _parts(network)
    old = int(config["channels"])
    if (old, channels) not in ((3, 4), (4, 3), (1, 3), (1, 4)):
        raise FigmentError(f"channels {channels}: {name_colours(old)} can't become {name_colours(channels)}")
    config["channels"] = channels
    for name, value in tensors.items():
        if kind == "generator" and re.search(r"rgb\.(weight|bias)$", name):
            tensors[name] = _more_outputs(value, channels)
        if kind == "discriminator" and re.search(r"from_rgb\.(\d+\.)?weight$", name):
            # Equalised weights shrink with the root of their inputs.
            tensors[name] = _more_inputs(value, channels) * math.sqrt(channels / old)
    if channels == 4 and kind == "generator":
        levels = [name for name in tensors if name.endswith("rgb.bias")]
        for name in levels if config["family"] in GROWN else levels[-1:]:
            tensors[name][3] = 1.0
    return config, tensors


def _more_outputs(value: Tensor, channels: int) -> Tensor:
    """A colour layer's weight or bias [C, ...] for other colours."""
    if len(value) == 1:
        value = value.expand(3, *value.shape[1:])
    if channels < len(value):
        return value[:channels].clone()
    return torch.cat([value, value.new_zeros(channels - len(value), *value.shape[1:])])


def _more_inputs(value: Tensor, channels: int) -> Tensor:
    """A first layer's weight [out, C, 1, 1] for other colours: alpha has no say at first."""
    if value.shape[1] == 1:
        value = value.expand(-1, 3, -1, -1) / 3
    if channels < value.shape[1]:
        return value[:, :channels].clone()
    return torch.cat([value, value.new_zeros(len(value), channels - value.shape[1], 1, 1)], 1)


# Labels -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _drop_labels(network: nn.Module) -> Parts:
    """No labels: what the mean of all labels adds becomes part of the biases."""
    config, tensors = _parts(network)
    labels = int(config["c_dim"])
    mean = torch.full((1, labels), 1 / labels, dtype=next(iter(tensors.values())).dtype)
    config["c_dim"] = 0
    if "z_dim" in config:
        fold = _fold_latent if config["family"] == "progan" else _fold_mapping
        fold(network, config, tensors, mean)
        return config, tensors

    # The discriminator: the mean label's direction, the mean of all labels' outputs, or the score alone.
    weight, bias = tensors["out.weight"], tensors["out.bias"]
    if config.get("label") == "project":
        direction = network.mapper(None, mean) / math.sqrt(len(bias))  # type: ignore[operator]
        tensors["out.weight"], tensors["out.bias"] = direction @ weight, (direction @ bias[:, None])[0]
    elif config["family"] == "progan":
        tensors["out.weight"], tensors["out.bias"] = weight[:1].clone(), bias[:1].clone()
    else:
        tensors["out.weight"], tensors["out.bias"] = weight.mean(0, keepdim=True), bias.mean(0, keepdim=True)
    for name in [name for name in tensors if name.startswith("mapper.")]:
        del tensors[name]
    return config, tensors


def _fold_mapping(network: nn.Module, config: dict[str, Any], tensors: dict[str, Tensor], mean: Tensor) -> None:
    """Let the mapping's first layer see z alone; exact where z and label are normalised apart."""
    mapper: Any = network.mapper
    first, z_dim = mapper.layers[0], int(config["z_dim"])
    if mapper.embed is not None:
        label, scale = normalise_rows(mapper.embed(mean)), 1.0
    else:
        # Normalised as one vector: z has mean square 1, so the length of both is known but for z's own spread.
        label = mean @ mapper.embed_weight
        scale = float(((z_dim + label.square().sum()) / (2 * z_dim)).rsqrt())
    weight, inputs = first.weight, first.weight.shape[1]
    added = (label * scale) @ weight[:, z_dim:].t() * (first.gain / first.lr_mul)
    tensors["mapper.layers.0.weight"] = weight[:, :z_dim] * (scale * math.sqrt(z_dim / inputs))
    tensors["mapper.layers.0.bias"] = first.bias + added[0]
    for name in [name for name in tensors if name.startswith("mapper.embed")]:
        del tensors[name]


def _fold_latent(network: nn.Module, config: dict[str, Any], tensors: dict[str, Tensor], mean: Tensor) -> None:
    """Let ProGAN's first block see z alone; the label's share is averaged over the block's pixels."""
    block: Any = network.blocks[0]  # type: ignore[index]
    z_dim, latent = int(config["z_dim"]), block.weight.shape[1]
    length = (z_dim + float(mean.square().sum())) / latent if config["normalise"] else 1.0
    scale = length**-0.5
    added = (block.weight[:, z_dim:] @ mean[0] * (block.scale * scale)).reshape(len(block.bias), -1).mean(1)
    tensors["blocks.0.weight"] = block.weight[:, :z_dim] * (scale * math.sqrt(z_dim / latent))
    tensors["blocks.0.bias"] = block.bias + added
