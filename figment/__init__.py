"""figment: from a folder of pictures to characters who do not exist."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from figment.nets.modelfile import Model as Model

# PyTorch's threads spin for milliseconds wherever they wait for one another, and take the processor from all that would
# run meanwhile. Read by the OpenMP library when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

__version__ = "0.1.0"


def load(path: str) -> Model:
    """The model in `path`: any checkpoint that figment reads, or a run's folder. See `figment.nets.modelfile.load`."""
    from figment.nets.modelfile import load as load_model

    return load_model(path)
