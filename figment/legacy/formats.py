"""Foreign checkpoints: find out which program wrote a file and read the model in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError
from figment.base.files import need_file
from figment.legacy import ada, content, lucidrains, rosinality1, rosinality2, tensorflow, torchfile
from figment.legacy.pickle_vm import Damaged, Record
from figment.legacy.variables import listed
from figment.nets.checkpoint import Model


def load(path: str | Path) -> Model:
    """Return the model in a foreign checkpoint, without executing code from it.

    Raises FigmentError, in one line that begins with the path, for a damaged, hostile or unknown file.
    """
    path = Path(path)
    need_file(path, "model")
    head = content.read_head(path)
    if reason := content.reason(head):
        raise FigmentError(f"{path}: {reason}")
    try:
        model = _read(torchfile.read(path), path)
    except FigmentError as error:
        text, words = str(error), content.as_text(head)
        if isinstance(error, Damaged) and content.is_part(path):
            text = content.UNPACKED
        elif isinstance(error, Damaged) and words:
            text = f"text that begins with {content.quoted(words)}, not a checkpoint"
        raise FigmentError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except MemoryError:
        raise FigmentError(f"{path}: needs more memory than this machine has") from None
    except Exception as error:  # a damaged file can break a reader anywhere
        text = str(error).splitlines()[0][:200] if str(error) else ""
        raise FigmentError(f"{path}: a damaged checkpoint ({type(error).__name__}: {text})") from None
    if not model.networks():
        raise FigmentError(f"{path}: contains no network")
    model.config.setdefault("licence", "as its origin says; weights made by others stay under their licence")
    model.config["source"] = path.name
    if model.g_ema is not None:
        model.g_ema.requires_grad_(False)
    return model


def _read(value: Any, path: Path) -> Model:
    """Return the model in the content of a file, with the first reader that recognizes it."""
    where = str(path)
    if isinstance(value, Record):
        value = (value,)
    if isinstance(value, tuple | list) and value and all(isinstance(part, Record) for part in value):
        if any(part.kind == "Network" for part in value):
            return tensorflow.read(value, where)
        return ada.read(_by_name(value), where)
    if rosinality1.fits(value):
        return rosinality1.read(value, where, path.name)
    if rosinality2.fits(value):
        return rosinality2.read(value, where)
    if lucidrains.fits(value):
        return lucidrains.read(value, where, path)
    if isinstance(value, dict) and any(isinstance(value.get(key), Record) for key in ada.NETWORKS):
        return ada.read(value, where)
    if program := _stranger(value):
        raise FigmentError(f"{where}: a checkpoint of {program}, which figment does not draw")
    held = f"a dictionary of {listed([str(k) for k in value], 12)}" if isinstance(value, dict) else type(value).__name__
    raise FigmentError(f"{where}: not a checkpoint that figment can read; it contains {held}")


STRANGERS = {
    "lightweight-gan": ("GAN", r"G\.(initial_conv|layers)\."),
    "FastGAN": ("g", r"(module\.)?(init\.init|feat_8)\."),
    "MMGeneration": ("state_dict", r"generator(_ema)?\.(style_mapping|constant_input)\."),
}
"""Programs whose networks figment does not draw: an entry with weights, and how the name of one of them begins."""


def _stranger(value: Any) -> str | None:
    """Return the program that wrote a file if it is one that figment knows by name only."""
    for program, (entry, pattern) in STRANGERS.items():
        table = value.get(entry, value) if isinstance(value, dict) else None
        if isinstance(table, dict) and any(re.match(pattern, key) for key in table if isinstance(key, str)):
            return program
    return None


def _by_name(networks: Sequence[Record]) -> dict[str, Record]:
    """Return modules that were saved without names under the names of a snapshot."""
    names = ("G", "D", "G_ema") if len(networks) == 3 else ("G_ema",) * len(networks)
    named = {
        "D" if part.kind.endswith("Discriminator") else name: part for name, part in zip(names, networks, strict=True)
    }
    if len(named) != len(networks):
        raise FigmentError(
            f"holds {listed([part.kind for part in networks], 12)}, and figment can't tell which is which"
        )
    return named
