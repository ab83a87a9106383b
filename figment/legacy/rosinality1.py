"""Files of rosinality/style-based-gan-pytorch: StyleGAN in PyTorch.

Its networks always have nine blocks; the file name says how many are trained. Differences from the original StyleGAN:
the bias comes before the blur, the instance norm adds 1e-5, every layer has gain sqrt(2), both layers of a block share
a noise map, and fused upsampling kernels are divided by four.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.variables import FIR_121, Variables, estimate_w_avg, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

ORIGIN = "rosinality/style-based-gan-pytorch"
SQRT2 = math.sqrt(2.0)
NETWORKS = ("generator", "g_running", "discriminator")
"""Entries with networks; all others are dropped and named."""
TRANSPOSED = (1, 0, 2, 3)
"""Axes that turn [in, out, h, w] into [out, in, h, w]."""


def fits(value: Any) -> bool:
    """Return whether the content of a file looks like this program's."""
    inner = value.get("generator", value) if isinstance(value, dict) else None
    return isinstance(inner, dict) and "generator.progression.0.conv1.input" in inner


def read(value: dict[str, Any], where: str, name: str = "") -> Model:
    """Return the model in a checkpoint or an EMA file.

    `name` is the file name, which may say how far the network had grown. Raises FigmentError for left-over variables.
    """
    model = Model(origin=ORIGIN)
    if "generator" in value:
        parts = {"g": value["generator"], "g_ema": value.get("g_running"), "d": value.get("discriminator")}
        model.config["dropped"] = [str(key)[:40] for key in value if key not in NETWORKS]
    else:
        parts = {"g": None, "g_ema": value, "d": None}
    model.config["notes"] = (
        "w_avg is estimated from 4096 latents and noise maps are drawn with seed 0: the file has neither"
    )

    lod = None
    for part, values in parts.items():
        if not isinstance(values, dict):
            continue
        variables = Variables(values, f"{where}: {part}")
        if part == "d":
            config, tensors = _discriminator(variables)
            variables.done()
            model.d = fill_discriminator({"family": "stylegan1", **config, "lod": lod or 0.0}, tensors)
        else:
            config, tensors = _generator(variables)
            variables.done()
            lod = _lod(name, tensors, len(config["widths"]))
            network = fill_generator({"family": "stylegan1", **config, "lod": lod}, tensors)
            estimate_w_avg(network)
            setattr(model, part, network)
    return model


def _lod(name: str, tensors: dict[str, Tensor], blocks: int) -> float:
    """Return how many blocks are not grown yet, from the file name or else from the toRGB layers without training."""
    step = re.search(r"train_step-(\d+)", name)
    pixels = re.search(r"(\d+)px", name)
    if step and int(step[1]) < blocks:
        return float(blocks - 1 - int(step[1]))
    if pixels and (found := math.log2(max(4, int(pixels[1]))) - 2) in range(blocks):
        return blocks - 1 - found
    trained = [k for k in range(blocks) if tensors[f"blocks.{k}.rgb.bias"].abs().sum() > 0]
    return float(blocks - 1 - max(trained, default=blocks - 1))


def _count_blocks(v: Variables, pattern: str) -> int:
    """Return how many blocks there are. `pattern` matches variables and captures the number of the block."""
    found = sorted({int(m[1]) for name in v.values if (m := re.match(pattern, name))})
    if not 1 <= len(found) <= 12 or found != list(range(len(found))):
        raise FigmentError(f"{v.where}: blocks are {listed([str(k) for k in found])}, expected 0, 1, 2 ...")
    return len(found)


