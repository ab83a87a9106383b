"""NVIDIA's TensorFlow pickles `(G, D, Gs)` of ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA, read without TensorFlow.

Karras et al. 2017 (arXiv 1710.10196), 2018 (arXiv 1812.04948), 2019 (arXiv 1912.04958) and 2020 (arXiv 2006.06676).
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.pickle_vm import Record
from figment.legacy.variables import Variables, last_block_size, listed
from figment.nets.checkpoint import Model, fill_discriminator, fill_generator

FUSED_FROM = 128
"""Resolution from which StyleGAN fuses upsampling and convolution by default (`fused_scale="auto"`)."""
KERNEL = (3, 2, 0, 1)
"""Axes that turn TensorFlow's [h, w, in, out] into [out, in, h, w]."""
DENSE = (1, 0)
"""Axes that turn TensorFlow's [in, out] into [out, in]."""
GENERATORS = {"G_style": "stylegan1", "G_paper": "progan", "G_main": "stylegan2"}
DISCRIMINATORS = {"D_basic": "stylegan1", "D_paper": "progan", "D_stylegan2": "stylegan2", "D_main": "stylegan2"}
ADA = "D_main"
"""The discriminator of StyleGAN2-ADA; its generator is called G_main like StyleGAN2's."""
Size = tuple[int, int] | None
"""Height and width of a generator's first block; None without a generator."""
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
    families, functions = set(), set()
    for position, network in enumerate(networks):
        function = network.state.get("build_func_name")
        settings = network.state.get("static_kwargs")
        if not isinstance(function, str) or not isinstance(settings, dict):
            raise FigmentError(f"{where}: a network without build_func_name and static_kwargs")
        settings = {**_default_settings(network), **_component_settings(network), **settings}
        _check_settings(settings, f"{where}: {function[:40]!a}", GENERATORS.get(function))
        variables = Variables(_all_variables(network), f"{where}: {function[:40]}")
        name = "d" if function in DISCRIMINATORS else "g" if position == 0 and len(networks) > 1 else "g_ema"
        if getattr(model, name) is not None:
            raise FigmentError(f"{where}: more than one network for {name}")
        if function in GENERATORS:
            family = GENERATORS[function]
            config, tensors = READERS[family][0](variables, settings)
            variables.done()
            generator = fill_generator({"family": family, **config}, tensors)
            _check_size(settings, generator.size, variables.where)
            setattr(model, name, generator)
        elif function in DISCRIMINATORS:
            family = DISCRIMINATORS[function]
            start = next((g.settings()["start"] for g in (model.g, model.g_ema) if g is not None), None)
            config, tensors = READERS[family][1](variables, settings, start)
            variables.done()
            model.d = fill_discriminator({"family": family, **config}, tensors)
            _check_size(settings, model.d.size, variables.where)
        else:
            known = ", ".join([*GENERATORS, *DISCRIMINATORS])
            raise FigmentError(f"{where}: built by {function[:40]!a}; figment can read {known}")
        families.add(family)
        functions.add(function)
    if len(families) != 1:
        raise FigmentError(f"{where}: networks of several families: {', '.join(sorted(families))}")
    model.origin = {"stylegan1": "NVlabs/stylegan", "stylegan2": "NVlabs/stylegan2"}.get(
        families.pop(), "tkarras/progressive_growing_of_gans"
    )
    if ADA in functions or any(network.state.get("version") == 5 for network in networks):
        model.origin = "NVlabs/stylegan2-ada"
    return model


DEFAULTS = ("normalize_latents", "mapping_lrmul", "mbstd_group_size", "conv_clamp")
"""Settings that forks changed in the program's text: a pickle carries that text, and figment looks it up there."""


def _default_settings(network: Record) -> dict[str, Any]:
    """Return the defaults of `DEFAULTS` in the source text that a network carries. The text is never run.

    TADNE is of such a fork: its static_kwargs don't name what its author changed.
    """
    found: dict[str, Any] = {}
    for part in (*_components(network), network):
        source, function = part.state.get("build_module_src"), part.state.get("build_func_name")
        if not isinstance(source, str) or not isinstance(function, str):
            continue
        start = source.find(f"def {function}(")
        if start < 0:
            continue
        end = source.find("\ndef ", start)
        text = re.sub(r"#.*", "", source[start : min(end if end > 0 else start + 20000, start + 20000)])
        for name in DEFAULTS:
            default = re.search(rf"[(,\s]{name}\s*=\s*(True|False|None|\d{{1,9}}(?:\.\d{{1,9}})?)\s*[,)]", text)
            if default:
                value = default[1]
                found[name] = {"True": True, "False": False, "None": None}.get(value, _number(value))
    return found


def _number(text: str) -> int | float | None:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return None


def _components(network: Record) -> list[Record]:
    components = network.state.get("components")
    parts = components.values() if isinstance(components, dict) else ()
    return [part for part in parts if isinstance(part, Record)]


def _component_settings(network: Record) -> dict[str, Any]:
    """Return the static_kwargs of the components; a network's own come before them."""
    found: dict[str, Any] = {}
    for part in _components(network):
        settings = part.state.get("static_kwargs")
        found |= settings if isinstance(settings, dict) else {}
    return found


