"""Project an image into latent space: find the w whose image looks most like it.

figment project runs/00000-heads portrait.png -o out
figment project runs/00000-heads portraits/ -o out --space w+ --tune
figment sample  runs/00000-heads -o drawn --latents out/portrait.npz
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.device import find_device
from figment.base.errors import FigmentError, UnreadableImage, printable
from figment.base.files import check_output, is_folder, keep_input, need_file, write_bytes, write_json
from figment.base.pictures import list_pictures, output_stems, relative_name
from figment.base.pixels import open_image, resize_square, to_uint8, to_unit, write_png
from figment.base.progress import say, track
from figment.draw.perceptual import Perceptual
from figment.draw.render import draw_pictures
from figment.draw.video import write_film
from figment.heads.detect import Detector
from figment.heads.squares import cut_square, square_around
from figment.models import load
from figment.nets.base import Discriminator, Generator
from figment.nets.checkpoint import save

CANDIDATES, STARTS = 96, 4
"""Random characters to choose a start from, and how many of the nearest are optimized."""
FOLLOWED = 0.4
"""Share of the steps after which only the best start is optimized."""
RATE = 0.08
"""Highest learning rate of Adam, in standard deviations of w."""
NOISE = 0.05
"""Noise on w at the start, in its standard deviations; it falls to 0 over three quarters of the steps."""
STEPS = 200
OUTPUTS = (".png", "-pair.png")
"""Endings of the images that are written for each picture."""
TRACE_STEPS, FILM_FPS = 2, 20
STRAY = 0.02
"""Weight of the spread between layers in w+."""
OnStep = Callable[[int, int, float], bool | None]
"""Called with (step, steps, distance); returns False to stop."""


@dataclass(frozen=True)
class Projection:
    """Result of a projection."""

    w: Tensor
    """[1, L, D], on the CPU."""
    distance: float
    """Perceptual distance of its image from the target."""


def project_picture(
    g: Generator,
    target: Tensor,  # [1, C, R, R] in [-1, 1]
    *,
    d: Discriminator | None = None,  # its discriminator, for its features; None uses the backbone alone
    space: str = "w",  # "w" for one latent for all layers, "w+" for one per layer
    steps: int = STEPS,
    seed: int = 0,  # of the candidates and the noise
    on_step: OnStep | None = None,  # called after each step
    trace: list[Tensor] | None = None,  # receives the best w of every few steps, for a video
) -> Projection:
    """Find the w that draws `target`.

    Optimizes w like Karras et al. (2019, arXiv 1912.04958, appendix D), but from several starts and with a distance
    that needs no download. Raises FigmentError for another space.
    """
    _check_space(space)
    device = g.device
    g.requires_grad_(False)
    randomness = torch.Generator().manual_seed(seed)
    likeness = Perceptual(d, device)
    with torch.no_grad():
        seen = likeness.look(target.to(device))
    first, spread = _starts(g, likeness, seen, randomness)  # [S, L, D]
    start = first if space == "w+" else first[:, :1]
    moved = torch.zeros_like(start).requires_grad_()

    optimizer = torch.optim.Adam([moved], lr=RATE, betas=(0.9, 0.99))
    best, best_w = math.inf, first[:1]
    for step in range(steps):
        share = step / max(steps, 1)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, share / 0.05 + 0.1) * (0.5 + 0.5 * math.cos(math.pi * share))
        noise = torch.randn(moved.shape, generator=randomness).to(device) * (NOISE * max(0.0, 1 - share / 0.75) ** 2)
        w = (start + (moved + noise) * spread).expand(-1, g.num_layers, -1)
        distances = likeness(g.synthesis(w, noise="const"), seen)
        loss = distances.sum()
        if space == "w+":
            loss = loss + STRAY * (moved - moved.mean(1, keepdim=True)).square().mean([1, 2]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        # Keep the best w so far; towards the end only the best start is optimized.
        nearest = int(distances.argmin())
        if float(distances[nearest].detach()) < best:
            best, best_w = float(distances[nearest].detach()), w[nearest : nearest + 1].detach()
        if len(start) > 1 and share >= FOLLOWED:
            start = start[nearest : nearest + 1]
            moved = moved[nearest : nearest + 1].detach().clone().requires_grad_()
            optimizer = torch.optim.Adam([moved], lr=RATE, betas=(0.9, 0.99))
        if trace is not None and step % TRACE_STEPS == 0:
            trace.append(best_w.cpu())
        if on_step is not None and on_step(step + 1, steps, best) is False:
            break
    with torch.no_grad():
        best = float(likeness(g.synthesis(best_w, noise="const"), seen))
    return Projection(best_w.clone().cpu(), best)


def _check_space(space: str) -> None:
    if space not in ("w", "w+"):
        raise FigmentError(f"--space {space}: must be w or w+")


@torch.no_grad()
def _starts(
    g: Generator,
    likeness: Perceptual,
    seen: list[Tensor],  # features of the target
    randomness: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the nearest of many random characters and the mean, [STARTS, L, D], and the standard deviation of w."""
    z = torch.randn(CANDIDATES * 4, g.z_dim, generator=randomness).to(g.device)
    mapped = g.mapping(z)  # [N, L, D]
    spread = mapped[:, 0].std(0).mean().clamp(min=1e-6)
    mean = mapped.mean(0, keepdim=True)
    ws = torch.cat([mean, mean.lerp(mapped[:CANDIDATES], 0.8)])
    far = torch.cat([likeness(g.synthesis(part, noise="const"), seen) for part in ws.split(8)])
    return ws[far.topk(STARTS, largest=False).indices], spread


