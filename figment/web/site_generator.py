"""What a page needs to draw by itself: the networks as ONNX, onnxruntime-web, and two scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from figment.base.files import write_bytes
from figment.draw.export import HALF_LIMIT, LIMIT, compare, need_onnx, to_onnx
from figment.nets.base import Generator
from figment.web.runtime import VERSION, runtime_files
from figment.web.site_page import PAGES, Drawing

SCRIPTS = ("gallery-worker.js", "gallery-seed.js")
NOTICE = f"""onnxruntime-web {VERSION}
Copyright (c) Microsoft Corporation. MIT License:

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def add_generator(
    g: Generator,  # the generator, on the CPU
    config: dict[str, Any],  # what the model file says of itself
    site: Path,
    *,
    half: bool = False,  # weights in 16 bits
    runtime: Path | None = None,  # onnxruntime-web's .tgz or folder; None: the cached one, or npm's
) -> Drawing:
    """Write the networks, the runtime and the scripts into `site`; the networks are compared with PyTorch first."""
    need_onnx("--onnx")
    files = {f"runtime/{name}": data for name, data in runtime_files(runtime).items()}
    graphs = to_onnx(g, config, split=True, half=half)
    compare(g, graphs, HALF_LIMIT if half else LIMIT)
    networks = {f"net.{part}.onnx": data for part, data in graphs.items()}
    for name, data in {**files, **networks}.items():
        write_bytes(site / name, data)
    write_bytes(site / "runtime" / "LICENSE.txt", NOTICE.encode())
    for name in SCRIPTS:
        write_bytes(site / name, (PAGES / name).read_bytes())

    size = sum(len(data) for data in networks.values())
    facts = {
        "z_dim": g.z_dim,
        "c_dim": g.c_dim,
        "bytes": size,
        "download": size + sum(len(data) for data in files.values()),
    }
    return Drawing(facts, VERSION)
