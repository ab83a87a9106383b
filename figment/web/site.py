"""The files of a published site: its page, and what it needs to draw in the browser.

Every text from outside is escaped. The networks go beside the page as ONNX, with onnxruntime-web and two scripts.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.base.files import write_bytes
from figment.draw.export import HALF_LIMIT, LIMIT, compare, need_onnx, to_onnx
from figment.nets.base import Generator
from figment.web.runtime import VERSION, runtime_files

PAGES = Path(__file__).parent / "pages"
FACE = """        <a href="{file}" data-seed="{seed}" data-file="{file}">\
<img src="{thumb}" alt="character {seed}" loading="lazy" width="{side}" height="{side}"><span>{seed}</span></a>"""
KEPT = """        <a href="{file}" data-favourite="{number}" data-file="{file}">\
<img src="{file}" alt="{alt}" loading="lazy" width="{side}" height="{side}">{label}</a>"""
FAVOURITES = """    <section>
      <h2>Favourites</h2>
      <div class="wall named">
{tiles}
      </div>
    </section>"""
FILM = """    <section>
      <h2>How it learned</h2>
      <video src="film.mp4" controls loop muted playsinline preload="metadata"></video>
    </section>"""
INVITATION = """      <p class="invite"><button type="button" class="first" id="invite">Draw new ones</button></p>"""
ENDLESS = """      <div class="endless" id="endless">
        <button type="button" class="first">Draw new ones</button>
        <progress value="0" max="1" hidden></progress>
        <p class="note" role="status">Your browser draws them itself, without end: {megabytes} MB to load, once.</p>
        <label>variety <output></output><input type="range" min="0" max="1.2" step="0.05"></label>
        <noscript><p>Drawing needs JavaScript.</p></noscript>
      </div>"""
NO_LICENCE = "No licence was noted with this model; its pictures' sources decide."
RUNTIME = "Drawn in the browser by onnxruntime-web {version} (Microsoft, MIT licence)."
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


@dataclass(frozen=True)
class Face:
    """A face in the gallery."""

    seed: int
    file: str
    """Path relative to the page."""
    thumb: str
    """Thumbnail; the same as `file` for a small image."""


@dataclass(frozen=True)
class Kept:
    """A favorite."""

    file: str
    name: str
    """May be empty."""


@dataclass(frozen=True)
class Drawing:
    """The generator for the browser."""

    facts: dict[str, Any]
    """Settings of the script: z_dim, c_dim, and the sizes of the networks (bytes) and all files (download)."""
    version: str
    """Version of onnxruntime-web."""


def facts_line(
    g: Generator,
    config: dict[str, Any],  # notes of the model file
    psi: float,
) -> str:
    """Return a line with the size of the data, the length of training, the resolution and the truncation."""
    data = config.get("data") or {}
    height, width = g.size
    facts = [f"{width} by {height} pixels", f"truncation {psi:g}"]
    if data.get("pictures"):
        facts.insert(0, f"learned from {data['pictures']} pictures")
    if config.get("kimg") and data.get("pictures"):
        facts.insert(1, f"{round(config['kimg'] * 1000):,} image views in training")
    return " · ".join(facts)


def page(
    *,
    title: str,
    facts: str,  # line below the title
    faces: Sequence[Face],
    side: int,  # of a face in pixels
    psi: float,
    favourites: Sequence[Kept] = (),
    filmed: bool = False,  # whether there is a film.mp4
    drawing: Drawing | None = None,  # the generator for the browser; None without one
    licence: str | None = None,  # of the model
    credits: str | None = None,  # of the training images
) -> str:
    """Return the text of index.html."""
    tiles = "\n".join(FACE.format(seed=face.seed, file=face.file, thumb=face.thumb, side=side) for face in faces)
    kept = "\n".join(
        KEPT.format(
            file=each.file,
            number=number,
            alt=html.escape(each.name or "a favourite"),
            side=side,
            label=f"<span>{html.escape(each.name)}</span>" if each.name else "",
        )
        for number, each in enumerate(favourites)
    )
    site = {"psi": psi, "generator": drawing.facts if drawing else None}
    endless = ENDLESS.format(megabytes=f"{max(1, round(drawing.facts['download'] / 1e6))}") if drawing else ""
    template = string.Template((PAGES / "gallery.html").read_text())
    return template.substitute(
        title=html.escape(title),
        facts=html.escape(facts),
        faces=tiles,
        endless=endless,
        invitation=INVITATION if drawing else "",
        favourites=FAVOURITES.format(tiles=kept) if kept else "",
        film=FILM if filmed else "",
        site=json.dumps(site).replace("<", "\\u003c"),
        credits=_credits(licence, credits, drawing),
    )


def _credits(licence: str | None, credits: str | None, drawing: Drawing | None) -> str:
    """Return the footer: license and credits."""
    lines = [f"    <p>{html.escape(str(licence or NO_LICENCE))}</p>"]
    if credits:
        lines.append(f"    <details><summary>What it learned from</summary><pre>{html.escape(credits)}</pre></details>")
    if drawing:
        lines.append(f"    <p>{RUNTIME.format(version=html.escape(drawing.version))}</p>")
    lines.append("    <p>These characters do not exist. Made with figment.</p>")
    return "\n".join(lines)


# ---------------------------------------------------------------------- drawing in the browser


def add_generator(
    g: Generator,  # on the CPU
    config: dict[str, Any],  # notes of the model file
    site: Path,  # folder of the site
    *,
    half: bool = False,  # weights in 16 bits
    runtime: Path | None = None,  # onnxruntime-web's .tgz or folder; None means the cache or npm
) -> Drawing:
    """Write the networks, the runtime and the scripts into `site`, after comparing the networks with PyTorch.

    Raises FigmentError if the extra `onnx` or the runtime is missing, or the networks differ.
    """
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