def tune_generator(
    g: Generator,  # changed in place
    w: Tensor,  # the pivot, [1, L, D]
    target: Tensor,  # [1, C, R, R] in [-1, 1]
    *,
    d: Discriminator | None = None,  # its discriminator, for its features; None uses the backbone alone
    steps: int = 100,
    rate: float = 3e-4,  # learning rate
    on_step: OnStep | None = None,  # called after each step
) -> float:
    """Fine-tune the synthesis network until it draws `target` at `w`; return the final distance.

    Pivotal tuning (Roich et al. 2021, arXiv 2106.05744).
    """
    device = g.device
    likeness = Perceptual(d, device)
    with torch.no_grad():
        seen = likeness.look(target.to(device))
    learns = list(g.synthesis_parameters())
    for parameter in learns:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(learns, lr=rate, betas=(0.9, 0.99))
    for step in range(steps):
        loss = likeness(g.synthesis(w.to(device), noise="const"), seen).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if on_step is not None and on_step(step + 1, steps, float(loss.detach())) is False:
            break
    g.requires_grad_(False)
    with torch.no_grad():
        return float(likeness(g.synthesis(w.to(device), noise="const"), seen))


def head_of(
    picture: Image.Image,  # RGB
    resolution: int,
    channels: int = 3,  # 1 gray, 3 RGB, 4 RGBA (opaque)
) -> Tensor:
    """Return the head that the detector is surest of, [1, C, R, R] in [-1, 1]; the center square if it finds none."""
    found = Detector.load().detect(picture.convert("RGB"))
    if found:
        square = square_around(found[0].box, picture.size, 0.25)
        picture = cut_square(picture.convert("RGB"), square, 1024)
    else:
        say("no head found: projecting the whole image")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return to_target(picture, resolution, channels)


def need_square(g: Generator, name: str) -> Generator:
    """Return `g` if it draws squares, as projecting a head needs. Raises FigmentError that names the model."""
    height, width = g.size
    if height != width:
        raise FigmentError(f"{name}: draws {width}x{height} pixels, and projecting needs a model that draws squares")
    return g


def to_target(
    picture: Image.Image,  # RGB, square
    resolution: int,
    channels: int = 3,  # 1 gray, 3 RGB, 4 RGBA (opaque)
) -> Tensor:
    """Return the picture at a generator's size as a tensor, [1, C, R, R] in [-1, 1]."""
    pixels = np.asarray(resize_square(picture.convert("L" if channels == 1 else "RGB"), resolution))
    unit = to_unit(torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1)[None].copy()))
    return unit if channels < 4 else torch.cat([unit, torch.ones_like(unit[:, :1])], 1)


