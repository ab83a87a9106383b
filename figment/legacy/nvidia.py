"""Writer of snapshots for NVIDIA's PyTorch programs: stylegan2-ada-pytorch, the stylegan3 repository, DragGAN.

Such a pickle holds the source of its classes beside their state, and those programs run that source. Here it is
`portable.py`, whose networks have the names that those programs expect.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.legacy import portable
from figment.nets.base import Network, typed
from figment.nets.checkpoint import Model
from figment.nets.layers import block_channels, block_sizes
from figment.nets.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from figment.nets.stylegan3 import Layer, StyleGAN3Generator, layer_widths, signals

SOURCE = Path(portable.__file__).read_text()
"""Source of the classes, which every written module carries; a pickle stores it once."""
VERSION = 6
"""Version of the format, checked by `torch_utils.persistence`."""
PLAIN = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
"""Attributes of a torch module that are written, beside those of its class."""
HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")
"""Attributes of a torch module that all versions of torch want to see, empty."""
MAGNITUDE_BETA = 0.5 ** (32 / 20_000)
"""How StyleGAN3's magnitudes move if a program goes on training, for batches of 32."""

ARGUMENTS = "_init_kwargs"
"""Attribute that holds the arguments a module was made with."""


def write(path: Path, model: Model) -> list[str]:
    """Write `model` as a snapshot and return a line for each thing that it lacks.

    Raises FigmentError for a network that these programs have no equivalent for.
    """
    found = model.networks()
    d = found.pop("d", None)
    if not found:
        raise FigmentError(f"{path}: a snapshot needs a generator")
    lines = []
    if d is None:
        lines.append("no discriminator: a program that trains on from this file starts with a new one")
    elif d.settings().get("kind", "family") != "family":
        lines.append("the projected discriminator is left out: those programs have no such network")
        d = None
    wrong = _differences([*found.values(), *([d] if d is not None else [])])
    if wrong:
        raise FigmentError(f"{path}: those programs do not support a network with {', '.join(wrong)}")

    written = {name: Persistent(_generator(network)) for name, network in found.items()}
    content = {
        "G": written.get("g", written.get("g_ema")),
        "D": Persistent(portable.NoDiscriminator() if d is None else _discriminator(d)),
        "G_ema": written.get("g_ema", written.get("g")),
        "training_set_kwargs": None,
        "augment_pipe": None,
    }
    data = dumps(content)
    with atomic(path) as temporary:
        Path(temporary).write_bytes(data)
    return lines


def _differences(networks: Sequence[Network]) -> list[str]:
    """Return the settings that those programs do not support, as `name=value`."""
    wrong: dict[str, None] = {}
    for network in networks:
        config = network.settings()
        if not isinstance(network, StyleGAN2Generator | StyleGAN2Discriminator | StyleGAN3Generator):
            return [f"family={config['family']}"]
        labelled = bool(config["c_dim"])
        for name, value, matters in (
            ("map_norm", "each", labelled),
            ("normalize_z", True, True),
            ("label", "project", labelled),
        ):
            if matters and config.get(name, value) != value:
                wrong[f"{name}={config[name]}"] = None
    return list(wrong)


# --------------------------------------------------------------------------- networks


def _generator(network: Network) -> nn.Module:
    """Return a generator as the class of those programs."""
    config = network.settings()
    shared = {name: config[name] for name in ("z_dim", "c_dim", "w_dim")}
    shared |= {"img_resolution": config["resolution"], "img_channels": config["channels"]}
    mapping = {"num_layers": config["map_depth"], "lr_multiplier": config["map_lr_mul"]}
    if isinstance(network, StyleGAN3Generator):
        synthesis, arguments = _alias_free(network)
    else:
        widths, clamp = network.widths, config["clamp"]
        synthesis = portable.SynthesisNetwork(
            config["w_dim"], config["resolution"], config["channels"], widths, config["start"], clamp
        )
        arguments = _width_arguments(config, widths) | {"num_fp16_res": 0, "conv_clamp": clamp}
    made = portable.Generator(**shared, mapping_kwargs=mapping, synthesis=synthesis)
    return _filled(made, network, shared | {"mapping_kwargs": mapping} | arguments)


