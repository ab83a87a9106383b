"""NVIDIA's TensorFlow pickles `(G, D, Gs)` of ProGAN, StyleGAN and StyleGAN2, read without TensorFlow.

Karras et al. 2017 (arXiv 1710.10196), 2018 (arXiv 1812.04948) and 2019 (arXiv 1912.04958).
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.pickle_vm import Record
from figment.legacy.variables import Variables, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

FUSED_FROM = 128
"""Resolution from which StyleGAN fuses upsampling and convolution by default (`fused_scale="auto"`)."""
KERNEL = (3, 2, 0, 1)
"""Axes that turn TensorFlow's [h, w, in, out] into [out, in, h, w]."""
DENSE = (1, 0)
"""Axes that turn TensorFlow's [in, out] into [out, in]."""
GENERATORS = {"G_style": "stylegan1", "G_paper": "progan", "G_main": "stylegan2"}
DISCRIMINATORS = {"D_basic": "stylegan1", "D_paper": "progan", "D_stylegan2": "stylegan2"}
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "use_wscale": (True,),
    "use_pixel_norm": (False,),
    "use_instance_norm": (True,),
    "use_styles": (True,),
    "use_noise": (True,),
    "const_input_layer": (True,),
    "normalize_latents": (True,),
    "use_pixelnorm": (True,),
    "pixelnorm_epsilon": (1e-8,),
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "use_leakyrelu": (True,),
    "act": ("lrelu",),
    "blur_filter": ((1, 2, 1), [1, 2, 1]),
    "resample_kernel": ((1, 3, 3, 1), [1, 3, 3, 1]),
    "architecture": ("skip", "resnet"),
    "fmap_decay": (1.0, 1),
    "dtype": ("float32",),
}
"""Settings and the values that figment implements. Any other value is rejected."""


def read(value: Any, where: str) -> Model:
    """Return the model in a tuple of networks. `where` names the file in messages.

    Raises FigmentError for left-over variables and for variants that figment does not implement.
    """
    # The function that built a network says what it is.
    networks = [part for part in value if isinstance(part, Record) and part.kind == "Network"]
    if len(networks) != len(value):
        raise FigmentError(f"{where}: must contain networks only")
    model = Model(origin="")
    families = set()
    for position, network in enumerate(networks):
        function = network.state.get("build_func_name")
        settings = network.state.get("static_kwargs")
        if not isinstance(function, str) or not isinstance(settings, dict):
            raise FigmentError(f"{where}: a network without build_func_name and static_kwargs")
        _check_settings(settings, f"{where}: {function[:40]!a}")
        variables = Variables(_all_variables(network), f"{where}: {function[:40]}")
        name = "d" if function in DISCRIMINATORS else "g" if position == 0 and len(networks) > 1 else "g_ema"
        if getattr(model, name) is not None:
            raise FigmentError(f"{where}: more than one network for {name}")
        if function in GENERATORS:
            family = GENERATORS[function]
            config, tensors = READERS[family][0](variables, settings)
            variables.done()
            setattr(model, name, fill_generator({"family": family, **config}, tensors))
        elif function in DISCRIMINATORS:
            family = DISCRIMINATORS[function]
            config, tensors = READERS[family][1](variables, settings)
            variables.done()
            model.d = fill_discriminator({"family": family, **config}, tensors)
        else:
            known = ", ".join([*GENERATORS, *DISCRIMINATORS])
            raise FigmentError(f"{where}: built by {function[:40]!a}; figment can read {known}")
        families.add(family)
    if len(families) != 1:
        raise FigmentError(f"{where}: networks of several families: {', '.join(sorted(families))}")
    model.origin = {"stylegan1": "NVlabs/stylegan", "stylegan2": "NVlabs/stylegan2"}.get(
        families.pop(), "tkarras/progressive_growing_of_gans"
    )
    return model


def _check_settings(settings: dict[str, Any], where: str) -> None:
    wrong = [
        f"{name}={value!r}"
        for name, value in settings.items()
        if name in SUPPORTED and value not in SUPPORTED[str(name)]
    ]
    if wrong:
        raise FigmentError(f"{where}: a variant that figment does not implement: {listed(wrong)}")