def project(
    model: Path,  # a model file or a run
    pictures: Path,  # an image, or a folder of images
    out: Path,  # folder for all results
    *,
    space: str = "w",  # "w" for one latent for all layers, "w+" for one per layer
    steps: int = STEPS,
    crop: bool = True,  # False if the images are heads already
    tune: bool = False,  # also fine-tune the generator, into NAME.safetensors
    film: bool = False,  # also write the search as NAME.mp4
    seed: int = 0,
    device: str | None = None,  # None means the GPU if there is one
) -> list[tuple[str, float]]:
    """Project each image; write NAME.png, NAME-pair.png, NAME.npz (w) and project.json; return names and distances.

    NAME is the stem of the image, with a hash where two would write to the same files. Images of a folder that can't be
    used are reported and left out.
    """
    place = find_device(device)
    _check_space(space)
    folder = is_folder(pictures)
    if not folder:
        need_file(pictures, "PICTURES")
    loaded = load(model)
    g = loaded.generator.to(place).eval()
    d = loaded.d.to(place).eval().requires_grad_(False) if loaded.d is not None else None
    need_square(g, str(model))
    check_output(out, "--output", folder=True)
    paths = list_pictures(pictures, leave_out=out) if folder else [pictures]
    root = pictures if folder else pictures.parent
    stems = output_stems(paths, root, OUTPUTS)
    for path, stem in zip(paths, stems, strict=True):
        keep_input(path, "PICTURES", *(out / f"{stem}{ending}" for ending in OUTPUTS))

    rows, names = [], {}
    for path, stem in zip(paths, stems, strict=True):
        try:
            picture = open_image(path)
        except UnreadableImage as error:
            if not folder:
                raise
            say(f"left out: {error}")
            continue
        target = (head_of if crop else to_target)(picture, g.resolution, g.channels).to(place)
        trace: list[Tensor] = []
        bar = iter(track(range(steps), f"projecting {printable(path.name)}", steps))

        def watch(step: int, of: int, distance: float, bar: Iterator[int] = bar) -> None:
            next(bar, None)

        found = project_picture(g, target, d=d, space=space, steps=steps, seed=seed, on_step=watch, trace=trace)
        next(bar, None)
        distance = found.distance
        if tune:
            distance = tune_generator(g, found.w, target, d=d)
            save(out / f"{stem}.safetensors", loaded)

        _write_projection(out / stem, g, found.w, target, trace if film else None)
        rows.append((stem, distance))
        names[stem] = relative_name(path, root)
        if tune:
            loaded = load(model)
            g = loaded.generator.to(place).eval()
    if not rows:
        raise FigmentError(f"PICTURES {pictures}: none of its {len(paths)} pictures can be used")
    about = {"model": str(model), "space": space, "steps": steps, "seed": seed, "tuned": tune}
    write_json(out / "project.json", about | {"distances": dict(rows), "pictures": names})
    return rows


def _write_projection(
    stem: Path,  # path of the files without their endings
    g: Generator,
    w: Tensor,  # [1, L, D]
    target: Tensor,  # [1, C, R, R] in [-1, 1]
    trace: list[Tensor] | None,  # w during the search, for a video; None for no video
) -> None:
    """Write the image of `w`, the image beside the target, `w` itself, and a video of the search."""
    drawn = draw_pictures(g, w)[0]
    wanted = to_uint8(target.cpu())[0].permute(1, 2, 0).numpy()
    write_png(stem.with_name(f"{stem.name}.png"), drawn.squeeze())
    write_png(stem.with_name(f"{stem.name}-pair.png"), np.concatenate([wanted, drawn], 1).squeeze())
    data = io.BytesIO()
    np.savez(data, w=w.numpy())
    write_bytes(stem.with_name(f"{stem.name}.npz"), data.getvalue())
    if trace is not None:
        shown = draw_pictures(g, torch.cat([*trace, *[w] * FILM_FPS]))
        frames = (Image.fromarray(np.concatenate([wanted, each], 1).squeeze()) for each in shown)
        write_film(stem.with_name(f"{stem.name}.mp4"), frames, FILM_FPS)