def _discriminator(network: Network) -> nn.Module:
    """Return a discriminator as the class of those programs."""
    config = network.settings()
    mapping = {"num_layers": config["map_depth"], "lr_multiplier": config["map_lr_mul"]}
    group, count = config["mbstd_group"] or None, config["mbstd_channels"]
    shared = {"c_dim": config["c_dim"], "img_resolution": config["resolution"], "img_channels": config["channels"]}
    start = block_sizes(config["resolution"], config["start"])[0]
    made = portable.Discriminator(
        **shared,
        widths=network.widths,
        start=start,
        mapping_kwargs=mapping,
        mbstd=(group, count),
        conv_clamp=config["clamp"],
    )
    arguments = shared | _width_arguments(config, network.widths)
    arguments |= {"num_fp16_res": 0, "conv_clamp": config["clamp"], "mapping_kwargs": mapping}
    arguments["epilogue_kwargs"] = {"mbstd_group_size": group, "mbstd_num_channels": count}
    return _filled(made, network, arguments)


def _width_arguments(config: Mapping[str, Any], widths: Sequence[int]) -> dict[str, Any]:
    """Return the arguments that give a network of StyleGAN2 these widths; `widths` itself if no rule does."""
    base, most = (config["channel_base"], config["channel_max"]) if config["widths"] is None else (0, max(widths))
    base = base or widths[-1] * (4 << (len(widths) - 1))
    fits = block_channels(len(widths), base, most) == list(widths)
    return {"channel_base": base, "channel_max": most} if fits else {"widths": list(widths)}


def _alias_free(network: StyleGAN3Generator) -> tuple[nn.Module, dict[str, Any]]:
    """Return StyleGAN3's synthesis network as the class of those programs, and the arguments that make one there."""
    config, plan, widths = network.config, signals(network.config), network.widths
    layers, layers_of = [], typed(network.layers, Layer)
    for k, after in enumerate(plan):
        before, last = plan[max(k - 1, 0)], k == config.layers
        ours = None if last else layers_of[k]
        up, down, padding = (1, 1, (0, 0)) if ours is None else (ours.up, ours.down, ours.padding)
        filters = (None, None) if ours is None else (ours.up_filter, ours.down_filter)
        settings = {
            "is_torgb": last,
            "is_critically_sampled": k >= config.layers - config.critical,
            "use_fp16": False,
            "in_size": [before.size] * 2,
            "out_size": [after.size] * 2,
            "in_sampling_rate": before.rate,
            "out_sampling_rate": after.rate,
            "tmp_sampling_rate": max(before.rate, after.rate) * (1 if last else config.oversampling),
            "in_cutoff": before.cutoff,
            "out_cutoff": after.cutoff,
            "in_half_width": before.half_width,
            "out_half_width": after.half_width,
            "conv_kernel": 1 if last else config.kernel,
            "conv_clamp": config.clamp,
            "magnitude_ema_beta": MAGNITUDE_BETA,
            "up_factor": up,
            "up_taps": up * config.filter_size if ours else 1,
            "down_factor": down,
            "down_taps": down * config.filter_size if ours else 1,
            "down_radial": ours is not None and ours.down_filter.ndim == 2,
            "padding": [*padding, *padding],
        }
        outputs = config.channels if last else widths[k + 1]
        layers.append(portable.AliasFreeLayer(widths[k], outputs, config.w_dim, *filters, **settings))
    first = plan[0]
    synthesis = portable.AliasFreeSynthesis(
        config.w_dim,
        config.resolution,
        config.channels,
        config.critical,
        config.margin,
        config.output_scale,
        portable.AliasFreeInput(config.w_dim, widths[0], first.size, first.rate, first.cutoff),
        layers,
    )
    arguments: dict[str, Any] = {
        "magnitude_ema_beta": MAGNITUDE_BETA,
        "conv_kernel": config.kernel,
        "use_radial_filters": config.radial,
        "num_layers": config.layers,
        "num_critical": config.critical,
        "first_cutoff": config.first_cutoff,
        "first_stopband": config.first_stopband,
        "last_stopband_rel": config.last_stopband,
        "margin_size": config.margin,
        "filter_size": config.filter_size,
        "lrelu_upsampling": config.oversampling,
        "output_scale": config.output_scale,
        "num_fp16_res": 0,
        "conv_clamp": config.clamp,
    }
    if layer_widths(dataclasses.replace(config, widths=None)) == widths:
        factor = 2 if config.kernel == 1 else 1
        arguments |= {"channel_base": factor * config.channel_base, "channel_max": factor * config.channel_max}
    else:
        arguments["widths"] = widths
    setattr(synthesis, ARGUMENTS, arguments)
    return synthesis, arguments