def _all_variables(network: Record, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return the variables of a network and, with their names as prefixes, of its components."""
    pairs, components = network.state.get("variables"), network.state.get("components", {})
    if not isinstance(pairs, list) or not isinstance(components, dict) or depth > 2:
        raise FigmentError("a network whose variables are not a list")
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise FigmentError("a network with unnamed variables")
        found[prefix + pair[0]] = pair[1]
    for name, part in components.items():
        if not isinstance(part, Record) or part.kind != "Network" or not isinstance(name, str):
            raise FigmentError("a network with invalid components")
        found.update(_all_variables(part, f"{prefix}{name}/", depth + 1))
    return found


def _resolutions(variables: Variables, suffix: str) -> list[int]:
    """Return 4 and the resolutions R of the variables `RxR/` + `suffix`, which must be 8, 16, 32 ... without a gap."""
    found = sorted({int(m[1]) for name in variables.values if (m := re.fullmatch(rf"(\d{{1,5}})x\1/{suffix}", name))})
    if found != [8 << k for k in range(len(found))]:
        raise FigmentError(f"{variables.where}: block resolutions are {found}, expected 8, 16, 32 ...")
    return [4, *found]


def _is_fused(settings: dict[str, Any], resolution: int) -> bool:
    """Return whether a block fuses upsampling and convolution; its kernel is then stored rotated by 180 degrees."""
    fused = settings.get("fused_scale", "auto")
    return resolution >= FUSED_FROM if fused == "auto" else bool(fused)


def _mapping(v: Variables, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the mapping network: its settings and its tensors."""
    tensors: dict[str, Tensor] = {}
    depth = 0
    while f"{prefix}Dense{depth}/weight" in v:
        tensors[f"mapper.layers.{depth}.weight"] = v.take(f"{prefix}Dense{depth}/weight", DENSE)
        tensors[f"mapper.layers.{depth}.bias"] = v.take(f"{prefix}Dense{depth}/bias")
        depth += 1
    if not depth:
        raise FigmentError(f"{v.where}: missing {prefix}Dense0/weight")
    c_dim, inputs = 0, tensors["mapper.layers.0.weight"].shape[1]
    if f"{prefix}LabelConcat/weight" in v:
        tensors["mapper.embed_weight"] = v.take(f"{prefix}LabelConcat/weight")
        c_dim, z_dim = v.shape(f"{prefix}LabelConcat/weight", 2)
    else:
        z_dim = inputs
    widths = [tensors[f"mapper.layers.{k}.weight"].shape[0] for k in range(depth)]
    config = {"z_dim": z_dim, "c_dim": c_dim, "w_dim": widths[-1], "map_depth": depth}
    if widths[0] != widths[-1]:
        config["map_hidden"] = widths[0]
    return config, tensors


def _stylegan1_generator(v: Variables, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, tensors = _mapping(v, "mapping/")
    resolutions = _synthesis_resolutions(v)
    last = len(resolutions) - 1
    widths = []
    for k, r in enumerate(resolutions):
        names = ("Const", "Conv") if k == 0 else ("Conv0_up", "Conv1")
        for j, name in enumerate(names):
            path, to = f"synthesis/{r}x{r}/{name}/", f"blocks.{k}.layer{j}."
            if name != "Const":
                rotate = name == "Conv0_up" and _is_fused(settings, r)
                tensors[to + "conv.weight"] = v.take(path + "weight", KERNEL, rotate=rotate)
            tensors[to + "noise_weight"] = v.take(path + "Noise/weight")
            tensors[to + "bias"] = v.take(path + "bias")
            tensors[to + "style.weight"] = v.take(path + "StyleMod/weight", DENSE)
            tensors[to + "style.bias"] = v.take(path + "StyleMod/bias")
            tensors[to + "noise"] = v.take(f"synthesis/noise{2 * k + j}", shape=(r, r))
        tensors[f"blocks.{k}.rgb.weight"] = v.take(f"synthesis/ToRGB_lod{last - k}/weight", KERNEL)
        tensors[f"blocks.{k}.rgb.bias"] = v.take(f"synthesis/ToRGB_lod{last - k}/bias")
        widths.append(len(tensors[f"blocks.{k}.layer0.bias"]))
    tensors["const"] = v.take("synthesis/4x4/Const/const", shape=(widths[0], 4, 4))
    tensors["w_avg"] = v.take("dlatent_avg")
    v.skip(["lod"])
    config |= {
        "resolution": resolutions[-1],
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "lod": v.number("synthesis/lod"),
    }
    return config, tensors


def _synthesis_resolutions(v: Variables) -> list[int]:
    """Return the block resolutions of the synthesis network, from 4 up."""
    prefix = "synthesis/"
    inside = {name.removeprefix(prefix): 0 for name in v.values if name.startswith(prefix)}
    return _resolutions(Variables(inside, f"{v.where}: synthesis"), "Conv1/weight")


def _growing_discriminator(v: Variables, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    resolutions = _resolutions(v, "Conv0/weight")
    last = len(resolutions) - 1
    tensors: dict[str, Tensor] = {}
    widths = []
    for k, r in enumerate(resolutions):
        tensors[f"from_rgb.{k}.weight"] = v.take(f"FromRGB_lod{last - k}/weight", KERNEL)
        tensors[f"from_rgb.{k}.bias"] = v.take(f"FromRGB_lod{last - k}/bias")
        widths.append(len(tensors[f"from_rgb.{k}.bias"]))
        for j, name in enumerate(("Conv0", "Conv1_down") if k else ()):
            tensors[f"blocks.{k - 1}.conv{j}.weight"] = v.take(f"{r}x{r}/{name}/weight", KERNEL)
            tensors[f"blocks.{k - 1}.conv{j}.bias"] = v.take(f"{r}x{r}/{name}/bias")
    tensors |= _last_block(v, "4x4/Dense1/")
    config = {
        "c_dim": int(settings.get("label_size", 0)),
        "resolution": resolutions[-1],
        "channels": tensors["from_rgb.0.weight"].shape[1],
        "widths": widths,
        "mbstd_group": _group(settings),
        "mbstd_channels": tensors["conv.weight"].shape[1] - widths[0],
        "lod": v.number("lod"),
    }
    return config, tensors


def _group(settings: dict[str, Any]) -> int:
    """Return the group size of the minibatch stddev layer."""
    group = settings.get("mbstd_group_size", 4)
    return group if isinstance(group, int) and 1 <= group <= 4096 else 4


def _last_block(v: Variables, output: str) -> dict[str, Tensor]:
    """Read the 4x4 block of a discriminator. `output` is the prefix of its last layer."""
    return {
        "conv.weight": v.take("4x4/Conv/weight", KERNEL),
        "conv.bias": v.take("4x4/Conv/bias"),
        "dense.weight": v.take("4x4/Dense0/weight", DENSE),
        "dense.bias": v.take("4x4/Dense0/bias"),
        "out.weight": v.take(output + "weight", DENSE),
        "out.bias": v.take(output + "bias"),
    }


def _progan_generator(v: Variables, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    resolutions = _resolutions(v, "Conv1/weight")
    last = len(resolutions) - 1
    tensors = {"blocks.0.weight": v.take("4x4/Dense/weight", DENSE), "blocks.0.bias": v.take("4x4/Dense/bias")}
    widths = [len(tensors["blocks.0.bias"])]
    for k, r in enumerate(resolutions):
        # Kernels of fused layers, named Conv0_up, are stored rotated by 180 degrees.
        fused = f"{r}x{r}/Conv0_up/weight" in v
        names = (("Conv0_up" if fused else "Conv0", "conv0"), ("Conv1", "conv1")) if k else (("Conv", "conv1"),)
        for name, to in names:
            rotate = name == "Conv0_up"
            tensors[f"blocks.{k}.{to}.weight"] = v.take(f"{r}x{r}/{name}/weight", KERNEL, rotate=rotate)
            tensors[f"blocks.{k}.{to}.bias"] = v.take(f"{r}x{r}/{name}/bias")
        tensors[f"blocks.{k}.rgb.weight"] = v.take(f"ToRGB_lod{last - k}/weight", KERNEL)
        tensors[f"blocks.{k}.rgb.bias"] = v.take(f"ToRGB_lod{last - k}/bias")
        if k:
            widths.append(len(tensors[f"blocks.{k}.conv1.bias"]))
    c_dim = int(settings.get("label_size", 0))
    config = {
        "z_dim": tensors["blocks.0.weight"].shape[1] - c_dim,
        "c_dim": c_dim,
        "resolution": resolutions[-1],
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "lod": v.number("lod"),
    }
    return config, tensors


def _stylegan2_generator(v: Variables, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, tensors = _mapping(v, "mapping/")
    resolutions = _synthesis_resolutions(v)
    widths = []
    for k, r in enumerate(resolutions):
        names = (("Conv0_up", "conv0"), ("Conv1", "conv1")) if k else (("Conv", "conv1"),)
        for name, to in names:
            # The original rotates the kernel of an upsampling layer before its transposed convolution.
            path, target = f"synthesis/{r}x{r}/{name}/", f"blocks.{k}.{to}."
            tensors[target + "weight"] = v.take(path + "weight", KERNEL, rotate=name == "Conv0_up")
            tensors[target + "affine.weight"] = v.take(path + "mod_weight", DENSE)
            tensors[target + "affine.bias"] = v.take(path + "mod_bias") + 1
            tensors[target + "noise_strength"] = v.take(path + "noise_strength", shape=())
            tensors[target + "bias"] = v.take(path + "bias")
            number = 2 * k - (to == "conv0")
            tensors[target + "noise"] = v.take(f"synthesis/noise{number}", shape=(r, r))
        path, target = f"synthesis/{r}x{r}/ToRGB/", f"blocks.{k}.rgb."
        tensors[target + "weight"] = v.take(path + "weight", KERNEL)
        tensors[target + "affine.weight"] = v.take(path + "mod_weight", DENSE)
        tensors[target + "affine.bias"] = v.take(path + "mod_bias") + 1
        tensors[target + "bias"] = v.take(path + "bias")
        widths.append(len(tensors[f"blocks.{k}.conv1.bias"]))
    tensors["const"] = v.take("synthesis/4x4/Const/const", shape=(widths[0], 4, 4))
    tensors["w_avg"] = v.take("dlatent_avg")
    v.skip(["lod", "synthesis/lod"])
    if config.pop("map_hidden", config["w_dim"]) != config["w_dim"]:
        raise FigmentError(f"{v.where}: mapping layers have different widths")
    config |= {
        "resolution": resolutions[-1],
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "map_norm": "joint",
    }
    return config, tensors


def _stylegan2_discriminator(v: Variables, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    resolutions = _resolutions(v, "Conv0/weight")
    top = resolutions[-1]
    tensors = {
        "from_rgb.weight": v.take(f"{top}x{top}/FromRGB/weight", KERNEL),
        "from_rgb.bias": v.take(f"{top}x{top}/FromRGB/bias"),
    }
    for k, r in enumerate(resolutions[1:]):
        for name, to in (("Conv0", "conv0"), ("Conv1_down", "conv1")):
            tensors[f"blocks.{k}.{to}.weight"] = v.take(f"{r}x{r}/{name}/weight", KERNEL)
            tensors[f"blocks.{k}.{to}.bias"] = v.take(f"{r}x{r}/{name}/bias")
        tensors[f"blocks.{k}.skip.weight"] = v.take(f"{r}x{r}/Skip/weight", KERNEL)
    tensors |= _last_block(v, "Output/")
    first = len(tensors["conv.bias"])
    config = {
        "c_dim": int(settings.get("label_size", 0)),
        "resolution": top,
        "channels": tensors["from_rgb.weight"].shape[1],
        "widths": [first, *(len(tensors[f"blocks.{k}.conv0.bias"]) for k in range(len(resolutions) - 1))],
        "mbstd_group": _group(settings),
        "mbstd_channels": tensors["conv.weight"].shape[1] - first,
        "label": "select",
    }
    return config, tensors


READERS = {
    "stylegan1": (_stylegan1_generator, _growing_discriminator),
    "progan": (_progan_generator, _growing_discriminator),
    "stylegan2": (_stylegan2_generator, _stylegan2_discriminator),
}
"""Readers of the generator and the discriminator of each family."""
