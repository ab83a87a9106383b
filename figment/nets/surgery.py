"""Networks for other images: blocks added or cut, color channels added or dropped, labels dropped.

`Surgery` does what all block-based families have in common. A family overrides the parts that differ and puts an
instance into its `Family`; `figment/nets/adapt.py` calls it.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.nets.base import Generator, Network, typed
from figment.nets.layers import Linear, pixel_norm
from figment.nets.mapping import Mapping

COLORS = {1: "gray", 3: "RGB", 4: "RGBA"}

Parts = tuple[dict[str, Any], dict[str, Tensor]]
"""A network's settings, as `Network.settings` gives them, and its tensors by name."""


def name_colors(channels: int) -> str:
    """Return RGB, RGBA, gray, or the number of channels."""
    return COLORS.get(channels, f"{channels} channels")


def parts_of(network: Network) -> Parts:
    """Return copies of a network's settings and of its table of tensors."""
    return network.settings(), dict(network.state_dict())


RECOLORINGS = ((3, 4), (4, 3), (1, 3), (1, 4))
"""Color channels that networks can change from and to."""


class Surgery:
    """Changes of networks made of blocks, for families that follow its names.

    Settings: `resolution`, `start`, `widths`, `channels`, `c_dim`. Tensors: `...rgb.weight` and `...rgb.bias` of to-RGB
    layers, `from_rgb...weight`, `out.weight` and `out.bias` of D's last layer. Modules: `mapper`, a Mapping.
    """

    all_rgb_visible = False
    """Whether every block's RGB image can be the output, as in growing networks; else they add up to one image."""

    # Resolution --------------------------------------------------------------------------------------------------

    def check_resolution(self, network: Network, resolution: int) -> None:
        """Raise FigmentError unless the network can be grown or cut to `resolution`."""
        settings = network.settings()
        old, least = int(settings["resolution"]), max(settings["start"]) * 2
        steps = round(math.log2(resolution / old)) if resolution > 0 else 0
        if resolution < least or old * 2.0**steps != resolution:
            raise FigmentError(
                f"resolution {resolution}: must be {old} times or divided by a power of two, and at least {least}"
            )

    def resize(self, network: Network, steps: int) -> Parts:
        """Return parts with one block more (`steps` 1) or `-steps` fewer; the smaller blocks keep their weights."""
        settings, old = parts_of(network)
        if settings["widths"] is not None:
            widths = list(settings["widths"])
            settings["widths"] = widths[:steps] if steps < 0 else [*widths, max(widths[-1] // 2, 1)]
        settings["resolution"] = int(settings["resolution"] * 2.0**steps)
        settings |= self.resized_settings(settings, steps)

        # Fresh weights wherever the old ones have no place.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            build = (
                network.family.build_generator if network.KIND == "generator" else network.family.build_discriminator
            )
            fresh = build(settings).state_dict()
        dtype = next(iter(old.values())).dtype
        tensors = {
            name: old[name] if name in old and old[name].shape == value.shape else value.detach().to(dtype)
            for name, value in fresh.items()
        }
        self.start_as_no_op(network, old, tensors, steps)
        return settings, tensors

    def resized_settings(self, settings: dict[str, Any], steps: int) -> dict[str, Any]:
        """Return the settings of the family's own that change with the resolution."""
        return {}

    def start_as_no_op(self, network: Network, old: dict[str, Tensor], tensors: dict[str, Tensor], steps: int) -> None:
        """Change `tensors` in place so that new blocks keep the network's outputs."""

    # Colors ------------------------------------------------------------------------------------------------------

    def recolor(self, network: Network, channels: int) -> Parts:
        """Return parts for other color channels: new alpha is opaque, and RGB made from gray is gray."""
        settings, tensors = parts_of(network)
        old = int(settings["channels"])
        if (old, channels) not in RECOLORINGS:
            raise FigmentError(f"channels {channels}: {name_colors(old)} can't become {name_colors(channels)}")
        settings["channels"] = channels
        if network.KIND == "generator":
            for name in [name for name in tensors if re.search(r"rgb\.(weight|bias)$", name)]:
                tensors[name] = _change_outputs(tensors[name], channels)
            if channels == 4:
                biases = [name for name in tensors if name.endswith("rgb.bias")]
                for name in biases if self.all_rgb_visible else biases[-1:]:
                    tensors[name][3] = 1.0
        else:
            for name in [name for name in tensors if re.search(r"from_rgb\.(\d+\.)?weight$", name)]:
                # Equalized weights are divided by the root of their inputs.
                tensors[name] = change_inputs(tensors[name], channels) * math.sqrt(channels / old)
        return settings, tensors

    # Labels ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def drop_labels(self, network: Network) -> Parts:
        """Return parts without labels: what the mean of all labels adds becomes part of the biases."""
        settings, tensors = parts_of(network)
        labels = int(settings["c_dim"])
        mean = torch.full((1, labels), 1 / labels, dtype=next(iter(tensors.values())).dtype)
        settings["c_dim"] = 0
        if isinstance(network, Generator):
            self.fold_label(network, tensors, mean)
        else:
            self.fold_scores(network, tensors, mean)
        for name in [name for name in tensors if name.startswith("mapper.") and network.KIND == "discriminator"]:
            del tensors[name]
        return settings, tensors

    def fold_label(self, network: Generator, tensors: dict[str, Tensor], mean: Tensor) -> None:
        """Let the first mapping layer see z alone; exact if z and the label are normalized separately."""
        mapper = network.get_submodule("mapper")
        if not isinstance(mapper, Mapping):
            raise FigmentError(f"the labels of a {network.family.name} generator can't be dropped")
        first, z_dim = typed(mapper.layers, Linear)[0], network.z_dim
        if mapper.embed is not None:
            label, scale = pixel_norm(mapper.embed(mean)), 1.0
        else:
            # Normalized as one vector: z has mean square 1, so both lengths are known but for z's own spread.
            label, scale = mean @ mapper.embed_weight, 1.0
            if mapper.normalize_z:
                scale = float(((z_dim + label.square().sum()) / (2 * z_dim)).rsqrt())
        weight, inputs = first.weight, first.weight.shape[1]
        added = (label * scale) @ weight[:, z_dim:].t() * (first.gain / first.lr_mul)
        tensors["mapper.layers.0.weight"] = weight[:, :z_dim] * (scale * math.sqrt(z_dim / inputs))
        tensors["mapper.layers.0.bias"] = first.bias + added[0]
        for name in [name for name in tensors if name.startswith("mapper.embed")]:
            del tensors[name]

    def fold_scores(self, network: Network, tensors: dict[str, Tensor], mean: Tensor) -> None:
        """Let a discriminator with one output per label give the mean of all of them."""
        for name in ("out.weight", "out.bias"):
            tensors[name] = tensors[name].mean(0, keepdim=True)


def _change_outputs(value: Tensor, channels: int) -> Tensor:
    """Return an RGB layer's weight or bias [C, ...] for other colors; new channels start at zero."""
    if len(value) == 1:
        value = value.expand(3, *value.shape[1:])
    if channels < len(value):
        return value[:channels].clone()
    return torch.cat([value, value.new_zeros(channels - len(value), *value.shape[1:])])


def change_inputs(value: Tensor, channels: int) -> Tensor:
    """Return a from-RGB layer's weight [out, C, h, w] for other colors; new channels start without effect."""
    if value.shape[1] == 1:
        value = value.expand(-1, 3, -1, -1) / 3
    if channels < value.shape[1]:
        return value[:, :channels].clone()
    return torch.cat([value, value.new_zeros(len(value), channels - value.shape[1], *value.shape[2:])], 1)