def _filled(
    made: nn.Module,  # of `portable`
    network: Network,  # of figment
    arguments: dict[str, Any],  # those that make such a network in NVIDIA's programs
) -> nn.Module:
    """Return `made` with the weights of `network`."""
    setattr(made, ARGUMENTS, arguments)
    ours = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    blocks, wide = len(network.widths), isinstance(network, StyleGAN3Generator)
    last = network.config.layers if isinstance(network, StyleGAN3Generator) else blocks - 1
    tensors: dict[str, Tensor] = {}
    for name in made.state_dict():
        if name.endswith(".resample_filter"):
            continue
        tensors[name] = ours.pop(_our_name(name, network.KIND, last, wide))
    missing, left = made.load_state_dict(tensors, strict=False, assign=True)
    if ours or left or not all(name.endswith(".resample_filter") for name in missing):
        raise FigmentError(f"this {network.family.name} {network.KIND} has no equivalent in those programs")
    return made.eval().requires_grad_(False)


def _our_name(name: str, kind: str, last: int, alias_free: bool) -> str:
    """Return the name of a weight in figment, from its name in those programs."""
    name = re.sub(r"^mapping\.w_avg$", "w_avg", name)
    name = re.sub(r"^mapping\.fc(\d+)\.", r"mapper.layers.\1.", name)
    name = re.sub(r"^mapping\.", "mapper.", name)
    if alias_free:
        name = name.removeprefix("synthesis.").replace("magnitude_ema", "magnitude")
        number = re.match(r"L(\d+)_", name)
        layer = "" if number is None else "rgb." if int(number[1]) == last else f"layers.{number[1]}."
        return re.sub(r"^L\d+_\d+_\d+\.", layer, name)
    if kind == "discriminator":
        name = re.sub(r"^b4\.(conv|out)\.", r"\1.", name)
        name = re.sub(r"^b4\.fc\.", "dense.", name)
        name = re.sub(r"^b\d+\.fromrgb\.", "from_rgb.", name)
        return re.sub(r"^b(\d+)\.", lambda m: f"blocks.{int(m[1]).bit_length() - 4}.", name)
    name = name.replace("synthesis.b4.const", "const").replace(".torgb.", ".rgb.").replace(".noise_const", ".noise")
    return re.sub(r"^synthesis\.b(\d+)\.", lambda m: f"blocks.{int(m[1]).bit_length() - 3}.", name)


# --------------------------------------------------------------------------- pickles


class Persistent:
    """A module that is pickled with the source of its class, as `torch_utils.persistence` does."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = vars(self.module)
        state = {name: value for name, value in attributes.items() if name in PLAIN or not name.startswith("_")}
        state["_modules"] = {
            name: None if child is None else Persistent(child) for name, child in attributes["_modules"].items()
        }
        state |= {name: OrderedDict() for name in HOOKS}
        state |= {"_is_full_backward_hook": None, "_init_args": (), ARGUMENTS: attributes.get(ARGUMENTS, {})}
        meta = {"type": "class", "version": VERSION, "module_src": SOURCE, "state": state}
        return reconstruct, ({**meta, "class_name": type(self.module).__name__},)


def reconstruct(meta: dict[str, Any]) -> None:
    """Stand in a pickle for `torch_utils.persistence._reconstruct_persistent_obj`, which `dumps` puts in its place."""
    raise NotImplementedError


def dumps(content: Mapping[str, Any]) -> bytes:
    """Pickle a snapshot whose networks are `Persistent`."""
    buffer = io.BytesIO()
    pickle.dump(dict(content), buffer, protocol=3)  # the last protocol that names functions in plain lines
    ours = f"c{__name__}\n{reconstruct.__name__}\n".encode()
    data = buffer.getvalue()
    if data.count(ours) != 1:
        raise FigmentError("the snapshot can't be written: its weights contain the name of a function")
    return data.replace(ours, b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n")
