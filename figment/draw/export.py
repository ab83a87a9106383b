"""Export a generator as ONNX, for programs without PyTorch: browsers, game engines, phones.

    figment export runs/00000-heads -o net.onnx
    figment export runs/00000-heads -o net.onnx --split --half

The file takes z [N, z_dim] and psi and returns rgb [N, C, H, W] in about [-1, 1] and w [N, L, D]. `--split` writes two
files, net.mapping.onnx (z, psi to w) and net.synthesis.onnx (w to rgb), so that w can be mixed and edited in between.
Models with labels take c [N, c_dim] as well. Before anything is written, the graphs run beside PyTorch; graphs that
differ are an error.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import figment
from figment.base.errors import FigmentError
from figment.base.files import write_bytes
from figment.base.parse import seeds_to_z
from figment.draw.render import load_generator
from figment.nets.base import Generator

OPSET = 18
"""ONNX operator set; onnxruntime and onnxruntime-web support it since 1.14 (2023)."""
LIMIT = 1e-3
"""Largest accepted difference from PyTorch, in images from -1 to 1."""
HALF_LIMIT = 2 / 127.5
"""The same for weights in 16 bits: two of an image's 255 steps."""
MAX_BYTES = 2_000_000_000
"""Just below the 2 GiB limit of protocol buffers, and so of every ONNX file in one piece."""
SMALL = 256
"""Weights with fewer values than this keep 32 bits."""
TRIALS = ((0, 0.7), (1, 1.0), (2, -0.5))
"""Seeds and psi that the graphs are compared at."""


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    files: tuple[Path, ...]
    difference: float
    """Largest difference from PyTorch among TRIALS."""
    size: int
    """Total size in bytes."""


def truncated_mapping(
    g: Generator,
    z: Tensor,  # [N, z_dim]
    psi: Tensor,  # scalar
    c: Tensor | None = None,  # [N, c_dim]
) -> Tensor:
    """Return the truncated w of z, [N, L, D], with psi as a tensor so that it stays an input of the graph."""
    return torch.lerp(g.w_avg, g.mapping(z, c), psi)


class Mapping(nn.Module):
    """Maps z to truncated w."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None) -> Tensor:
        return truncated_mapping(self.g, z, psi, c)


class Synthesis(nn.Module):
    """Maps w to RGB."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, w: Tensor) -> Tensor:
        return self.g.synthesis(w, noise="const")


class Whole(nn.Module):
    """Maps z to RGB and w."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w = truncated_mapping(self.g, z, psi, c)
        return self.g.synthesis(w, noise="const"), w


def export(
    model: Path,  # a model file or a run
    out: Path,  # the .onnx file; `split` writes .mapping.onnx and .synthesis.onnx instead
    *,
    split: bool = False,  # mapping and synthesis in separate files
    half: bool = False,  # store weights in 16 bits: half the size, nearly the same images
) -> Exported:
    """Write the generator as ONNX after comparing it with PyTorch.

    Raises FigmentError if the extra `onnx` is missing, or for graphs that differ or are too large.
    """
    if out.suffix != ".onnx":
        raise FigmentError(f"--output {out}: must end in .onnx")
    need_onnx("export")
    g, config = load_generator(model, "cpu")
    graphs = to_onnx(g, config, split=split, half=half, name=str(model))
    difference = compare(g, graphs, HALF_LIMIT if half else LIMIT, name=str(model))
    files = {part: out.with_name(f"{out.stem}.{part}.onnx") if split else out for part in graphs}
    for part, data in graphs.items():
        write_bytes(files[part], data)
    return Exported(tuple(files.values()), difference, sum(len(data) for data in graphs.values()))


def need_onnx(what: str) -> None:
    """Raise FigmentError, whose message starts with `what`, if the extra `onnx` is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise FigmentError(f"{what}: needs the extra `onnx` ({missing[0]} is missing): pip install 'figment-gan[onnx]'")


def to_onnx(
    g: Generator,  # on the CPU
    config: dict[str, Any],  # notes of the model file
    *,
    split: bool = False,
    half: bool = False,
    name: str = "model",  # its name in messages
) -> dict[str, bytes]:
    """Return the bytes of ONNX files by part: `whole`, or `mapping` and `synthesis`."""
    total = sum(value.numel() * (2 if half else 4) for value in g.state_dict().values())
    if total > MAX_BYTES:
        hint = "" if half else "; --half halves them"
        raise FigmentError(f"{name}: {total / 1e9:.1f} GB of weights; an ONNX file holds {MAX_BYTES / 1e9:g} GB{hint}")

    # Trace two samples: the exporter would freeze a batch of one as a constant.
    z, psi = torch.zeros(2, g.z_dim), torch.tensor(0.7)
    w = torch.zeros(2, g.num_layers, g.w_dim)
    front: dict[str, Tensor] = {"z": z, "psi": psi, **({"c": torch.zeros(2, g.c_dim)} if g.c_dim else {})}
    parts: dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]] = {"whole": (Whole(g), front, ["rgb", "w"])}
    if split:
        parts = {"mapping": (Mapping(g), front, ["w"]), "synthesis": (Synthesis(g), {"w": w}, ["rgb"])}
    return {part: _trace(*about, notes=_notes(g, config, part, half), half=half) for part, about in parts.items()}


