"""Run videos and projections one at a time in the background, with progress and a way to stop them.

jobs = Jobs(worker, favourites, model)
job = jobs.film([parse_recipe("3@0.7"), parse_recipe("17@0.7")], seconds=6, fps=30)
jobs.cancel(job)
"""

from __future__ import annotations

import copy
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.pixels import png_bytes, to_uint8
from figment.draw.latents import closed_spline
from figment.draw.morph import SMALLEST, loop_changes, respace
from figment.draw.project import STEPS, head_of, need_square, project_picture
from figment.draw.video import write_mp4
from figment.models import load
from figment.nets.base import Discriminator, Generator
from figment.web.favourites import Favourites
from figment.web.recipe import Recipe
from figment.web.worker import Busy, Scene, Worker

WAITING = 8
"""Most waiting jobs; more are refused."""
KEPT = 24
"""Most finished jobs and videos that are kept."""
ROUNDS = 2
"""Rounds of measuring and correcting a video's pace."""
CHUNK = 16
"""Frames requested from the worker at a time."""
MAX_KEYS = 24
"""Most characters of a video."""
MAX_FRAMES = 1800
"""Most frames of a video."""
FPS = (24, 30, 60)
"""Frame rates of videos."""


class Cancelled(Exception):
    """The user stopped the job."""


@dataclass
class Job:
    """A video or projection; its fields change while it runs."""

    kind: str
    """film or projection"""
    work: Callable[[Job], None]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: str = "waiting"
    """waiting, running, done, failed or cancelled"""
    progress: float = 0.0
    note: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    film: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state for the page."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": round(self.progress, 4),
            "note": self.note,
            **self.result,
        }

    def step(self, progress: float, note: str) -> None:
        """Report progress from 0 to 1; raises Cancelled if the user stopped the job."""
        if self.stop.is_set():
            raise Cancelled
        self.progress, self.note = progress, note


