"""Files of rosinality/stylegan2-pytorch, StyleGAN2 in PyTorch: reader and writer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.legacy.pickle_vm import Record
from figment.legacy.torchfile import as_array
from figment.legacy.variables import Variables, estimate_w_avg, last_block_size
from figment.nets.base import Network
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

ORIGIN = "rosinality/stylegan2-pytorch"
NETWORKS = ("g", "g_ema", "d")
"""Entries with networks; a table of weights under another name, or without one, counts as g_ema."""
NOTED = ("args", "ada_aug_p", "latent_avg")
"""Entries besides networks that are used. All others are dropped and named."""
MAX_SIDE = 4096
"""Longer side in pixels of the largest network whose noise maps are drawn."""
FIRST = {"generator": "input.input", "discriminator": "final_linear.1.weight"}
"""A variable that every network has. What comes before it in a table is a prefix of another program."""
OTHERS = {"generator": ("style.1.weight", "to_rgb1.bias"), "discriminator": ("convs.0.0.weight", "final_conv.0.weight")}
"""More of them: a table that has none of these either holds another program's network."""


def fits(value: Any) -> bool:
    """Return whether the content of a file looks like this program's: it holds a generator under some name."""
    if not isinstance(value, dict):
        return False
    return _prefix(value, "generator") is not None or any(
        isinstance(part, dict) and _prefix(part, "generator") is not None for part in value.values()
    )


def _prefix(table: dict[Any, Any], kind: str) -> str | None:
    """Return what stands before the names of a network's variables: mostly nothing, else `module.` and the like.

    None if the table holds no such network. The shortest one counts, then the first.
    """
    end = FIRST[kind]
    found = [key[: -len(end)] for key in table if isinstance(key, str) and key.endswith(end)]
    return min((prefix for prefix in found if not prefix or prefix.endswith(".")), key=len, default=None)


def read(value: dict[str, Any], where: str) -> Model:
    """Return the model in a training checkpoint, a converted file, or a table of weights of the generator.

    Other entries, and what lies beside a generator under a prefix, are dropped and named. Raises FigmentError for
    left-over variables of a network.
    """
    model = Model(origin=ORIGIN)
    notes: list[str] = []
    if _prefix(value, "generator") is not None:
        value = {"g_ema": value}
    known = _tables(value)
    dropped = [
        str(key)[:40] for key in value if key not in NOTED and not any(value[key] is table for table in known.values())
    ]

    start = None
    for part, table in known.items():
        kind = "discriminator" if part == "d" else "generator"
        prefix = _prefix(table, kind)
        if prefix is None:
            raise FigmentError(f"{where}: {part}: missing {FIRST[kind]}")
        values = {key[len(prefix) :]: item for key, item in table.items() if str(key).startswith(prefix)}
        latent = next(
            (found for found in (value.get("latent_avg"), table.get("latent_avg")) if found is not None), None
        )
        inner = values.pop("latent_avg", None)
        latent = inner if latent is None else latent
        beside = {_component(str(key), prefix) for key in table if not str(key).startswith(prefix)} - {"latent_avg"}
        dropped += [name for name in sorted(beside) if name not in dropped]
        if "decoder" in prefix.split("."):
            notes.append("the decoder of an encoder-and-decoder file")
        variables = Variables(values, f"{where}: {part}")
        config, tensors = _discriminator(variables, start) if part == "d" else _generator(variables, notes)
        variables.done()
        if part == "d":
            model.d = fill_discriminator({"family": "stylegan2", **config}, tensors)
            continue
        start = config["start"]
        network = fill_generator({"family": "stylegan2", **config}, tensors)
        if latent is None:
            estimate_w_avg(network)
            notes.append("w_avg is estimated from 4096 latents: the file has none")
        else:
            network.w_avg.copy_(_w_avg(latent, network.w_dim, where))
        setattr(model, part, network)

    if notes:
        model.config["notes"] = "; ".join(dict.fromkeys(notes))
    model.config["dropped"] = dropped
    if isinstance(value.get("ada_aug_p"), float):
        model.config["ada_p"] = value["ada_aug_p"]
    args = value.get("args")
    if isinstance(args, Record):
        plain = {k: v for k, v in args.state.items() if isinstance(k, str) and isinstance(v, int | float | str)}
        model.config["training"] = {k: v for k, v in plain.items() if k not in ("path", "ckpt")}
    return model


def _tables(value: dict[Any, Any]) -> dict[str, dict[Any, Any]]:
    """Return the tables of weights of this program's networks, by name: g, g_ema, d."""
    tables = {key: part for key, part in value.items() if isinstance(part, dict)}
    known = {}
    for name in NETWORKS:
        kind = "discriminator" if name == "d" else "generator"
        ends = (FIRST[kind], *OTHERS[kind])
        if name in tables and any(str(key).endswith(ends) for key in tables[name]):
            known[name] = tables[name]
    if "g" not in known and "g_ema" not in known:
        generators = [key for key, table in tables.items() if _prefix(table, "generator") is not None]
        best = min(generators, key=lambda key: "ema" not in str(key).lower())
        known = {"g_ema": tables[best], **known}
    return known


