"""Publish a static gallery of a model's images; with `--onnx` it also draws new ones in the visitor's browser.

figment publish runs/00000-heads -o site
figment publish runs/00000-heads -o site --onnx
python -m http.server --directory site --bind 127.0.0.1
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import is_run, need_file, write_bytes, write_json, write_text
from figment.base.pixels import to_unit, write_png
from figment.base.progress import say, track
from figment.draw.film import film
from figment.draw.grid import make_grid
from figment.draw.latents import seeds_to_w
from figment.draw.morph import morph
from figment.draw.render import load_generator, render_each
from figment.models import load
from figment.nets.base import Discriminator, Generator
from figment.web.compose import Composer, digest_of, find_directions
from figment.web.favourites import Favourites
from figment.web.recipe import parse_recipe
from figment.web.site import PAGES, Face, Kept, add_generator, facts_line, page

STATIC = ("gallery.css", "gallery.js")
LOOP_SEEDS = 6
"""Number of characters in the morph."""
THUMB = 192
"""Largest side of a face in the grid, in pixels; larger faces get thumbnails."""
FACES = {64: 240, 128: 180, 256: 120, 512: 72}
"""Number of faces by resolution, about 10 MB of images; 48 for higher resolutions."""
MAX_CREDITS = 20_000
"""Most characters of the credits."""


def publish(
    model: Path,  # a model file or a run; the page of a run has a video of its training too
    site: Path,  # folder of the site
    *,
    seeds: Sequence[int] | None = None,  # faces to show; None means a number that suits the resolution
    psi: float = 0.7,  # truncation
    title: str = "These characters do not exist",
    loop: Path | None = None,  # a finished morph; None draws one of the best faces
    seconds: float = 10.0,  # length of that morph
    favourites: Path | None = None,  # the studio's studio.db, or .npy of w [N, L, D]; None means the model's, if any
    credits: Path | None = None,  # credits of the training images; None means CREDITS.md beside the model, if any
    onnx: bool = False,  # add the generator for the browser
    half: bool = False,  # with weights in 16 bits
    runtime: Path | None = None,  # onnxruntime-web's .tgz or folder; None means the cache or npm
) -> None:
    """Write index.html and all files that it needs; the page loads nothing from other hosts.

    Raises FigmentError for options that don't fit or files that can't be read.
    """
    if site.exists() and not site.is_dir():
        raise FigmentError(f"--output {site}: must be a folder, but this is a file")
    if runtime and not onnx:
        raise FigmentError(f"--runtime {runtime}: only of use with --onnx")
    if half and not onnx:
        raise FigmentError("--half: only of use with --onnx")
    if seeds is not None and len(seeds) < 2:
        raise FigmentError(f"--seeds {','.join(map(str, seeds))}: a site needs two or more")
    g, config = load_generator(model, "cpu")
    seeds = list(range(_suitable(g.resolution)) if seeds is None else seeds)
    thanks = _credits_text(model, credits)

    # Do what may fail first: the generator for the browser, then the favorites.
    drawing = add_generator(g, config, site, half=half, runtime=runtime) if onnx else None
    kept = [_keep(site, number, name, image) for number, (name, image) in enumerate(_favourites(model, g, favourites))]

    # The faces; the best ones go into the morph and the head of the page.
    ws = seeds_to_w(g, seeds, psi)
    images = np.stack(list(track(render_each(g, ws), "publishing", len(seeds))))  # [N, C, H, W]
    faces = [_face(site, seed, image) for seed, image in zip(seeds, images, strict=True)]
    order = rank(model, ws, images)
    write_png(site / "hero.png", make_grid(images[order[0]][None], 1))
    best = [seeds[at] for at in order[:LOOP_SEEDS]]
    data = need_file(loop, "--loop").read_bytes() if loop else _morph_bytes(model, best, psi, seconds)
    write_bytes(site / "morph.mp4", data)
    filmed = is_run(model) and any((model / "fakes").glob("*.png"))
    if filmed:
        film(model, site / "film.mp4")

    # The page is written last, so that all its files exist.
    for name in STATIC:
        write_bytes(site / name, (PAGES / name).read_bytes())
    about = {
        "model": model.resolve().name,
        "seeds": seeds,
        "psi": psi,
        "title": title,
        "hero": best[0],
        "favourites": len(kept),
        "onnx": onnx,
    }
    write_json(site / "site.json", about)
    write_text(
        site / "index.html",
        page(
            title=title,
            facts=facts_line(g, config, psi),
            faces=faces,
            side=min(g.resolution, THUMB),
            psi=psi,
            favourites=kept,
            filmed=filmed,
            drawing=drawing,
            licence=config.get("licence"),
            credits=thanks,
        ),
    )


def _morph_bytes(model: Path, seeds: list[int], psi: float, seconds: float) -> bytes:
    """Return the MP4 of a morph; it is drawn in a temporary folder, since its settings hold paths of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "morph.mp4"
        morph(model, drawn, seeds=seeds, psi=psi, seconds=seconds)
        return drawn.read_bytes()


