"""Any model by its path: figment's own file, a run's folder, or another program's checkpoint.

model = load("network-snapshot-007000.pkl")
images = model.generator(z, truncation_psi=0.7)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from figment.base.errors import FigmentError
from figment.base.files import is_folder, keep_input, need_file
from figment.legacy import content, formats, nvidia, rosinality2
from figment.nets.adapt import adapt
from figment.nets.checkpoint import Model, load_model_file, save
from figment.nets.surgery import name_colors

TARGETS = {"figment": (".safetensors",), "rosinality": (".pt", ".pth"), "nvidia": (".pkl",)}
"""Forms that `convert` writes."""


def load(
    path: str | Path,
    flag: str | None = None,  # option that messages name; None names only the path
) -> Model:
    """Return the model in `path`: a model file, a run's folder, or any foreign checkpoint that figment reads.

    Networks are on the CPU. Nothing in a foreign file is ever executed. Raises FigmentError, in one line, for anything
    else.
    """
    path = Path(path)
    if is_folder(path):
        inside = path / "model.safetensors"
        if not inside.is_file() and any((folder / "data.pkl").is_file() for folder in (path, *path.glob("*/"))):
            raise FigmentError(f"{path}: {content.UNPACKED}")
        if not inside.is_file():
            start = f"{flag} " if flag else ""
            raise FigmentError(f"{start}{path}: a folder without model.safetensors, so not (yet) a run to load from")
        path = inside
    need_file(path, flag or "MODEL")
    try:
        return load_model_file(path) if content.is_safetensors(path) else formats.load(path)
    except FigmentError as error:
        if flag is None:
            raise
        raise FigmentError(f"{flag} {error}") from None


def convert(
    source: Path,  # any checkpoint, model file or run
    out: Path,
    to: str | None = None,  # one of TARGETS; None means figment
    *,
    resolution: int | None = None,  # grow or cut blocks to this; None leaves them
    channels: int | None = None,  # change the colors to these; None leaves them
    labels: bool = True,  # False drops them
) -> tuple[Model, list[str]]:
    """Write the model in `source` to `out` in another form; return the model and one line for each change."""
    if to is not None and to not in TARGETS:
        raise FigmentError(f"--to {to}: must be one of {', '.join(TARGETS)}")
    to = to or "figment"
    if to != "rosinality" and out.suffix not in TARGETS[to]:
        raise FigmentError(f"-o {out}: must end in {TARGETS[to][0]}")
    keep_input(source, "FILE", out)
    model, done = adapt(load(source), resolution=resolution, channels=channels, labels=labels)
    if to == "rosinality":
        rosinality2.write(out, model)
    elif to == "nvidia":
        done = [*done, *nvidia.write(out, model)]
    else:
        save(out, model)
    return model, done


def describe(path: Path) -> list[tuple[str, str]]:
    """Return what a checkpoint is, as rows of a name and a value: for `figment info FILE`."""
    model = load(path)
    network = next(iter(model.networks().values()))
    rows = [("file", str(path)), ("origin", model.origin), ("family", network.family.name)]

    # The images it draws, and what the generator is made of.
    height, width = network.size
    rows.append(("pictures", f"{width}x{height} {name_colors(network.channels)}"))
    generator = model.g_ema if model.g_ema is not None else model.g
    if generator is not None:
        rows.append(("layers", f"{generator.num_layers} of style, {generator.map_depth} of mapping"))
        rows.append(("latents", f"z {generator.z_dim}, w {generator.w_dim}"))
    rows.append(("labels", str(network.c_dim or "none")))
    rows.append(("feature maps", ", ".join(str(width) for width in network.widths)))
    if network.lod:
        rows.append(("lod", f"{network.lod:g}: trained up to {int(max(network.size) / 2**network.lod)} px so far"))
    names = {"g_ema": "generator, running mean", "g": "generator", "d": "discriminator"}
    for name, part in model.networks().items():
        rows.append((name, f"{names[name]}, {parameters(part):,} parameters"))

    # Other notes in the file.
    for key, value in model.config.items():
        if key not in ("generator", "discriminator", "source") and value not in (None, [], {}):
            rows.append((key, _short(value)))
    return rows


def parameters(network: nn.Module) -> int:
    """Return how many numbers the network's parameters hold."""
    return sum(parameter.numel() for parameter in network.parameters())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())[:400]
    return (", ".join(str(item) for item in value) if isinstance(value, list) else str(value))[:400]