def _component(name: str, prefix: str) -> str:
    """Return the first parts of a variable's name, up to the one in which it differs from `prefix`."""
    parts, wanted = name.split("."), prefix.split(".")
    same = next((k for k, (a, b) in enumerate(zip(parts, wanted, strict=False)) if a != b), len(parts))
    return ".".join(parts[: same + 1])[:60]


def _w_avg(latent: Any, w_dim: int, where: str) -> Tensor:
    """Return the mean w in a file: [w_dim], or as encoders keep it, [layers, w_dim] with the same row for each."""
    rows = torch.from_numpy(as_array(latent).astype("float32"))
    if not rows.numel() or rows.shape[-1] != w_dim:
        raise FigmentError(f"{where}: latent_avg has shape {list(rows.shape)}, expected [{w_dim}]")
    rows = rows.reshape(-1, w_dim)
    if not torch.allclose(rows, rows[:1], atol=1e-6):
        raise FigmentError(f"{where}: latent_avg differs from layer to layer, and figment has one mean for all")
    return rows[0]


def _generator(v: Variables, notes: list[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # Mapping network: layers 1, 2, 3 ... after the normalization.
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"style.{depth + 1}.weight" in v:
        for part in ("weight", "bias"):
            tensors[f"mapper.layers.{depth}.{part}"] = v.take(f"style.{depth + 1}.{part}")
        depth += 1
    if not depth:
        raise FigmentError(f"{v.where}: missing style.1.weight")

    # Blocks: the file numbers all convolutions in one list, and all toRGB layers in another.
    blocks = 1 + len({m[1] for name in v.values if (m := re.match(r"to_rgbs\.(\d+)\.", name))})
    if blocks > 12:
        raise FigmentError(f"{v.where}: has {blocks} blocks, expected at most 12")
    const = v.rank_one("input.input", 4)  # [C, h, w]
    start = (const.shape[1], const.shape[2])
    maps = _noise_maps(v, blocks, start, notes)
    for path, to, number in _layers(blocks):
        tensors[to + "weight"] = v.rank_one(path + "conv.weight", 5)
        tensors[to + "affine.weight"] = v.take(path + "conv.modulation.weight")
        tensors[to + "affine.bias"] = v.take(path + "conv.modulation.bias")
        if number is None:
            tensors[to + "bias"] = v.take(path + "bias", shape=(-1,))
        else:
            tensors[to + "noise_strength"] = v.take(path + "noise.weight", shape=())
            tensors[to + "bias"] = v.take(path + "activate.bias")
            tensors[to + "noise"] = maps[number]
    tensors["const"] = const
    v.skip_filters(r"\.(blur|upsample)\.kernel$")
    w_dim, z_dim = tensors["mapper.layers.0.weight"].shape
    tensors["w_avg"] = torch.zeros(w_dim)
    config = {
        "z_dim": z_dim,
        "w_dim": w_dim,
        "start": start,
        "resolution": max(start) << (blocks - 1),
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": [len(tensors[f"blocks.{k}.conv1.bias"]) for k in range(blocks)],
        "map_depth": depth,
    }
    return config, tensors


def _noise_maps(v: Variables, blocks: int, start: tuple[int, int], notes: list[str]) -> list[Tensor]:
    """Return the noise map [H, W] of every convolution. Early files have none: then they are drawn."""
    names = [f"noises.noise_{number}" for number in range(2 * blocks - 1)]
    if any(name in v for name in names):
        return [v.rank_one(name, 4)[0] for name in names]
    if max(start) << (blocks - 1) > MAX_SIDE:
        raise FigmentError(
            f"{v.where}: starts with {start[0]}x{start[1]} and has {blocks} blocks, more than figment reads"
        )
    notes.append("noise maps are drawn with seed 0: the file has none")
    random = torch.Generator().manual_seed(0)
    sizes = [(start[0] << (number + 1) // 2, start[1] << (number + 1) // 2) for number in range(2 * blocks - 1)]
    return [torch.randn(size, generator=random) for size in sizes]


def _layers(blocks: int) -> list[tuple[str, str, int | None]]:
    """Return the modulated layers: foreign prefix, figment's prefix, number of the noise map (None for toRGB)."""
    layers: list[tuple[str, str, int | None]] = [
        ("conv1.", "blocks.0.conv1.", 0),
        ("to_rgb1.", "blocks.0.rgb.", None),
    ]
    for k in range(1, blocks):
        layers.append((f"convs.{2 * k - 2}.", f"blocks.{k}.conv0.", 2 * k - 1))
        layers.append((f"convs.{2 * k - 1}.", f"blocks.{k}.conv1.", 2 * k))
        layers.append((f"to_rgbs.{k - 1}.", f"blocks.{k}.rgb.", None))
    return layers


def _discriminator(v: Variables, start: tuple[int, int] | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    count = len({m[1] for name in v.values if (m := re.match(r"convs\.(\d+)\.", name))}) - 1
    tensors = {to: v.take(name) for name, to in _discriminator_names(count)}
    v.skip_filters(r"\.kernel$")
    first = len(tensors["conv.bias"])
    start = last_block_size(tensors["dense.weight"], first, start, v.where)
    config = {
        "start": start,
        "resolution": max(start) << count,
        "channels": tensors["from_rgb.weight"].shape[1],
        "widths": [first, *(len(tensors[f"blocks.{k}.conv0.bias"]) for k in range(count))],
        "mbstd_channels": tensors["conv.weight"].shape[1] - first,
    }
    return config, tensors


def _discriminator_names(count: int) -> list[tuple[str, str]]:
    """Return the foreign name and figment's name of each variable of a discriminator; the layouts are the same."""
    names = [
        ("convs.0.0.weight", "from_rgb.weight"),
        ("convs.0.1.bias", "from_rgb.bias"),
        ("final_conv.0.weight", "conv.weight"),
        ("final_conv.1.bias", "conv.bias"),
        ("final_linear.0.weight", "dense.weight"),
        ("final_linear.0.bias", "dense.bias"),
        ("final_linear.1.weight", "out.weight"),
        ("final_linear.1.bias", "out.bias"),
    ]
    for index in range(1, count + 1):
        k = count - index
        names += [
            (f"convs.{index}.conv1.0.weight", f"blocks.{k}.conv0.weight"),
            (f"convs.{index}.conv1.1.bias", f"blocks.{k}.conv0.bias"),
            (f"convs.{index}.conv2.1.weight", f"blocks.{k}.conv1.weight"),
            (f"convs.{index}.conv2.2.bias", f"blocks.{k}.conv1.bias"),
            (f"convs.{index}.skip.1.weight", f"blocks.{k}.skip.weight"),
        ]
    return names


def write(path: Path, model: Model) -> None:
    """Write `model` as a converted file of this program: g_ema, g and d if present, and latent_avg.

    Raises FigmentError for a network that the program has no equivalent for.
    """
    wrong = _differences(model)
    if wrong:
        raise FigmentError(f"{path}: {ORIGIN} does not support a network with {', '.join(wrong)}")
    content: dict[str, Any] = {}
    for name, network in model.networks().items():
        content[name] = _foreign_discriminator(network) if name == "d" else _foreign_generator(network)
    if "g_ema" not in content and "g" in content:
        content["g_ema"] = content["g"]
    if "g_ema" in content:
        content["latent_avg"] = model.generator.w_avg.detach().clone()
    with atomic(path) as temporary:
        torch.save(content, temporary)


def _differences(model: Model) -> list[str]:
    """Return the settings that this program does not support, as `name=value`."""
    wanted = {"family": "stylegan2", "c_dim": 0, "channels": 3, "start": (4, 4), "map_lr_mul": 0.01, "label": "project"}
    wanted |= {"mbstd_group": 4, "mbstd_channels": 1, "normalize_z": True}
    wrong: dict[str, None] = {}
    for network in model.networks().values():
        config = network.settings()
        if config["family"] != "stylegan2":
            return [f"family={config['family']}"]
        for key, value in wanted.items():
            unlabelled = key == "label" and not config.get("c_dim")
            if key in config and config[key] != value and not unlabelled:
                wrong[f"{key}={config[key]}"] = None
    return list(wrong)


def _kernel(gain: float) -> Tensor:
    """Return the constant 4x4 [1, 3, 3, 1] filter times `gain`."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return line[:, None] * line * gain


def _foreign_generator(network: Network) -> dict[str, Tensor]:
    ours = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    config, blocks = network.settings(), len(network.widths)
    theirs: dict[str, Tensor] = {}
    for depth in range(config["map_depth"]):
        for part in ("weight", "bias"):
            theirs[f"style.{depth + 1}.{part}"] = ours[f"mapper.layers.{depth}.{part}"]
    theirs["input.input"] = ours["const"][None]
    for path, to, number in _layers(blocks):
        theirs[path + "conv.weight"] = ours[to + "weight"][None]
        theirs[path + "conv.modulation.weight"] = ours[to + "affine.weight"]
        theirs[path + "conv.modulation.bias"] = ours[to + "affine.bias"]
        if number is None:
            theirs[path + "bias"] = ours[to + "bias"][None, :, None, None]
            if path != "to_rgb1.":
                theirs[path + "upsample.kernel"] = _kernel(4.0)
        else:
            theirs[path + "noise.weight"] = ours[to + "noise_strength"][None]
            theirs[path + "activate.bias"] = ours[to + "bias"]
            theirs[f"noises.noise_{number}"] = ours[to + "noise"][None, None]
            if to.endswith("conv0."):
                theirs[path + "conv.blur.kernel"] = _kernel(4.0)
    return {key: value.clone() for key, value in theirs.items()}


def _foreign_discriminator(network: Network) -> dict[str, Tensor]:
    ours = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    count = len(network.widths) - 1
    theirs = {name: ours[to].clone() for name, to in _discriminator_names(count)}
    for index in range(1, count + 1):
        theirs[f"convs.{index}.conv2.0.kernel"] = _kernel(1.0)
        theirs[f"convs.{index}.skip.0.kernel"] = _kernel(1.0)
    return theirs
