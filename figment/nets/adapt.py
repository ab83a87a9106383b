"""Models fitted to other images, on request: blocks grown or cut, colors changed, labels dropped.

figment convert ffhq.pkl -o start.safetensors --resolution 256 --channels 4 --no-labels
figment train heads.zip -o runs --init ffhq.pkl --adapt
"""

from __future__ import annotations

import dataclasses
import math

from figment.base.errors import FigmentError
from figment.nets.base import Network
from figment.nets.checkpoint import Model, fill
from figment.nets.registry import families
from figment.nets.surgery import Surgery, name_colors


def differences(
    network: Network,
    resolution: int,  # of the data
    channels: int,
    c_dim: int,
) -> list[str]:
    """Return what keeps `network` from drawing such data, each with what `adapt` would do about it."""
    found = []
    if network.resolution != resolution:
        verb = "grown" if network.resolution < resolution else "cut"
        found.append(f"draws {network.resolution} px, the data have {resolution} (can be {verb})")
    if network.channels != channels:
        mine, theirs = name_colors(network.channels), name_colors(channels)
        found.append(f"draws {mine}, the data are {theirs} (can be changed)")
    if network.c_dim != c_dim:
        offer = "can be dropped" if not c_dim else "can't be added"
        found.append(f"has {network.c_dim} labels, the data have {c_dim or 'none'} ({offer})")
    return found


def adapt(
    model: Model,
    *,
    resolution: int | None = None,  # longer side in pixels; None leaves it
    channels: int | None = None,  # 1, 3 or 4; None leaves them
    labels: bool = True,  # False drops them: the network then draws what the mean label draws
) -> tuple[Model, list[str]]:
    """Return `model` for other images, and one line for each change.

    New blocks start as no-ops, each family's in its own way: at first the images are the old ones upsampled, and the
    discriminator scores an image as it scored its half-size version.
    Raises FigmentError for what can't be done.
    """
    networks: dict[str, Network] = {}
    done: list[str] = []
    if resolution is None and channels is None and labels:
        return model, done
    for name, network in model.networks().items():
        surgery = _surgery(network)
        if not labels and network.c_dim:
            done.append(f"{name}: {network.c_dim} labels dropped")
            network = fill(network, surgery.drop_labels(network))
        if resolution is not None and resolution != network.resolution:
            verb = "grown" if resolution > network.resolution else "cut"
            done.append(f"{name}: {verb} from {network.resolution} to {resolution} px")
            surgery.check_resolution(network, resolution)
            steps = round(math.log2(resolution / network.resolution))
            for step in [steps] if steps < 0 else [1] * steps:  # growing: one doubling after the other
                network = fill(network, surgery.resize(network, step))
        if channels is not None and channels != network.channels:
            done.append(f"{name}: {name_colors(network.channels)} to {name_colors(channels)}")
            network = fill(network, surgery.recolor(network, channels))
        networks[name] = network
    if "g_ema" in networks:
        networks["g_ema"].requires_grad_(False)
    config = model.config | ({"adapted": done} if done else {})
    return dataclasses.replace(model, config=config, **networks), done  # type: ignore[arg-type]


def _surgery(network: Network) -> Surgery:
    """Return what changes networks of this family; raises FigmentError if nothing does."""
    surgery = network.surgery
    if surgery is None:
        can = ", ".join(family.name for family in families().values() if family.surgery is not None)
        raise FigmentError(f"networks of family {network.family.name} can't be adapted; those of {can} can")
    return surgery
