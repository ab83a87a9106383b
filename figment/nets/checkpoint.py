"""Model files: networks with their settings and their history in one .safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.base.progress import say
from figment.nets.base import AnyNetwork, Discriminator, Generator, Network
from figment.nets.projected import is_outdated
from figment.nets.registry import build_discriminator, build_generator
from figment.nets.surgery import Parts

METADATA_KEY = "figment"
FORMAT = 1


@dataclass
class Model:
    """The networks of one training, and what is known about them."""

    g_ema: Generator | None = None
    """The generator with averaged weights, which images are drawn with."""
    g: Generator | None = None
    """The generator that was trained."""
    d: Discriminator | None = None
    """The discriminator."""
    config: dict[str, Any] = field(default_factory=dict)
    """Settings of `generator` and `discriminator`, and notes: `data`, `licence`, `kimg`."""
    origin: str = "figment"
    """The program that made the file."""

    @property
    def generator(self) -> Generator:
        """The generator to draw with: the averaged one, or the trained one if there is no average.

        Raises FigmentError for a model without a generator.
        """
        network = self.g_ema if self.g_ema is not None else self.g
        if network is None:
            raise FigmentError("this model has no generator")
        return network

    def networks(self) -> dict[str, Network]:
        """Return the networks that the model has, by name: g_ema, g, d."""
        named: dict[str, Network | None] = {"g_ema": self.g_ema, "g": self.g, "d": self.d}
        return {name: network for name, network in named.items() if network is not None}


def fill_generator(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Generator:
    """Return the generator of `settings` that holds exactly `tensors`, its weights and buffers by name.

    Random weights are never drawn. Raises FigmentError that lists every name or shape that is missing, left over or
    different.
    """
    with torch.device("meta"):
        network = build_generator(settings)
    return _fill(network, tensors)


def fill_discriminator(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Discriminator:
    """Return the discriminator of `settings` that holds exactly `tensors`; see `fill_generator`."""
    with torch.device("meta"):
        network = build_discriminator(settings)
    return _fill(network, tensors)


def fill(network: Network, parts: Parts) -> Network:
    """Return a network of the kind of `network` with other settings and tensors; see `fill_generator`."""
    return (fill_generator if network.KIND == "generator" else fill_discriminator)(*parts)


def _fill(network: AnyNetwork, tensors: Mapping[str, Tensor]) -> AnyNetwork:
    """Give a network without memory its tensors."""
    wanted = network.state_dict()
    wrong = [f"missing {name}" for name in sorted(wanted.keys() - tensors.keys())]
    wrong += [f"left over {name}" for name in sorted(tensors.keys() - wanted.keys())]
    wrong += [
        f"{name} is {list(tensors[name].shape)} and not {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        raise FigmentError(f"the {network.KIND} does not fit its weights: {', '.join(wrong)}")
    network.load_state_dict({name: _ready(value) for name, value in tensors.items()}, assign=True)
    return network.eval()


def _ready(value: Tensor) -> Tensor:
    """Return a tensor as networks need it: float32 instead of float16, and a copy if it is at an odd address.

    Kernels round differently there, which would change images.
    """
    if value.dtype == torch.float16:
        return value.float()
    fine = value.is_contiguous() and value.data_ptr() % 64 == 0
    return value if fine else value.clone(memory_format=torch.contiguous_format)


def save(
    path: Path,
    model: Model,
    half: bool = False,  # True: store weights as float16, in half the space and rounded to 11 significant bits
    **notes: Any,  # more entries for the configuration, such as kimg=2500, data={...}, licence="..."
) -> None:
    """Write `model` to `path`, whole or not at all. Unless `half`, loading it gives the same networks bit for bit.

    Raises FigmentError for a model without networks, and for values too large for float16.
    """
    networks = model.networks()
    if not networks:
        raise FigmentError(f"{path}: a model file needs at least one network")
    config = {**model.config, **notes}
    for network in networks.values():
        config[network.KIND] = network.settings()

    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    if half:
        tensors = {name: _halved(name, value) for name, value in tensors.items()}
    record = {"format": FORMAT, "origin": model.origin, "config": config}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(record)})


def _halved(name: str, value: Tensor) -> Tensor:
    """Return a float32 tensor as float16, and any other as it is. Raises FigmentError if a value gets infinite."""
    if value.dtype != torch.float32:
        return value
    half = value.half()
    if not torch.equal(half.isfinite(), value.isfinite()):
        raise FigmentError(f"{name}: holds values above {torch.finfo(torch.float16).max}, too large for float16")
    return half


def read_record(path: Path) -> dict[str, Any]:
    """Return what the model file at `path` says about itself: format, origin, config. Reads no weights.

    Raises FigmentError for a damaged file, another program's file, or a newer format.
    """
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


def load_model_file(path: Path) -> Model:
    """Return the model in figment's own file at `path`, on the CPU; the averaged generator's weights are frozen."""
    record = read_record(path)
    config = record["config"]
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    strangers = sorted(name for name in tensors if name.partition(".")[0] not in ("g_ema", "g", "d"))
    if strangers:
        raise FigmentError(f"{path}: left over in the model file: {', '.join(strangers)}")

    def settings_and_tensors(name: str, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        part = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}
        if part and not isinstance(config.get(kind), dict):
            raise FigmentError(f"{path}: holds {name} but not the configuration of its {kind}")
        return (config[kind], part) if part else None

    networks: dict[str, Any] = {}
    for name, kind in (("g_ema", "generator"), ("g", "generator"), ("d", "discriminator")):
        found = settings_and_tensors(name, kind)
        if found is None:
            continue
        if kind == "discriminator" and is_outdated(found[0]):
            say(f"{path}: its projected discriminator is of an older version and left out")
            continue
        try:
            networks[name] = (fill_generator if kind == "generator" else fill_discriminator)(*found)
        except FigmentError as error:
            raise FigmentError(f"{path}: {name}: {error}") from None
    model = Model(**networks, config=config, origin=record["origin"])
    if model.g_ema is not None:
        model.g_ema.requires_grad_(False)
    return model


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
