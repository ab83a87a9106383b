"""A generator as ONNX, for programs without PyTorch: browsers, game engines, phones.

    figment export runs/00000-heads -o net.onnx
    figment export runs/00000-heads -o net.onnx --split --half

One file takes z [N, z_dim] and psi and gives rgb [N, C, H, W] in about [-1, 1] and w [N, L, D]. `--split` writes two,
net.mapping.onnx (z, psi to w) and net.synthesis.onnx (w to rgb), so that w can be mixed and edited in between.
Labelled models take c [N, c_dim] as well. What is written was run beside PyTorch first; a file that differs is not
kept.
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
"""Of ONNX; onnxruntime and onnxruntime-web have known it since 1.14 (2023)."""
LIMIT = 1e-3
"""Of the largest difference from PyTorch, in pictures that reach from -1 to 1."""
HALF_LIMIT = 2 / 127.5
"""The same where weights were rounded to 16 bits: two steps of a picture's 255."""
MAX_BYTES = 2_000_000_000
"""A little less than a protocol buffer's limit of 2 GiB, which every ONNX file in one piece has."""
SMALL = 256
"""Weights with fewer values than this stay at 32 bits."""
TRIALS = ((0, 0.7), (1, 1.0), (2, -0.5))
"""Seeds and psi that are drawn by both."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    files: tuple[Path, ...]
    difference: float
    """The largest difference from PyTorch among the trials."""
    size: int
    """Bytes of all files."""


def truncated_mapping(
    g: Generator,
    z: Tensor,  # [N, z_dim]
    psi: Tensor,  # scalar
    c: Tensor | None = None,  # [N, c_dim]
) -> Tensor:
    """Return the truncated w of z, [N, L, D], with psi as a tensor so that it stays an input of the graph."""
    return torch.lerp(g.w_avg, g.mapping(z, c), psi)


class Mapping(nn.Module):
    """z to truncated w, psi as a tensor."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None) -> Tensor:
        return truncated_mapping(self.g, z, psi, c)


class Synthesis(nn.Module):
    """w to rgb."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, w: Tensor) -> Tensor:
        return self.g.synthesis(w, noise="const")


class Whole(nn.Module):
    """z to rgb and w."""

    def __init__(self, g: Generator) -> None:
        super().__init__()
        self.g = g

    def forward(self, z: Tensor, psi: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        w = truncated_mapping(self.g, z, psi, c)
        return self.g.synthesis(w, noise="const"), w


def export(
    model: Path,  # a model file or a run
    out: Path,  # the .onnx file; with `split`, .mapping.onnx and .synthesis.onnx take its place
    *,
    split: bool = False,  # mapping and synthesis in a file each
    half: bool = False,  # weights stored in 16 bits: half the size, nearly the same pictures
) -> Exported:
    """Write the generator as ONNX after checking that it draws what PyTorch draws."""
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
    """Raise FigmentError where the extra `onnx` is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise FigmentError(f"{what}: needs the extra `onnx` ({missing[0]} is missing): pip install 'figment-gan[onnx]'")


def to_onnx(
    g: Generator,  # the generator, on the CPU
    config: dict[str, Any],  # what the model file says of itself
    *,
    split: bool = False,
    half: bool = False,
    name: str = "model",  # what messages call it
) -> dict[str, bytes]:
    """ONNX files by part: `whole`, or `mapping` and `synthesis`."""
    total = sum(value.numel() * (2 if half else 4) for value in g.state_dict().values())
    if total > MAX_BYTES:
        hint = "" if half else "; --half halves them"
        raise FigmentError(f"{name}: {total / 1e9:.1f} GB of weights; an ONNX file holds {MAX_BYTES / 1e9:g} GB{hint}")

    # Two samples, since a batch of one would be taken for a constant.
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
    """One module as an ONNX file, whose batch may have any size."""
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
    assert program is not None
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
    """Silence what the exporter says of itself: its own deprecations, and packages that it does without."""
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
    """Drop the exporter's notes on where each node came from: they name paths of this machine."""
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
    """What the file says of itself."""
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
    """Store large weights of `graph` in 16 bits, each behind a cast that runtimes fold when they load."""
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
    graphs: dict[str, bytes],  # as `to_onnx` gives them
    limit: float,  # the difference that is an error
    name: str = "model",  # what messages call it
) -> float:
    """The largest difference between pictures by onnxruntime and by PyTorch; over `limit` raises FigmentError."""
    run = Runner(graphs)
    worst = 0.0
    for seed, psi in TRIALS:
        # One sample, and two at once: the batch must not be frozen.
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
    """The graphs of `to_onnx` in onnxruntime, on one CPU thread."""

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
        """The pictures of `z`: float32 [N, C, H, W]."""
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
