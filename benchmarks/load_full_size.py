"""Measure time and memory to load a full-size StyleGAN pickle: 512x512, (G, D, Gs), random weights.

    python benchmarks/load_full_size.py

Writes a pickle like those of TensorFlow StyleGAN, but without TensorFlow, and loads it in a new process. The target is
under 5 seconds and under 3 times the size of the file.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np

LEVELS = [4 << k for k in range(8)]
WIDTHS = {r: min(16384 // r, 512) for r in LEVELS}


def generator_variables(rng: np.random.Generator) -> tuple[list[tuple[str, np.ndarray]], ...]:
    """Return the variables of the mapping and of the synthesis network by TensorFlow name."""
    draw = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    mapping = [
        (f"Dense{k}/{part}", draw(*shape))
        for k in range(8)
        for part, shape in (("weight", (512, 512)), ("bias", (512,)))
    ]
    synthesis = [("lod", np.float32(0)), ("4x4/Const/const", draw(1, 512, 4, 4))]
    for k, r in enumerate(LEVELS):
        width, before = WIDTHS[r], WIDTHS[LEVELS[max(k - 1, 0)]]
        for j, name in enumerate(("Const", "Conv") if k == 0 else ("Conv0_up", "Conv1")):
            path = f"{r}x{r}/{name}/"
            if name != "Const":
                synthesis.append((path + "weight", draw(3, 3, before if j == 0 else width, width)))
            synthesis += [
                (path + "Noise/weight", draw(width)),
                (path + "bias", draw(width)),
                (path + "StyleMod/weight", draw(512, 2 * width)),
                (path + "StyleMod/bias", draw(2 * width)),
                (f"noise{2 * k + j}", draw(1, 1, r, r)),
            ]
        lod = f"ToRGB_lod{len(LEVELS) - 1 - k}/"
        synthesis += [(lod + "weight", draw(1, 1, width, 3)), (lod + "bias", draw(3))]
    return mapping, synthesis


def discriminator_variables(rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Return the variables of the discriminator by TensorFlow name."""
    draw = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    found = [("lod", np.float32(0))]
    for k, r in enumerate(LEVELS):
        width, narrower = WIDTHS[r], WIDTHS[LEVELS[max(k - 1, 0)]]
        lod = f"FromRGB_lod{len(LEVELS) - 1 - k}/"
        found += [(lod + "weight", draw(1, 1, 3, width)), (lod + "bias", draw(width))]
        for name, outputs in (("Conv0", width), ("Conv1_down", narrower)) if k else ():
            found += [(f"{r}x{r}/{name}/weight", draw(3, 3, width, outputs)), (f"{r}x{r}/{name}/bias", draw(outputs))]
    for name, shape in (("Conv", (3, 3, 513, 512)), ("Dense0", (8192, 512)), ("Dense1", (512, 1))):
        found += [(f"4x4/{name}/weight", draw(*shape)), (f"4x4/{name}/bias", draw(shape[-1]))]
    return found


def write_pickle(path: Path) -> None:
    """Write a full-size pickle (G, D, Gs)."""
    module = types.ModuleType("dnnlib.tflib.network")
    network = type("Network", (), {"__module__": module.__name__})
    module.Network = network  # type: ignore[attr-defined]
    sys.modules |= {
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.tflib": types.ModuleType("dnnlib.tflib"),
        module.__name__: module,
    }

    def make(function: str, variables: list[tuple[str, np.ndarray]], components: dict[str, object]) -> object:
        made = network()
        made.__dict__.update(
            version=3,
            name=function,
            static_kwargs={},
            build_module_src="",
            variables=variables,
            build_func_name=function,
            components=components,
        )
        return made

    rng, networks = np.random.default_rng(0), []
    for _ in range(2):
        mapping, synthesis = generator_variables(rng)
        parts = {"mapping": make("G_mapping", mapping, {}), "synthesis": make("G_synthesis", synthesis, {})}
        own = [("lod", np.float32(0)), ("dlatent_avg", rng.standard_normal(512, np.float32))]
        networks.append(make("G_style", own, parts))
    networks.insert(1, make("D_basic", discriminator_variables(rng), {}))
    with path.open("wb") as file:
        pickle.dump(tuple(networks), file, protocol=pickle.HIGHEST_PROTOCOL)


def measure(path: Path) -> None:
    """Load the file; print seconds, and peak memory without that of the imported libraries."""
    import torch

    import figment

    torch.zeros(1)
    importing = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    model = figment.load(str(path))
    sec = time.perf_counter() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - importing) * 1024
    size = path.stat().st_size
    parameters = sum(part.numel() for part in model.g_ema.parameters()) if model.g_ema else 0
    print(
        f"{size / 2**20:.0f} MiB, {parameters:,} parameters in the generator: "
        f"{sec:.2f} s, {peak / size:.2f} x its size in memory"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "stylegan-512.pkl"
            write_pickle(target)
            subprocess.run([sys.executable, __file__, str(target)], check=True)