def _check_size(settings: dict[str, Any], size: tuple[int, int], where: str) -> None:
    """Raise FigmentError if the settings name another height or width than the weights make."""
    for name, pixels in (("resolution_h", size[0]), ("resolution_w", size[1])):
        if settings.get(name, pixels) != pixels:
            raise FigmentError(
                f"{where}: {name} is {settings[name]!r}, but its weights make {size[1]}x{size[0]} pixels"
            )


def _check_settings(settings: dict[str, Any], where: str, family: str | None) -> None:
    """Raise FigmentError for settings of a generator of `family` (None: a discriminator) that figment lacks."""
    supported = SUPPORTED | ({"normalize_latents": (True, False)} if family == "stylegan2" else {})
    wrong = [
        f"{name}={value!r}"
        for name, value in settings.items()
        if name in supported and value not in supported[str(name)]
    ]
    for name in ("mapping_lrmul", "conv_clamp"):
        value = settings.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            wrong.append(f"{name}={value!r}")
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
    c_dim, z_dim = 0, tensors["mapper.layers.0.weight"].shape[1]
    if f"{prefix}LabelConcat/weight" in v:
        tensors["mapper.embed_weight"] = v.take(f"{prefix}LabelConcat/weight")
        c_dim, z_dim = v.shape(f"{prefix}LabelConcat/weight", 2)
    elif f"{prefix}LabelEmbed/weight" in v:
        tensors |= _label_embedding(v, prefix)
        embedded, c_dim = tensors["mapper.embed.weight"].shape
        z_dim -= embedded
    widths = [tensors[f"mapper.layers.{k}.weight"].shape[0] for k in range(depth)]
    config = {"z_dim": z_dim, "c_dim": c_dim, "w_dim": widths[-1], "map_depth": depth}
    if widths[0] != widths[-1]:
        config["map_hidden"] = widths[0]
    return config, tensors


def _label_embedding(v: Variables, prefix: str) -> dict[str, Tensor]:
    """Read the layer that embeds labels, as StyleGAN2-ADA has it: with a bias."""
    weight = v.take(f"{prefix}LabelEmbed/weight", DENSE)
    return {"mapper.embed.weight": weight, "mapper.embed.bias": v.take(f"{prefix}LabelEmbed/bias")}


def _map_lr_mul(settings: dict[str, Any], usual: float) -> float:
    """Return the learning rate multiplier of the mapping layers, which also scales their weights."""
    value = settings.get("mapping_lrmul")
    return usual if value is None else float(value)


def _clamp(settings: dict[str, Any]) -> float | None:
    """Return the limit of the absolute activations, which StyleGAN2-ADA has where it trains in float16."""
    clamp = settings.get("conv_clamp")
    return None if clamp is None else float(clamp)


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
        "map_lr_mul": _map_lr_mul(settings, 0.01),
    }
    return config, tensors


def _synthesis_resolutions(v: Variables) -> list[int]:
    """Return the block resolutions of the synthesis network, from 4 up."""
    prefix = "synthesis/"
    inside = {name.removeprefix(prefix): 0 for name in v.values if name.startswith(prefix)}
    return _resolutions(Variables(inside, f"{v.where}: synthesis"), "Conv1/weight")


def _growing_discriminator(v: Variables, settings: dict[str, Any], start: Size) -> tuple[Any, dict[str, Tensor]]:
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
    """Return the group size of the minibatch stddev layer: 0 for the whole batch (None in the original)."""
    group = settings.get("mbstd_group_size", 4)
    if group is None:
        return 0
    return group if isinstance(group, int) and 1 <= group <= 4096 else 4


