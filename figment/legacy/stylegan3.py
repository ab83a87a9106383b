"""Generators of the stylegan3 repository (`--cfg=stylegan3-t` and `-r`), in its persistence pickles.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", arXiv 2106.12423.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.modules import clamp_of, generator_mapping, submodule, submodules
from figment.legacy.pickle_vm import Record
from figment.legacy.torchfile import as_array
from figment.legacy.variables import Variables
from figment.nets.stylegan3 import Signal, StyleGAN3Config, layer_widths, signals

LAYER = re.compile(r"L(\d{1,3})_(\d{1,5})_\d{1,5}")
"""Names of layers: number, size, feature maps."""
STOPBANDS = {"first_stopband": "first_stopband", "last_stopband": "last_stopband_rel"}
"""Settings that stand in the arguments of the synthesis network alone, and their names there."""


def fits(value: Any) -> bool:
    """Return whether an entry of a snapshot is such a generator: its synthesis network begins with Fourier features."""
    return "input" in submodules(submodules(value).get("synthesis"))


def read_generator(network: Record, v: Variables) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a generator: its settings and tensors.

    Raises FigmentError for missing parts, and for layers other than those that figment builds from these settings.
    """
    config, tensors = generator_mapping(network, v)
    synthesis = submodule(network, "synthesis")
    found = {int(m[1]): (str(name), int(m[2])) for name in submodules(synthesis) if (m := LAYER.fullmatch(str(name)))}
    last = len(found) - 1
    if last < 1 or sorted(found) != list(range(last + 1)):
        raise FigmentError(f"{v.where}: layers are {sorted(found)}, expected 0, 1, 2 ...")
    names, sizes = [found[k][0] for k in range(last + 1)], [found[k][1] for k in range(last + 1)]
    layers = [submodule(synthesis, name) for name in names]

    for name in ("weight", "affine.weight", "affine.bias", "transform", "freqs", "phases"):
        tensors[f"input.{name}"] = v.take(f"synthesis.input.{name}")
    for k in range(last + 1):
        to = "rgb" if k == last else f"layers.{k}"
        for name in ("weight", "bias", "affine.weight", "affine.bias"):
            tensors[f"{to}.{name}"] = v.take(f"synthesis.{names[k]}.{name}")
        tensors[f"{to}.magnitude"] = v.take(f"synthesis.{names[k]}.magnitude_ema", shape=())
        for name in ("up_filter", "down_filter") if k < last else ():
            tensors[f"{to}.{name}"] = v.take(f"synthesis.{names[k]}.{name}")

    # What the modules don't say has the original's default.
    first, whole = layers[0].state, synthesis.state
    arguments = whole.get("_init_kwargs", {})
    kernel, default = tensors["layers.0.weight"].shape[-1], StyleGAN3Config()
    rate = max(_number(first.get(name, 1)) for name in ("in_sampling_rate", "out_sampling_rate"))
    config |= {
        "family": "stylegan3-r" if kernel == 1 else "stylegan3-t",
        "resolution": int(whole.get("img_resolution", sizes[-1])),
        "channels": len(tensors["rgb.bias"]),
        "widths": [len(tensors["input.freqs"]), *(len(tensors[f"layers.{k}.bias"]) for k in range(last))],
        "kernel": kernel,
        "radial": any(tensors[f"layers.{k}.down_filter"].ndim == 2 for k in range(last)),
        "layers": last,
        "critical": int(whole.get("num_critical", default.critical)),
        "first_cutoff": _number(first.get("in_cutoff", default.first_cutoff)),
        "margin": int(whole.get("margin_size", default.margin)),
        "filter_size": len(tensors["layers.0.up_filter"]) // int(first.get("up_factor", default.oversampling)),
        "oversampling": int(_number(first.get("tmp_sampling_rate", default.oversampling * rate)) / rate),
        "output_scale": _number(whole.get("output_scale", default.output_scale)),
        "clamp": clamp_of(layers[0]),
    }
    config |= {name: _number(arguments[key]) for name, key in STOPBANDS.items() if key in arguments}
    plain = StyleGAN3Config(**{name: value for name, value in config.items() if name != "family"})
    _check(layers, sizes, signals(plain), v)

    # Widths that follow the rule need not be listed.
    factor = 2 if plain.kernel == 1 else 1
    base, most = (int(arguments.get(name, 0)) // factor for name in ("channel_base", "channel_max"))
    ruled = dataclasses.replace(plain, widths=None, channel_base=base, channel_max=most)
    if layer_widths(ruled) == config["widths"]:
        config |= {"widths": None, "channel_base": base, "channel_max": most}
    return config, tensors


def _check(layers: list[Record], sizes: list[int], plan: list[Signal], v: Variables) -> None:
    """Raise FigmentError if a layer's output is not as planned. `sizes` are those in the names of the layers."""
    for k, (layer, size, signal) in enumerate(zip(layers, sizes, plan, strict=True)):
        cutoff = _number(layer.state.get("out_cutoff", signal.cutoff))
        rate = _number(layer.state.get("out_sampling_rate", signal.rate))
        if size != signal.size or rate != signal.rate or not math.isclose(cutoff, signal.cutoff, rel_tol=1e-6):
            raise FigmentError(
                f"{v.where}: a variant of StyleGAN3 that figment does not implement: layer {k} has {size} samples at "
                f"rate {rate:g} with cutoff {cutoff:g}, expected {signal.size} at {signal.rate} with {signal.cutoff:g}"
            )


def _number(value: Any) -> float:
    """Return a number of Python or numpy as a float."""
    return float(value) if isinstance(value, int | float | np.generic) else float(as_array(value))