class Jobs:
    """Runs jobs in order on one thread."""

    def __init__(
        self,
        worker: Worker,
        favourites: Favourites,  # receives projections
        model: Path,  # a model file or a run
    ) -> None:
        self.worker, self.favourites, self.model = worker, favourites, model
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self.change = threading.Condition()
        self.closed = False
        self.folder = tempfile.TemporaryDirectory(prefix="figment-studio-")
        self.spare: tuple[str, Generator, Discriminator | None] | None = None
        self.thread = threading.Thread(target=self._run, name="figment-jobs", daemon=True)
        self.thread.start()

    # ------------------------------------------------------------------ adding

    def film(
        self,
        recipes: list[Recipe],  # characters to pass through
        *,
        seconds: float = 6.0,
        fps: int = 30,
        size: int | None = None,  # side in pixels; None keeps the model's, but at least SMALLEST
    ) -> Job:
        """Add a job that writes a closed loop through `recipes` at an even pace as an MP4.

        Raises FigmentError for options that don't fit, and Busy if too many jobs are waiting.
        """
        if not 2 <= len(recipes) <= MAX_KEYS:
            raise FigmentError(f"r: {len(recipes)} characters; must be 2 to {MAX_KEYS}")
        if fps not in FPS:
            raise FigmentError(f"fps {fps}: must be one of {', '.join(map(str, FPS))}")
        frames = round(seconds * fps)
        if not 8 <= frames <= MAX_FRAMES:
            raise FigmentError(f"seconds {seconds:g}: {frames} frames at {fps} fps; must be 8 to {MAX_FRAMES} frames")
        scene = self.worker.need_scene()
        return self._add(Job("film", lambda job: self._film(job, scene, recipes, frames, fps, size)))

    def projection(
        self,
        picture: Image.Image,
        name: str,  # chosen by the user
        *,
        space: str = "w",  # "w", or "w+", which gets nearer but mixes less well
        steps: int | None = None,  # None means the default of the projection
    ) -> Job:
        """Add a job that projects the head in `picture`; raises Busy if too many jobs are waiting."""
        scene = self.worker.need_scene()
        return self._add(Job("projection", lambda job: self._project(job, scene, picture, name, space, steps)))

    def get(self, number: str) -> Job | None:
        """Return the job with this id; None if there is no such job."""
        return self.jobs.get(number)

    def all(self) -> list[Job]:
        """Return all jobs, newest first."""
        with self.change:
            return list(self.jobs.values())[::-1]

    def cancel(self, job: Job) -> None:
        """Stop `job` at its next step; a waiting job never starts."""
        with self.change:
            job.stop.set()
            if job.state == "waiting":
                job.state = "cancelled"

    def close(self) -> None:
        """Stop all jobs and delete their videos."""
        with self.change:
            self.closed = True
            for job in self.jobs.values():
                job.stop.set()
            self.change.notify_all()
        self.thread.join(timeout=60)
        self.folder.cleanup()

    def _add(self, job: Job) -> Job:
        with self.change:
            if self.closed or sum(other.state == "waiting" for other in self.jobs.values()) >= WAITING:
                raise Busy
            self.jobs[job.id] = job
            finished = [old for old in self.jobs.values() if old.state not in ("waiting", "running")]
            for old in finished[: max(0, len(finished) - KEPT)]:
                del self.jobs[old.id]
                if old.film:
                    old.film.unlink(missing_ok=True)
            self.change.notify_all()
        return job

    # ------------------------------------------------------------------ running

    def _next(self) -> Job | None:
        with self.change:
            while not self.closed:
                job = next((job for job in self.jobs.values() if job.state == "waiting"), None)
                if job:
                    job.state = "running"
                    return job
                self.change.wait()
        return None

    def _run(self) -> None:
        while job := self._next():
            try:
                job.work(job)
                job.progress, job.note, job.state = 1.0, "", "done"
            except Cancelled:
                job.note, job.state = "", "cancelled"
            except Exception as error:
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
                job.note = message if isinstance(error, FigmentError) else f"failed: {message}"
                job.state = "failed"

    # ------------------------------------------------------------------ videos

    def _film(
        self,
        job: Job,
        scene: Scene,
        recipes: list[Recipe],
        frames: int,
        fps: int,
        size: int | None,
    ) -> None:
        """Measure the pace, even it out and write the video; frames are not kept in memory."""
        with torch.inference_mode():
            keys = torch.stack([scene.composer.w(recipe) for recipe in recipes])  # [K, L, D]
        at, total, count = np.arange(frames) / frames, frames * (ROUNDS + 1), 0

        def passing(note: str) -> Iterator[np.ndarray]:
            nonlocal count
            for image in self._frames(job, scene, closed_spline(keys, at)):
                count += 1
                job.step(count / total, note)
                yield image

        for _ in range(ROUNDS):
            at = respace(at, loop_changes(passing("evening out the pace")))
        path = Path(self.folder.name) / f"{job.id}.mp4"
        pictures = (Image.fromarray(frame.squeeze()) for frame in passing("writing the video"))
        write_mp4(path, pictures, fps, size or max(SMALLEST, scene.g.resolution))
        job.film, job.result = path, {"film": f"/api/jobs/{job.id}/film.mp4", "frames": frames, "fps": fps}

    def _frames(self, job: Job, scene: Scene, ws: Tensor) -> Iterator[np.ndarray]:
        """Yield the images of `ws` in order, uint8 [H, W, C], drawn by the worker between other requests."""
        for part in ws.split(CHUNK):
            waiting = []
            for w in part:
                while True:
                    try:
                        waiting.append(self.worker.ask_frame(scene, w))
                        break
                    except Busy:
                        job.step(job.progress, "waiting for other images")
                        job.stop.wait(0.2)
            for pending in waiting:
                yield pending.future.result(timeout=600)

    # ------------------------------------------------------------------ projections

    def _project(
        self,
        job: Job,
        scene: Scene,
        picture: Image.Image,
        name: str,
        space: str,
        steps: int | None,
    ) -> None:
        """Project on a copy of the generator, since the worker keeps drawing with the original."""
        job.step(0.0, "looking for the head")
        g, d = self._networks(scene)
        target = head_of(picture, need_square(g, "the model").resolution, g.channels)  # [1, C, R, R]
        best = 0.0

        def on_step(step: int, of: int, distance: float) -> bool:
            nonlocal best
            best = distance
            job.progress, job.note = step / max(of, 1), f"step {step} of {of}, distance {distance:.3f}"
            return not job.stop.is_set()

        found = project_picture(g, target.to(g.device), d=d, space=space, steps=steps or STEPS, on_step=on_step)
        job.step(1.0, "saving")
        key = self.favourites.keep_latent(found.w[0], name, float(found.distance), _target_png(target))
        job.result = {"recipe": f"{key}@1", "target": f"/latents/{key}.png", "distance": round(found.distance, 4)}

    def _networks(self, scene: Scene) -> tuple[Generator, Discriminator | None]:
        """Return a generator and a discriminator (None for a model without one) for this thread alone."""
        if self.spare is None or self.spare[0] != scene.digest:
            model = load(self.model)
            d = model.d.to(scene.g.device).eval().requires_grad_(False) if model.d is not None else None
            self.spare = (scene.digest, copy.deepcopy(scene.g).requires_grad_(False), d)
        return self.spare[1], self.spare[2]


def _target_png(target: Tensor) -> bytes:
    """Return the PNG of a projection's target [1, C, R, R] in [-1, 1]."""
    return png_bytes(Image.fromarray(to_uint8(target.detach().cpu())[0].permute(1, 2, 0).numpy().squeeze()))