def _trace(
    module: nn.Module,
    inputs: dict[str, Tensor],
    outputs: list[str],
    notes: dict[str, str],
    half: bool,
) -> bytes:
    """Return one module as the bytes of an ONNX file that takes batches of any size."""
    import onnx

    batch = torch.export.Dim("n")
    shapes = {name: {0: batch} if value.ndim else None for name, value in inputs.items()}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph = program.model_proto
    _clean(graph)
    if half:
        store_half(graph)
    onnx.helper.set_model_props(graph, notes)
    onnx.checker.check_model(graph)
    data: bytes = graph.SerializeToString()
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's own warnings: its deprecations, and optional packages that it doesn't find."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.__trace")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _clean(graph: Any) -> None:
    """Remove the exporter's notes on the origin of each node: they hold paths of this machine."""
    graph.producer_name, graph.producer_version = "figment", figment.__version__
    for item in (
        graph.graph,
        *graph.graph.node,
        *graph.graph.value_info,
        *graph.graph.input,
        *graph.graph.output,
        *graph.graph.initializer,
    ):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.metadata_props[:]


def _notes(g: Generator, config: dict[str, Any], part: str, half: bool) -> dict[str, str]:
    """Return the notes for the file's metadata."""
    notes = {
        "program": "figment",
        "part": part,
        "family": g.family.name,
        "z_dim": g.z_dim,
        "c_dim": g.c_dim,
        "w_dim": g.w_dim,
        "num_layers": g.num_layers,
        "resolution": g.resolution,
        "channels": g.channels,
        "weights": "float16" if half else "float32",
        "noise": "const",
        "seeds": "z = numpy.random.RandomState(seed).randn(z_dim)",
        "licence": config.get("licence") or "none noted",
    }
    return {key: str(value) for key, value in notes.items()}


def store_half(graph: Any) -> None:
    """Store the large weights of `graph` in 16 bits, each followed by a cast that runtimes fold at load time."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def compare(
    g: Generator,
    graphs: dict[str, bytes],  # from `to_onnx`
    limit: float,  # largest accepted difference
    name: str = "model",  # its name in messages
) -> float:
    """Return the largest difference between images by onnxruntime and by PyTorch; raises FigmentError above `limit`."""
    run = Runner(graphs)
    worst = 0.0
    for seed, psi in TRIALS:
        # One sample and then two, to find a frozen batch size.
        z = seeds_to_z([seed, seed + 100], g.z_dim).astype(np.float32)[: 1 + seed % 2]
        with torch.inference_mode():
            wanted = g.synthesis(g.mapping(torch.from_numpy(z), truncation_psi=psi), noise="const").numpy()
        found = run(z, psi)
        gap = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
        worst = max(worst, gap if np.isfinite(gap) else float("inf"))
    if worst > limit:
        raise FigmentError(
            f"{name}: its ONNX file differs from PyTorch by up to {worst:.2g}, more than {limit:.2g}; "
            "nothing was written"
        )
    return worst


class Runner:
    """Runs the graphs of `to_onnx` in onnxruntime on one CPU thread."""

    def __init__(self, graphs: dict[str, bytes]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.sessions = {
            part: ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            for part, data in graphs.items()
        }

    def __call__(
        self,
        z: np.ndarray,  # float32 [N, z_dim]
        psi: float,
    ) -> np.ndarray:
        """Return the images of `z`, float32 [N, C, H, W]."""
        first = self.sessions.get("whole") or self.sessions["mapping"]
        feed = {"z": z, "psi": np.array(psi, np.float32)}
        for each in first.get_inputs():
            if each.name == "c":
                feed["c"] = np.zeros((len(z), each.shape[1]), np.float32)
        rgb: np.ndarray
        if "whole" in self.sessions:
            rgb = first.run(["rgb"], feed)[0]
        else:
            rgb = self.sessions["synthesis"].run(["rgb"], {"w": first.run(["w"], feed)[0]})[0]
        return rgb
