"""The gallery's HTML; every text from outside is escaped."""

from __future__ import annotations

import html
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.nets.base import Generator

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


@dataclass(frozen=True)
class Face:
    """A picture on the wall."""

    seed: int
    file: str
    """Relative to the page."""
    thumb: str
    """What the wall shows; `file` itself where that is small."""


@dataclass(frozen=True)
class Kept:
    """A favourite."""

    file: str
    name: str
    """May be empty."""


@dataclass(frozen=True)
class Drawing:
    """The generator beside the page."""

    facts: dict[str, Any]
    """What the script needs to know: z_dim, c_dim, bytes of the networks, download of all."""
    version: str
    """Of onnxruntime-web."""


def facts_line(
    g: Generator,
    config: dict[str, Any],  # what the model file says of itself
    psi: float,
) -> str:
    """How large, learned from what, at which truncation."""
    data = config.get("data") or {}
    facts = [f"{g.resolution} by {g.resolution} pixels", f"truncation {psi:g}"]
    if data.get("pictures"):
        facts.insert(0, f"learned from {data['pictures']} pictures")
    if config.get("kimg") and data.get("pictures"):
        facts.insert(1, f"in {round(config['kimg'] * 1000):,} looks at them")
    return " · ".join(facts)


def page(
    *,
    title: str,
    facts: str,  # one line under it
    faces: Sequence[Face],
    side: int,  # pixels of a face
    psi: float,
    favourites: Sequence[Kept] = (),
    filmed: bool = False,  # whether film.mp4 lies beside the page
    drawing: Drawing | None = None,  # the generator, where it lies beside the page
    licence: str | None = None,  # of the model
    credits: str | None = None,  # who made what it learned from
) -> str:
    """index.html."""
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
    """The footer: whose work this is, and under which terms."""
    lines = [f"    <p>{html.escape(str(licence or NO_LICENCE))}</p>"]
    if credits:
        lines.append(f"    <details><summary>What it learned from</summary><pre>{html.escape(credits)}</pre></details>")
    if drawing:
        lines.append(f"    <p>{RUNTIME.format(version=html.escape(drawing.version))}</p>")
    lines.append("    <p>These characters do not exist. Made with figment.</p>")
    return "\n".join(lines)
