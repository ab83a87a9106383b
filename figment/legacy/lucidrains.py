"""Files of lucidrains/stylegan2-pytorch: `model_N.pt`, the state of its `GAN` module, and `.config.json` beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.torchfile import as_array
from figment.legacy.variables import FIR_121, Variables, estimate_w_avg, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

ORIGIN = "lucidrains/stylegan2-pytorch"


def fits(value: Any) -> bool:
    """Return whether the content of a file looks like this program's."""
    return isinstance(value, dict) and "S.net.0.weight" in _state(value)


def _state(value: dict[Any, Any]) -> dict[Any, Any]:
    """Return the state of the `GAN` module; early versions wrote it without an envelope."""
    inner = value.get("GAN")
    return inner if isinstance(inner, dict) else value


def read(value: dict[str, Any], where: str, path: Path | None = None) -> Model:
    """Return the model in a checkpoint. Settings come from a file beside `path`; None uses the defaults.

    Entries besides the networks, such as the scaler of mixed precision, are dropped and named. Raises FigmentError for
    left-over variables.
    """
    state = _state(value)
    settings = _settings(path)
    model = Model(origin=ORIGIN)
    dropped = [str(key)[:40] for key in value if key not in ("GAN", "version")] if state is not value else []
    if dropped:
        model.config["dropped"] = dropped
    model.config["notes"] = (
        "w_avg is estimated from 4096 latents and the noise map is drawn with seed 0: the file has neither"
    )
    if state is not value and isinstance(value.get("version"), str):
        model.config["program_version"] = value["version"][:40]

    # Both generators (trained and averaged) and the discriminator, which the file holds under two names.
    _check_equal(state, "D_aug.D.", "D.", where)
    for part, mapping, synthesis in (("g", "S.", "G."), ("g_ema", "SE.", "GE.")):
        values = {k: v for k, v in state.items() if isinstance(k, str) and k.startswith((mapping, synthesis))}
        v = Variables(values, f"{where}: {synthesis[:-1]}")
        config, tensors = _generator(v, mapping, synthesis, settings)
        v.done()
        network = fill_generator({"family": "lucidrains", **config}, tensors)
        estimate_w_avg(network)
        setattr(model, part, network)
    v = Variables({k: value for k, value in state.items() if isinstance(k, str) and k.startswith("D.")}, f"{where}: D")
    config, tensors = _discriminator(v)
    v.done()
    model.d = fill_discriminator({"family": "lucidrains", **config}, tensors)
    rest = [str(k) for k in state if not str(k).startswith(("S.", "G.", "SE.", "GE.", "D.", "D_aug.D."))]
    if rest:
        raise FigmentError(f"{where}: left over: {listed(sorted(rest))}")
    return model


def _settings(path: Path | None) -> dict[str, Any]:
    """Return the settings in `.config.json` or `NAME_config.json` beside the file; empty if there are none."""
    if path is None:
        return {}
    prefix = re.sub(r"_?model_\d+$", "", path.stem)
    for name in (".config.json", f"{prefix}_config.json", "config.json"):
        beside = path.with_name(name)
        try:
            found = json.loads(beside.read_text()) if beside.is_file() else None
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "network_capacity" in found:
            return found
    return {}


def _check_equal(state: dict[Any, Any], second: str, first: str, where: str) -> None:
    """Raise FigmentError if variables differ between the prefixes `first` and `second`."""
    for name in state:
        if isinstance(name, str) and name.startswith(second):
            twin = first + name[len(second) :]
            if twin not in state or as_array(state[name]).tobytes() != as_array(state[twin]).tobytes():
                raise FigmentError(f"{where}: left over: {name}, which differs from {twin}")


def _generator(
    v: Variables,
    mapping: str,
    synthesis: str,
    settings: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"{mapping}net.{2 * depth}.weight" in v:
        for part in ("weight", "bias"):
            tensors[f"mapper.layers.{depth}.{part}"] = v.take(f"{mapping}net.{2 * depth}.{part}")
        depth += 1
    if not depth:
        raise FigmentError(f"{v.where}: missing {mapping}net.0.weight")

    # The constant input, then the blocks.
    no_const = f"{synthesis}to_initial_block.weight" in v
    if no_const:
        tensors["to_const.weight"] = v.take(f"{synthesis}to_initial_block.weight")
    else:
        tensors["const"] = v.rank_one(f"{synthesis}initial_block", 4)
    blocks = len({m[1] for name in v.values if (m := re.match(rf"{synthesis}blocks\.(\d+)\.", name))})
    renamed = {
        "to_style1": "conv1.style",
        "to_noise1": "noise1",
        "to_style2": "conv2.style",
        "to_noise2": "noise2",
        "to_rgb.to_style": "rgb.style",
    }
    for part in ("weight", "bias"):
        tensors[f"conv.{part}"] = v.take(f"{synthesis}initial_conv.{part}")
        for k in range(blocks):
            for theirs, ours in renamed.items():
                tensors[f"blocks.{k}.{ours}.{part}"] = v.take(f"{synthesis}blocks.{k}.{theirs}.{part}")
    for k in range(blocks):
        for theirs, ours in (("conv1", "conv1"), ("conv2", "conv2"), ("to_rgb.conv", "rgb")):
            tensors[f"blocks.{k}.{ours}.weight"] = v.take(f"{synthesis}blocks.{k}.{theirs}.weight")
    v.skip_filters(r"upsample\.1\.f$", FIR_121)

    if not 1 <= blocks <= 12:
        raise FigmentError(f"{v.where}: has {blocks} blocks, expected 1 to 12")
    resolution = 2 << blocks
    z_dim = len(tensors["mapper.layers.0.bias"])
    tensors["w_avg"] = torch.zeros(z_dim)
    tensors["noise"] = torch.rand(resolution, resolution, generator=torch.Generator().manual_seed(0))
    lr_mul = settings.get("lr_mlp", 0.1)
    config = {
        "z_dim": z_dim,
        "resolution": resolution,
        "channels": len(tensors["blocks.0.rgb.weight"]),
        "widths": [len(tensors[f"blocks.{k}.noise1.bias"]) for k in range(blocks)],
        "map_depth": depth,
        "map_lr_mul": float(lr_mul) if isinstance(lr_mul, int | float) else 0.1,
        "no_const": no_const,
    }
    return config, tensors


def _discriminator(v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    blocks = len({m[1] for name in v.values if (m := re.match(r"D\.blocks\.(\d+)\.", name))})
    if not 2 <= blocks <= 13:
        raise FigmentError(f"{v.where}: has {blocks} blocks, expected 2 to 13")
    tensors: dict[str, Tensor] = {}
    for part in ("weight", "bias"):
        for k in range(blocks):
            names = {"conv_res": "skip", "net.0": "conv1", "net.2": "conv2"}
            if k < blocks - 1:
                names["downsample.1"] = "down"
            for theirs, ours in names.items():
                tensors[f"blocks.{k}.{ours}.{part}"] = v.take(f"D.blocks.{k}.{theirs}.{part}")
        tensors[f"conv.{part}"] = v.take(f"D.final_conv.{part}")
        tensors[f"out.{part}"] = v.take(f"D.to_logit.{part}")
    v.skip_filters(r"downsample\.0\.f$", FIR_121)
    config = {
        "resolution": 1 << blocks,
        "channels": tensors["blocks.0.conv1.weight"].shape[1],
        "widths": [len(tensors[f"blocks.{k}.conv1.bias"]) for k in range(blocks)],
    }
    return config, tensors
