"""figment: from a folder of pictures to characters who do not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from figment.nets.checkpoint import Model as Model

__version__ = "0.1.0"


def load(path: str) -> Model:
    """Return the model in `path`: any checkpoint that figment reads, or a run's folder. See `figment.models.load`."""
    from figment.models import load as load_model

    return load_model(path)
