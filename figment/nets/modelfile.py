"""Model files: networks, their configuration and their story in one .safetensors, and whatever else holds a model."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.base.files import atomic, need_file
from figment.nets.registry import build_discriminator, build_generator

NETWORKS = ("g_ema", "g", "d")
METADATA_KEY = "figment"
FORMAT = 1


@dataclass
class Model:
    """The networks of one training, and what is known about them."""

    g_ema: nn.Module | None = None
    """The generator whose weights are the running mean of training's; the one to draw with."""
    g: nn.Module | None = None
    """The generator that was being trained."""
    d: nn.Module | None = None
    """The discriminator."""
    config: dict[str, Any] = field(default_factory=dict)
    """`generator` and `discriminator` (their constructors' arguments), and notes: `data`, `licence`, `kimg`."""
    origin: str = "figment"
    """The program that made the file."""

    @property
    def generator(self) -> nn.Module:
        """The generator to draw with: the running mean, or the trained one where there is no mean."""
        network = self.g_ema if self.g_ema is not None else self.g
        if network is None:
            raise FigmentError("this model has no generator")
        return network

    def networks(self) -> dict[str, nn.Module]:
        """The networks that are there, by name."""
        return {name: network for name in NETWORKS if (network := getattr(self, name)) is not None}


def fill(
    config: dict[str, Any],  # the network's family and its constructor's arguments
    tensors: dict[str, Tensor],  # its weights and buffers, by name
    kind: str = "generator",  # or "discriminator"
) -> nn.Module:
    """The network of `config` holding exactly `tensors`, without ever drawing random weights.

    Raises FigmentError that lists every name or shape that is missing, left over or different.
    """
    with torch.device("meta"):
        network = build_generator(config) if kind == "generator" else build_discriminator(config)
    wanted = network.state_dict()
    wrong = [f"missing {name}" for name in sorted(wanted.keys() - tensors.keys())]
    wrong += [f"left over {name}" for name in sorted(tensors.keys() - wanted.keys())]
    wrong += [
        f"{name} is {list(tensors[name].shape)} and not {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        raise FigmentError(f"the {kind} does not fit its weights: {', '.join(wrong)}")
    network.load_state_dict({name: _aligned(value) for name, value in tensors.items()}, assign=True)
    return network.eval()


def _aligned(value: Tensor) -> Tensor:
    """`value`, copied where it is a view at an odd address: kernels round differently there, so pictures would too."""
    fine = value.is_contiguous() and value.data_ptr() % 64 == 0
    return value if fine else value.clone(memory_format=torch.contiguous_format)


def save(
    path: Path,
    model: Model,
    **notes: Any,  # more entries for the configuration, such as kimg=2500, data={...}, licence="..."
) -> None:
    """Write `model` to `path`, whole or not at all. What `load` gives back is bit for bit the same."""
    networks = model.networks()
    if not networks:
        raise FigmentError(f"{path}: a model file needs at least one network")
    config = {**model.config, **notes}
    for name, network in networks.items():
        config["discriminator" if name == "d" else "generator"] = network.config

    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    record = {"format": FORMAT, "origin": model.origin, "config": config}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(record)})


def read_record(path: Path) -> dict[str, Any]:
    """What the model file at `path` says about itself: format, origin, config. Reads no weights."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise FigmentError(f"{path}: a damaged model file ({_one_line(error)})") from None
    if text is None:
        raise FigmentError(f"{path}: a safetensors file, but not one that figment wrote")
    try:
        record = json.loads(text)
        if record["format"] > FORMAT:
            raise FigmentError(f"{path}: written by a newer figment (format {record['format']}, this reads {FORMAT})")
        if not isinstance(record["config"], dict) or not isinstance(record["origin"], str):
            raise TypeError("config and origin")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FigmentError(f"{path}: a model file with damaged metadata ({_one_line(error)})") from None
    return dict(record)


def load_figment(path: Path) -> Model:
    """The model in figment's own file at `path`, on the CPU; the EMA generator's weights are frozen."""
    record = read_record(path)
    config = record["config"]
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    strangers = sorted(name for name in tensors if name.partition(".")[0] not in NETWORKS)
    if strangers:
        raise FigmentError(f"{path}: left over in the model file: {', '.join(strangers)}")

    model = Model(config=config, origin=record["origin"])
    for name in NETWORKS:
        part = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}
        kind = "discriminator" if name == "d" else "generator"
        if not part:
            continue
        if not isinstance(config.get(kind), dict):
            raise FigmentError(f"{path}: holds {name} but not the configuration of its {kind}")
        try:
            setattr(model, name, fill(config[kind], part, kind))
        except FigmentError as error:
            raise FigmentError(f"{path}: {name}: {error}") from None
    if model.g_ema is not None:
        model.g_ema.requires_grad_(False)
    return model


def load(path: str | Path) -> Model:
    """The model in `path`: figment's own file, a run's folder, or any foreign checkpoint that figment reads."""
    path = Path(path)
    if path.is_dir():
        inside = path / "model.safetensors"
        if not inside.is_file():
            raise FigmentError(f"{path}: a folder without model.safetensors, so not (yet) a run to load from")
        path = inside
    need_file(path, "model")
    if path.suffix == ".safetensors":
        return load_figment(path)
    # Readers of foreign files build on this module, so they are asked for by name and only now.
    model: Model = importlib.import_module("figment.legacy.formats").load(path)
    return model


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
