"""Any checkpoint: which program's it is, the model in it, what it holds, and the way from one form to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from figment.base.errors import FigmentError
from figment.base.files import need_file
from figment.legacy import ada, lucidrains, rosinality1, rosinality2, tensorflow, torchfile
from figment.legacy.machine import Record
from figment.legacy.variables import listed
from figment.nets import modelfile
from figment.nets.adapt import adapt
from figment.nets.modelfile import Model

TARGETS = ("figment", "rosinality")


def load(path: str | Path) -> Model:
    """The model in a foreign checkpoint; raises FigmentError in one line for anything else. Runs no code of it."""
    path = Path(path)
    need_file(path, "model")
    try:
        model = _read(torchfile.read(path), path)
    except FigmentError as error:
        text = str(error)
        raise FigmentError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except MemoryError:
        raise FigmentError(f"{path}: needs more memory than this machine has") from None
    except Exception as error:  # a damaged file may break a reader anywhere; its user is told one line
        text = str(error).splitlines()[0][:200] if str(error) else ""
        raise FigmentError(f"{path}: a damaged checkpoint ({type(error).__name__}: {text})") from None
    if not model.networks():
        raise FigmentError(f"{path}: holds no network")
    model.config.setdefault("licence", "as its origin says; weights made by others stay under their licence")
    model.config["source"] = path.name
    if model.g_ema is not None:
        model.g_ema.requires_grad_(False)
    return model


def _read(value: Any, path: Path) -> Model:
    """The model in a file's content, by the first reader that knows it."""
    where = str(path)
    if isinstance(value, tuple | list) and value and all(isinstance(part, Record) for part in value):
        return tensorflow.read(value, where)
    if isinstance(value, Record) and value.kind == "Network":
        return tensorflow.read((value,), where)
    if rosinality1.fits(value):
        return rosinality1.read(value, where, path.name)
    if rosinality2.fits(value):
        return rosinality2.read(value, where)
    if lucidrains.fits(value):
        return lucidrains.read(value, where, path)
    if isinstance(value, dict) and any(isinstance(value.get(key), Record) for key in ada.NETWORKS):
        return ada.read(value, where)
    held = f"a dictionary of {listed([str(k) for k in value], 12)}" if isinstance(value, dict) else type(value).__name__
    raise FigmentError(f"{where}: not a checkpoint that figment knows; it holds {held}")


def convert(
    source: Path,  # any checkpoint, model file or run
    out: Path,
    to: str | None = None,  # "figment" (None means this) or "rosinality"
    *,
    resolution: int | None = None,  # levels grown or cut to this; None leaves them
    channels: int | None = None,  # colours changed to these; None leaves them
    labels: bool = True,  # False drops them
) -> tuple[Model, list[str]]:
    """Write the model in `source` to `out` in another form; gives the model and a line for each change."""
    if to is not None and to not in TARGETS:
        raise FigmentError(f"--to {to}: must be one of {', '.join(TARGETS)}")
    if to != "rosinality" and out.suffix != ".safetensors":
        raise FigmentError(f"-o {out}: a model file's name must end in .safetensors")
    model, done = adapt(modelfile.load(source), resolution=resolution, channels=channels, labels=labels)
    if to == "rosinality":
        rosinality2.write(out, model)
    else:
        modelfile.save(out, model)
    return model, done


def describe(path: Path) -> list[tuple[str, str]]:
    """What a checkpoint is, as rows of a name and a value: for `figment info FILE`."""
    model = modelfile.load(path)
    network = next(iter(model.networks().values()))
    config: dict[str, Any] = network.config  # type: ignore[assignment]
    rows = [("file", str(path)), ("origin", model.origin), ("family", str(config["family"]))]

    # The pictures it draws, and what the generator is made of.
    size = getattr(network, "sizes", [(config["resolution"], config["resolution"])])[-1]
    kinds = {1: "grey", 3: "RGB", 4: "RGBA"}
    channels = int(config["channels"])
    rows.append(("pictures", f"{size[1]}x{size[0]} {kinds.get(channels, f'{channels} channels')}"))
    generator = model.g_ema if model.g_ema is not None else model.g
    if generator is not None:
        rows.append(("layers", f"{generator.num_layers} of style, {config.get('map_depth', 0)} of mapping"))
        rows.append(("latents", f"z {generator.z_dim}, w {generator.w_dim}"))
    rows.append(("labels", str(config.get("c_dim", 0) or "none")))
    rows.append(("feature maps", ", ".join(str(width) for width in getattr(network, "widths", []))))
    if config.get("lod"):
        rows.append(("lod", f"{config['lod']:g}: trained up to {int(max(size) / 2 ** config['lod'])} px so far"))
    names = {"g_ema": "generator, running mean", "g": "generator", "d": "discriminator"}
    for name, part in model.networks().items():
        rows.append((name, f"{names[name]}, {parameters(part):,} parameters"))

    # What else was noted.
    for key, value in model.config.items():
        if key not in ("generator", "discriminator", "source") and value not in (None, [], {}):
            rows.append((key, _short(value)))
    return rows


def parameters(network: nn.Module) -> int:
    """How many numbers the network's parameters hold."""
    return sum(parameter.numel() for parameter in network.parameters())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())[:400]
    return (", ".join(str(item) for item in value) if isinstance(value, list) else str(value))[:400]
