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

LAYER = re.compile(r"L(\d{1,3})_\d{1,5}_\d{1,5}")
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
    found = {int(m[1]): str(name) for name in submodules(synthesis) if (m := LAYER.fullmatch(str(name)))}
    last = len(found) - 1
    if last < 1 or sorted(found) != list(range(last + 1)):
        raise FigmentError(f"{v.where}: layers are {sorted(found)}, expected 0, 1, 2 ...")
    layers = [submodule(synthesis, found[k]) for k in range(last + 1)]

    for name in ("weight", "affine.weight", "affine.bias", "transform", "freqs", "phases"):
        tensors[f"input.{name}"] = v.take(f"synthesis.input.{name}")
    for k in range(last + 1):
        to = "rgb" if k == last else f"layers.{k}"
        for name in ("weight", "bias", "affine.weight", "affine.bias"):
            tensors[f"{to}.{name}"] = v.take(f"synthesis.{found[k]}.{name}")
        tensors[f"{to}.magnitude"] = v.take(f"synthesis.{found[k]}.magnitude_ema", shape=())
        for name in ("up_filter", "down_filter") if k < last else ():
            tensors[f"{to}.{name}"] = v.take(f"synthesis.{found[k]}.{name}")

    first = layers[0].state
    arguments = synthesis.state.get("_init_kwargs", {})
    config |= {
        "family": "stylegan3-r" if first["conv_kernel"] == 1 else "stylegan3-t",
        "resolution": int(synthesis.state["img_resolution"]),
        "channels": len(tensors["rgb.bias"]),
        "widths": [len(tensors["input.freqs"]), *(len(tensors[f"layers.{k}.bias"]) for k in range(last))],
        "kernel": int(first["conv_kernel"]),
        "radial": any(layer.state["down_radial"] for layer in layers),
        "layers": last,
        "critical": int(synthesis.state["num_critical"]),
        "first_cutoff": _number(first["in_cutoff"]),
        "margin": int(synthesis.state["margin_size"]),
        "filter_size": first["up_taps"] // first["up_factor"],
        "oversampling": first["tmp_sampling_rate"] // max(first["in_sampling_rate"], first["out_sampling_rate"]),
        "output_scale": _number(synthesis.state["output_scale"]),
        "clamp": clamp_of(layers[0]),
    }
    config |= {name: _number(arguments[key]) for name, key in STOPBANDS.items() if key in arguments}
    plain = StyleGAN3Config(**{name: value for name, value in config.items() if name != "family"})
    _check(layers, signals(plain), v)

    # Widths that follow the rule need not be listed.
    factor = 2 if plain.kernel == 1 else 1
    base, most = (int(arguments.get(name, 0)) // factor for name in ("channel_base", "channel_max"))
    ruled = dataclasses.replace(plain, widths=None, channel_base=base, channel_max=most)
    if layer_widths(ruled) == config["widths"]:
        config |= {"widths": None, "channel_base": base, "channel_max": most}
    return config, tensors


def _check(layers: list[Record], plan: list[Signal], v: Variables) -> None:
    """Raise FigmentError if a layer's output is not as planned."""
    for k, (layer, signal) in enumerate(zip(layers, plan, strict=True)):
        cutoff, rate = _number(layer.state["out_cutoff"]), _number(layer.state["out_sampling_rate"])
        found = layer.state["out_size"]
        sizes = set(found if isinstance(found, list) else as_array(found).ravel().tolist())
        same = math.isclose(cutoff, signal.cutoff, rel_tol=1e-6) and rate == signal.rate and sizes == {signal.size}
        if not same:
            raise FigmentError(
                f"{v.where}: a variant of StyleGAN3 that figment does not implement: layer {k} has {sorted(sizes)} "
                f"samples at rate {rate:g} with cutoff {cutoff:g}, expected {signal.size} at {signal.rate} with "
                f"{signal.cutoff:g}"
            )


def _number(value: Any) -> float:
    """Return a number of Python or numpy as a float."""
    return float(value) if isinstance(value, int | float | np.generic) else float(as_array(value))
