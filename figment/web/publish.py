"""A static gallery of what a model draws, for any file host.

    figment publish runs/00000-heads -o site
"""

from __future__ import annotations

import html
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError
from figment.base.files import write_bytes, write_json, write_text
from figment.base.pixels import write_png
from figment.base.progress import track
from figment.base.rundir import is_run
from figment.draw.film import film
from figment.draw.latents import seeds_to_w
from figment.draw.morph import morph
from figment.draw.render import load_generator, render_each

PAGE = Path(__file__).parent / "pages" / "gallery.html"
FACE = """      <a href="faces/seed{seed:04d}.png" id="s{seed}">\
<img src="faces/seed{seed:04d}.png" alt="character {seed}" loading="lazy"><span>{seed}</span></a>"""
FILM = """    <section>
      <h2>How it learned</h2>
      <video src="film.mp4" controls loop muted playsinline preload="metadata"></video>
    </section>"""
LOOP_SEEDS = 6
"""How many of the characters the morph passes through."""


def publish(
    model: Path,                              # a model file or a run; a run's page has its film too
    site: Path,                               # the folder of the site
    *,
    seeds: Sequence[int] = tuple(range(64)),
    psi: float = 0.7,                         # truncation
    title: str = "These characters do not exist",
    loop: Path | None = None,                 # a morph that is already drawn; None draws one
    seconds: float = 10.0,                    # its length, where one is drawn
) -> None:
    """Write index.html with the faces, the morph and the training film beside it; it asks no other host for more."""
    if len(seeds) < 2:
        raise FigmentError(f"--seeds {list(seeds)}: a site needs two or more")
    g, config = load_generator(model)
    ws = seeds_to_w(g, list(seeds), psi)
    for seed, image in zip(seeds, track(render_each(g, ws), "publishing", len(seeds)), strict=True):
        write_png(site / "faces" / f"seed{seed:04d}.png", image.transpose(1, 2, 0).squeeze())

    if loop:
        write_bytes(site / "morph.mp4", loop.read_bytes())
    else:
        morph(model, site / "morph.mp4", seeds=list(seeds[:LOOP_SEEDS]), psi=psi, seconds=seconds)
    filmed = is_run(model) and any((model / "fakes").glob("*.png"))
    if filmed:
        film(model, site / "film.mp4")

    write_text(site / "index.html", page(g, config, seeds, psi, title, filmed))
    write_json(site / "site.json", {"model": model.resolve().name, "seeds": list(seeds), "psi": psi, "title": title})


def page(
    g: Any,                       # the generator
    config: dict[str, Any],       # what the model file says of itself
    seeds: Sequence[int],
    psi: float,
    title: str,
    filmed: bool,                 # whether film.mp4 lies beside the page
) -> str:
    """The gallery page; every text in it is escaped."""
    faces = "\n".join(FACE.format(seed=seed) for seed in seeds)
    section = FILM if filmed else ""
    data = config.get("data") or {}
    facts = [f"{g.resolution} by {g.resolution} pixels", f"truncation {psi:g}"]
    if data.get("pictures"):
        facts.insert(0, f"learned from {data['pictures']} pictures")
    if config.get("kimg") and data.get("pictures"):
        facts.insert(1, f"in {round(config['kimg'] * 1000):,} looks at them")
    licence = config.get("licence") or "No licence was noted with this model; its pictures' sources decide."
    return string.Template(PAGE.read_text()).substitute(
        title=html.escape(title), faces=faces, film=section, facts=html.escape(" · ".join(facts)),
        licence=html.escape(str(licence)))