def _last_block(v: Variables, output: str, name: str = "4x4") -> dict[str, Tensor]:
    """Read the last block of a discriminator, called `name`. `output` is the prefix of its last layer."""
    return {
        "conv.weight": v.take(f"{name}/Conv/weight", KERNEL),
        "conv.bias": v.take(f"{name}/Conv/bias"),
        "dense.weight": v.take(f"{name}/Dense0/weight", DENSE),
        "dense.bias": v.take(f"{name}/Dense0/bias"),
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
    blocks = _block_names(v, "synthesis/", "Const/const", "Conv1/weight")
    const = v.rank_one(f"synthesis/{blocks[0]}/Const/const", 4)  # [C, h, w]
    start = (const.shape[1], const.shape[2])
    widths = []
    for k, block in enumerate(blocks):
        names = (("Conv0_up", "conv0"), ("Conv1", "conv1")) if k else (("Conv", "conv1"),)
        for name, to in names:
            # The original rotates the kernel of an upsampling layer before its transposed convolution.
            path, target = f"synthesis/{block}/{name}/", f"blocks.{k}.{to}."
            tensors[target + "weight"] = v.take(path + "weight", KERNEL, rotate=name == "Conv0_up")
            tensors[target + "affine.weight"] = v.take(path + "mod_weight", DENSE)
            tensors[target + "affine.bias"] = v.take(path + "mod_bias") + 1
            tensors[target + "noise_strength"] = v.take(path + "noise_strength", shape=())
            tensors[target + "bias"] = v.take(path + "bias")
            number = 2 * k - (to == "conv0")
            tensors[target + "noise"] = v.rank_one(f"synthesis/noise{number}", 4)[0]
        path, target = f"synthesis/{block}/ToRGB/", f"blocks.{k}.rgb."
        tensors[target + "weight"] = v.take(path + "weight", KERNEL)
        tensors[target + "affine.weight"] = v.take(path + "mod_weight", DENSE)
        tensors[target + "affine.bias"] = v.take(path + "mod_bias") + 1
        tensors[target + "bias"] = v.take(path + "bias")
        widths.append(len(tensors[f"blocks.{k}.conv1.bias"]))
    tensors["const"] = const
    tensors["w_avg"] = v.take("dlatent_avg")
    v.skip(["lod", "synthesis/lod"])
    if config.pop("map_hidden", config["w_dim"]) != config["w_dim"]:
        raise FigmentError(f"{v.where}: mapping layers have different widths")
    config |= {
        "start": start,
        "resolution": max(start) << (len(blocks) - 1),
        "channels": len(tensors["blocks.0.rgb.bias"]),
        "widths": widths,
        "map_norm": "each" if "mapper.embed.weight" in tensors else "joint",
        "map_lr_mul": _map_lr_mul(settings, 0.01),
        "normalize_z": settings.get("normalize_latents", True),
        "clamp": _clamp(settings),
    }
    return config, tensors


def _block_names(v: Variables, prefix: str, first: str, others: str) -> list[str]:
    """Return the names of the blocks, `4x4`, `8x8` ... as a rule, smallest first.

    `first` ends a variable's name in the first block alone, `others` in all the others. Each block must be twice the
    size of the one before. Pictures that aren't square may or may not show in the names.
    """
    sizes = {
        end: sorted(
            (int(m[1]), int(m[2]))
            for name in v.values
            if (m := re.fullmatch(rf"{re.escape(prefix)}(\d{{1,5}})x(\d{{1,5}})/{end}", name))
        )
        for end in (first, others)
    }
    found = sizes[first] + sizes[others]
    if len(sizes[first]) != 1 or found != [(found[0][0] << k, found[0][1] << k) for k in range(len(found))]:
        shown = ", ".join(f"{a}x{b}" for a, b in found[:20]) or "none"
        raise FigmentError(f"{v.where}: blocks are {shown}, expected 4x4, 8x8, 16x16 ...")
    return [f"{a}x{b}" for a, b in found]


def _stylegan2_discriminator(v: Variables, settings: dict[str, Any], start: Size) -> tuple[Any, dict[str, Tensor]]:
    names = _block_names(v, "", "Conv/weight", "Conv0/weight")
    tensors = {
        "from_rgb.weight": v.take(f"{names[-1]}/FromRGB/weight", KERNEL),
        "from_rgb.bias": v.take(f"{names[-1]}/FromRGB/bias"),
    }
    for k, block in enumerate(names[1:]):
        for name, to in (("Conv0", "conv0"), ("Conv1_down", "conv1")):
            tensors[f"blocks.{k}.{to}.weight"] = v.take(f"{block}/{name}/weight", KERNEL)
            tensors[f"blocks.{k}.{to}.bias"] = v.take(f"{block}/{name}/bias")
        tensors[f"blocks.{k}.skip.weight"] = v.take(f"{block}/Skip/weight", KERNEL)
    tensors |= _last_block(v, "Output/", names[0])
    first = len(tensors["conv.bias"])
    start = last_block_size(tensors["dense.weight"], first, start, v.where)
    config = {
        "c_dim": int(settings.get("label_size", 0)),
        "start": start,
        "resolution": max(start) << (len(names) - 1),
        "channels": tensors["from_rgb.weight"].shape[1],
        "widths": [first, *(len(tensors[f"blocks.{k}.conv0.bias"]) for k in range(len(names) - 1))],
        "mbstd_group": _group(settings),
        "mbstd_channels": tensors["conv.weight"].shape[1] - first,
        "label": "select",
        "clamp": _clamp(settings),
    }

    # StyleGAN2-ADA maps the label and projects on it; StyleGAN2 has one output per label.
    if "LabelEmbed/weight" in v:
        tensors |= _label_embedding(v, "")
        depth = 0
        while f"Mapping{depth}/weight" in v:
            tensors[f"mapper.layers.{depth}.weight"] = v.take(f"Mapping{depth}/weight", DENSE)
            tensors[f"mapper.layers.{depth}.bias"] = v.take(f"Mapping{depth}/bias")
            depth += 1
        config |= {"c_dim": tensors["mapper.embed.weight"].shape[1], "label": "project", "map_depth": depth}
        config["map_lr_mul"] = _map_lr_mul(settings, 0.1)
    return config, tensors


READERS = {
    "stylegan1": (_stylegan1_generator, _growing_discriminator),
    "progan": (_progan_generator, _growing_discriminator),
    "stylegan2": (_stylegan2_generator, _stylegan2_discriminator),
}
"""Readers of the generator and the discriminator of each family."""
