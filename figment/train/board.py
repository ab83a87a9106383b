"""TensorBoard, on request: a run's statistics as curves and its fakes as pictures.

figment train heads-64.zip -o runs --tensorboard
tensorboard --logdir runs
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError

FOLDER = "tensorboard"


class Board:
    """Writes a run's ticks for TensorBoard, into its folder `tensorboard`; steps are images shown."""

    def __init__(
        self,
        run: Path,
        nimg: int,  # where the run goes on: what an earlier process wrote from here on is left out
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise FigmentError(
                "--tensorboard: needs the extra `tensorboard`: pip install 'figment-gan[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(run / FOLDER), purge_step=nimg + 1 if nimg else None)

    def tick(
        self,
        row: Mapping[str, float],  # the tick's statistics
        fakes: np.ndarray,  # the grid of fakes, uint8 [H, W] or [H, W, C]
    ) -> None:
        """Write one tick."""
        nimg = round(row["kimg"] * 1000)
        for name, value in row.items():
            if name not in ("tick", "kimg", "sec"):
                self.writer.add_scalar(name, value, nimg)
        self.writer.add_image("fakes", np.atleast_3d(fakes), nimg, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()