def _generator(v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # Mapping network: layers 1, 3, 5 ... of a sequence.
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"style.{2 * depth + 1}.linear.weight_orig" in v:
        for part, to in (("weight_orig", "weight"), ("bias", "bias")):
            tensors[f"mapper.layers.{depth}.{to}"] = v.take(f"style.{2 * depth + 1}.linear.{part}")
        depth += 1
    if not depth:
        raise FigmentError(f"{v.where}: missing style.1.linear.weight_orig")

    # Blocks. The program draws new noise for each image, so figment makes its own noise maps.
    random = torch.Generator().manual_seed(0)
    blocks = _count_blocks(v, r"generator\.progression\.(\d+)\.")
    widths = []
    for k in range(blocks):
        path = f"generator.progression.{k}."
        noise = torch.randn(4 << k, 4 << k, generator=random)
        for j in (0, 1):
            to = f"blocks.{k}.layer{j}."
            tensors[to + "noise_weight"] = _equalized(v, f"{path}noise{j + 1}.weight_orig", (-1,), fan_axes=1)
            tensors[to + "style.weight"] = v.take(f"{path}adain{j + 1}.style.linear.weight_orig", scale=SQRT2)
            bias = v.take(f"{path}adain{j + 1}.style.linear.bias")
            bias[: len(bias) // 2] -= 1
            tensors[to + "style.bias"] = bias
            tensors[to + "noise"] = noise.clone()
        if k:
            weight, tensors[f"blocks.{k}.layer0.bias"] = read_upsampling_layer(v, path + "conv1.")
            tensors[f"blocks.{k}.layer0.conv.weight"] = weight
        else:
            tensors["const"] = v.take(path + "conv1.input")[0]
            tensors["blocks.0.layer0.bias"] = torch.zeros(len(tensors["const"]))
        tensors[f"blocks.{k}.layer1.conv.weight"] = v.take(path + "conv2.conv.weight_orig")
        tensors[f"blocks.{k}.layer1.bias"] = v.take(path + "conv2.conv.bias")
        tensors[f"blocks.{k}.rgb.weight"] = v.take(f"generator.to_rgb.{k}.conv.weight_orig", scale=SQRT2)
        tensors[f"blocks.{k}.rgb.bias"] = v.take(f"generator.to_rgb.{k}.conv.bias")
        widths.append(len(tensors[f"blocks.{k}.layer1.bias"]))
    v.skip_filters(r"conv1\.[12]\.weight(_flip)?$", FIR_121)
    w_dim, z_dim = tensors["mapper.layers.0.weight"].shape
    tensors["w_avg"] = torch.zeros(w_dim)
    config = {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "resolution": 4 << (blocks - 1),
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "map_depth": depth,
        "map_lr_mul": 1.0,
        "norm_eps": 1e-5,
        "bias_first": True,
    }
    return config, tensors


def _equalized(v: Variables, name: str, shape: tuple[int, ...], fan_axes: int) -> Tensor:
    """Take the weight of an equalized layer and multiply it by its constant, sqrt(2 / fan in)."""
    fan_in = v.shape(name, 4)[fan_axes]
    return v.take(name, shape=shape, scale=math.sqrt(2 / fan_in))


def read_upsampling_layer(v: Variables, path: str) -> tuple[Tensor, Tensor]:
    """Read kernel and bias of an upsampling layer.

    Fused kernels are stored as [in, out, h, w], rotated by 180 degrees, and four times as large.
    """
    if path + "0.weight" in v:
        return v.take(path + "0.weight", TRANSPOSED, scale=0.25, rotate=True), v.take(path + "0.bias")
    return v.take(path + "1.conv.weight_orig"), v.take(path + "1.conv.bias")


def _discriminator(v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    blocks = _count_blocks(v, r"progression\.(\d+)\.")
    tensors: dict[str, Tensor] = {}
    activated = "from_rgb.0.0.conv.weight_orig" in v
    for index in range(blocks):
        k = blocks - 1 - index
        rgb = f"from_rgb.{index}.{'0.' if activated else ''}conv."
        tensors[f"from_rgb.{k}.weight"] = v.take(rgb + "weight_orig")
        tensors[f"from_rgb.{k}.bias"] = v.take(rgb + "bias")
        path = f"progression.{index}."
        if k:
            to = f"blocks.{k - 1}."
            tensors[to + "conv0.weight"] = v.take(path + "conv1.0.conv.weight_orig")
            tensors[to + "conv0.bias"] = v.take(path + "conv1.0.conv.bias")
            plain = path + "conv2.1.weight" in v
            tensors[to + "conv1.weight"] = v.take(path + ("conv2.1.weight" if plain else "conv2.1.conv.weight_orig"))
            tensors[to + "conv1.bias"] = v.take(path + ("conv2.1.bias" if plain else "conv2.1.conv.bias"))
        else:
            tensors["conv.weight"] = v.take(path + "conv1.0.conv.weight_orig")
            tensors["conv.bias"] = v.take(path + "conv1.0.conv.bias")
            width = len(tensors["conv.bias"])
            dense = v.rank(path + "conv2.0.conv.weight_orig", 4)
            tensors["dense.weight"] = v.take(path + "conv2.0.conv.weight_orig", shape=(len(dense), -1))
            tensors["dense.bias"] = v.take(path + "conv2.0.conv.bias")
    tensors["out.weight"] = v.take("linear.linear.weight_orig", scale=SQRT2)
    tensors["out.bias"] = v.take("linear.linear.bias")
    v.skip_filters(r"conv2\.0\.weight(_flip)?$", FIR_121)
    config = {
        "resolution": 4 << (blocks - 1),
        "channels": tensors["from_rgb.0.weight"].shape[1],
        "widths": [len(tensors[f"from_rgb.{k}.bias"]) for k in range(blocks)],
        "mbstd_group": 0,
        "mbstd_channels": tensors["conv.weight"].shape[1] - width,
        "narrow_first": True,
        "rgb_activate": activated,
    }
    return config, tensors
