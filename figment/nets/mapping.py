"""The mapping network of style-based generators: z to w, truncation towards the mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from figment.nets.base import Generator
from figment.nets.layers import SQRT2, Linear, pixel_norm


def truncate(
    w: Tensor,  # [N, L, D]
    w_avg: Tensor,  # [D]
    psi: float = 1.0,  # 1 changes nothing, 0 gives the mean everywhere
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
) -> Tensor:
    """Return w_avg + psi (w - w_avg), [N, L, D]: the truncation trick (Karras et al. 2018, appendix B)."""
    if psi == 1:
        return w
    if cutoff is None:
        return torch.lerp(w_avg, w, psi)
    return torch.cat([torch.lerp(w_avg, w[:, :cutoff], psi), w[:, cutoff:]], 1)


class Mapping(nn.Module):
    """Fully connected layers from z (and a label) to w, with a learning rate of their own.

    The embedded label is concatenated with z. StyleGAN2-ADA normalizes the two separately (`norm="each"`). StyleGAN and
    the TensorFlow StyleGAN2 normalize them as one vector and embed without a bias (`norm="joint"`). Some networks were
    trained without any normalization of z (`normalize_z`): `each` then normalizes the label alone, `joint` nothing.
    """

    def __init__(
        self,
        z_dim: int,  # 0 for a network that maps the label alone
        c_dim: int,
        w_dim: int,
        depth: int = 8,  # layers; 0 for the normalized label's embedding itself
        lr_mul: float = 0.01,  # learning rate relative to the rest of the generator
        norm: str = "each",  # or "joint"
        hidden: int | None = None,  # width of the hidden layers; None for w_dim
        gain: float = 1.0,  # of the weights; StyleGAN has sqrt(2) here ...
        act_gain: float = SQRT2,  # of the activations; ... and 1 here
        normalize_z: bool = True,
    ) -> None:
        super().__init__()
        self.norm, self.normalize_z = norm, normalize_z
        self.embed = None
        embedded = 0
        if c_dim and norm == "each":
            self.embed = Linear(c_dim, w_dim)
            embedded = w_dim
        elif c_dim:
            self.embed_weight = nn.Parameter(torch.randn(c_dim, z_dim))
            embedded = z_dim
        self.c_dim = c_dim
        widths = [z_dim + embedded, *[hidden or w_dim] * (depth - 1), w_dim] if depth else []
        self.layers = nn.ModuleList(
            Linear(a, b, lr_mul=lr_mul, activate=True, gain=gain, act_gain=act_gain)
            for a, b in itertools.pairwise(widths)
        )

    def forward(
        self,
        z: Tensor | None,  # [N, z_dim]; None if z_dim is 0
        c: Tensor | None,  # [N, c_dim]; None means no label, all zeros
    ) -> Tensor:
        """Return the intermediate latents, [N, w_dim]."""
        # The label's embedding; a missing label is the zero vector.
        label = None
        if self.c_dim:
            if c is None:
                if z is None:
                    raise ValueError("a mapping of labels alone needs c")
                c = z.new_zeros(z.shape[0], self.c_dim)
            c = c.to(self.dtype)
            label = c @ self.embed_weight if self.embed is None else pixel_norm(self.embed(c))

        # z, normalized alone, together with the label, or not at all.
        parts = []
        if z is not None:
            z = z.to(self.dtype)
            parts.append(pixel_norm(z) if self.norm == "each" and self.normalize_z else z)
        if label is not None:
            parts.append(label)
        x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        if self.norm == "joint" and self.normalize_z:
            x = pixel_norm(x)

        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype


class StyleGenerator(Generator):
    """What style-based generators share: the mapping network `mapper` and the running mean of w."""

    mapper: nn.Module  # called with z and c

    def mapping(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    ) -> Tensor:
        """Return one latent per layer, [N, num_layers, w_dim]."""
        w = self.mapper(z, c)[:, None].expand(-1, self.num_layers, -1)  # [N, L, D]
        return truncate(w, self.w_avg, truncation_psi, truncation_cutoff)

    def synthesis_parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters but the mapping network's."""
        return (parameter for name, parameter in self.named_parameters() if not name.startswith("mapper."))