def rank(
    model: Path,  # the model file or run that drew them
    ws: Tensor,  # latents [N, L, D]
    images: np.ndarray,  # their images, uint8 [N, C, H, W]
) -> list[int]:
    """Return the indices of the characters, best first.

    The discriminator's logit says how real an image looks (Azadi et al. 2018, arXiv 1810.06758, reject samples by it).
    Without a discriminator, characters are ranked by the distance of w from its mean: near it, images have fewer
    artifacts (Karras et al. 2018, arXiv 1812.04948, appendix B).
    """
    loaded = load(model)
    if loaded.d is not None:
        scores = _scores(loaded.d.eval(), images)
    else:
        mean = loaded.generator.w_avg.detach().cpu()  # [D]
        scores = -(ws - mean).square().mean((1, 2)).numpy()
    return [int(index) for index in np.argsort(-scores, kind="stable")]


@torch.inference_mode()
def _scores(d: Discriminator, images: np.ndarray) -> np.ndarray:
    """Return the logits, [N]; one image at a time, so that the minibatch stddev doesn't mix them."""
    pictures = to_unit(torch.from_numpy(images))
    return np.array([float(d(picture[None])[0, 0]) for picture in pictures])


def _suitable(resolution: int) -> int:
    """Return the default number of faces."""
    return next((count for size, count in FACES.items() if resolution <= size), 48)


def _face(site: Path, seed: int, image: np.ndarray) -> Face:
    """Write a face, and a thumbnail if it is large."""
    picture = make_grid(image[None], 1)
    name = f"faces/seed{seed:04d}.png"
    write_png(site / name, picture)
    if max(picture.size) <= THUMB:
        return Face(seed, name, name)
    small = picture.copy()
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=86, method=4)
    thumb = f"thumbs/seed{seed:04d}.webp"
    write_bytes(site / thumb, buffer.getvalue())
    return Face(seed, name, thumb)


def _keep(site: Path, number: int, name: str, image: np.ndarray) -> Kept:
    """Write a favorite."""
    file = f"favourites/{number:04d}.png"
    write_png(site / file, make_grid(image[None], 1))
    return Kept(file, name)


def _favourites(model: Path, g: Generator, given: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names and images of the favorites in `given`, or in the studio's file beside the model."""
    weights = model / "model.safetensors" if model.is_dir() else model
    path = given or (model / "studio.db" if model.is_dir() else model.with_name(f"{model.stem}.studio.db"))
    if given:
        need_file(given, "--favourites")
    elif not path.is_file():
        return
    latents = path.suffix == ".npy"
    named = [("", w) for w in _saved_latents(path, g)] if latents else _recipes(path, g, weights, model)
    images = render_each(g, torch.stack([w for _, w in named])) if named else iter(())
    yield from zip([name for name, _ in named], images, strict=True)


def _recipes(path: Path, g: Generator, weights: Path, model: Path) -> list[tuple[str, Tensor]]:
    """Return the names and w of the studio's favorites; those of other models are reported and left out."""
    found, digest = [], digest_of(weights)
    with Favourites(path) as store:
        composer = Composer(g, store.latent, find_directions(model, g))
        for each in store.all():
            try:
                if each.digest != digest:
                    raise FigmentError("drawn by another model")
                found.append((each.name, composer.w(parse_recipe(each.recipe, bands=g.family.bands))))
            except FigmentError as error:
                say(f"{path}: favorite {each.name or each.recipe!r} left out ({error})")
    return found


def _saved_latents(path: Path, g: Generator) -> list[Tensor]:
    """Return w [N, L, D] or [L, D] of a .npy file; raises FigmentError for other shapes than this generator's."""
    try:
        values = np.load(path, allow_pickle=False)
        ws = torch.from_numpy(np.asarray(values, np.float32)).reshape(-1, *values.shape[-2:])  # [N, L, D]
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise FigmentError(f"--favourites {path}: not a readable .npy of numbers ({error})") from None
    if ws.ndim != 3 or ws.shape[1:] != (g.num_layers, g.w_dim):
        raise FigmentError(
            f"--favourites {path}: shape {list(values.shape)}; this model's w is [N, {g.num_layers}, {g.w_dim}]"
        )
    return list(ws)


def _credits_text(model: Path, given: Path | None) -> str | None:
    """Return the text of the given credits, or of CREDITS.md in the run or beside the model; None without any."""
    places = [given] if given else [model / "CREDITS.md", model.resolve().parent / "CREDITS.md"]
    for place in places:
        if given:
            need_file(place, "--credits")
        if place.is_file():
            return place.read_text(errors="replace")[:MAX_CREDITS].strip()
    return None
