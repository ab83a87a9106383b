"""From z to w: the mapping network of style-based generators, and truncation towards the mean."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from figment.nets.layers import SQRT2, Linear, normalise_rows
from figment.nets.noise import Randomness


def truncate(
    w: Tensor,  # [N, L, D]
    w_avg: Tensor,  # [D]
    psi: float = 1.0,  # 1 changes nothing, 0 gives the mean everywhere
    cutoff: int | None = None,  # only layers below this; None for all
) -> Tensor:
    """`w` drawn towards the mean: w_avg + psi (w - w_avg) (Karras et al. 2018, appendix B)."""
    if psi == 1:
        return w
    if cutoff is None:
        return torch.lerp(w_avg, w, psi)
    return torch.cat([torch.lerp(w_avg, w[:, :cutoff], psi), w[:, cutoff:]], 1)


class Mapping(nn.Module):
    """Fully connected layers from z (and a label) to w, learning `lr_mul` times as fast as the rest.

    The label's embedding stands beside z. StyleGAN2-ADA normalises the two separately (`norm="each"`), StyleGAN and
    the TensorFlow StyleGAN2 normalise them as one vector and embed without a bias (`norm="joint"`).
    """

    def __init__(
        self,
        z_dim: int,  # 0 for a network of the label alone
        c_dim: int,
        w_dim: int,
        depth: int = 8,  # layers
        lr_mul: float = 0.01,
        norm: str = "each",  # or "joint"
        hidden: int | None = None,  # width of the layers between; None for w_dim
        gain: float = 1.0,  # of the weights, and
        act_gain: float = SQRT2,  # of the activations; StyleGAN has them the other way round
    ) -> None:
        super().__init__()
        self.norm = norm
        self.embed = None
        embedded = 0
        if c_dim and norm == "each":
            self.embed = Linear(c_dim, w_dim)
            embedded = w_dim
        elif c_dim:
            self.embed_weight = nn.Parameter(torch.randn(c_dim, z_dim))
            embedded = z_dim
        self.c_dim = c_dim
        widths = [z_dim + embedded, *[hidden or w_dim] * (depth - 1), w_dim]
        self.layers = nn.ModuleList(
            Linear(a, b, lr_mul=lr_mul, activate=True, gain=gain, act_gain=act_gain)
            for a, b in itertools.pairwise(widths)
        )

    def forward(
        self,
        z: Tensor | None,  # [N, z_dim]; None where z_dim is 0
        c: Tensor | None,  # [N, c_dim]; None means no label, all zeros
    ) -> Tensor:
        """The intermediate latents, [N, w_dim]."""
        # Labels first: a missing label is the zero vector.
        label = None
        if self.c_dim:
            if c is None:
                assert z is not None
                c = z.new_zeros(z.shape[0], self.c_dim)
            c = c.to(self.dtype)
            label = c @ self.embed_weight if self.embed is None else normalise_rows(self.embed(c))

        # Then z, normalised alone or with the label.
        parts = []
        if z is not None:
            z = z.to(self.dtype)
            parts.append(normalise_rows(z) if self.norm == "each" else z)
        if label is not None:
            parts.append(label)
        x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        if self.norm == "joint":
            x = normalise_rows(x)

        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def dtype(self) -> torch.dtype:
        """The type that the weights have."""
        weight: Tensor = next(self.parameters())
        return weight.dtype


class StyleGenerator(nn.Module):
    """What the style-based families share: mapping, the running mean of w, and the way through both networks."""

    config: dict[str, object]  # the family and what its constructor was given
    mapper: Mapping
    w_avg: Tensor  # [w_dim]
    z_dim: int
    c_dim: int
    w_dim: int
    num_layers: int
    resolution: int
    channels: int

    def mapping(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,  # [N, c_dim]; None means no label
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,  # truncate only layers below this; None for all
    ) -> Tensor:
        """One latent per layer, [N, num_layers, w_dim]."""
        w = self.mapper(z, c)[:, None].expand(-1, self.num_layers, -1)  # [N, L, D]
        return truncate(w, self.w_avg, truncation_psi, truncation_cutoff)

    @torch.no_grad()
    def update_w_avg(self, w: Tensor, beta: float = 0.995) -> None:
        """Let the running mean follow the mean of `w` [N, D] or [N, L, D] (its first layer)."""
        w = w[:, 0] if w.ndim == 3 else w
        self.w_avg.copy_(torch.lerp(w.detach().mean(0).to(self.w_avg.dtype), self.w_avg, beta))

    def synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str = "const",  # "const", "random" or "none"
        generator: Randomness = None,  # for random noise; None for the global one
    ) -> Tensor:
        """The pictures of `w`, [N, channels, H, W] in about [-1, 1]."""
        raise NotImplementedError

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: str = "const",
    ) -> Tensor:
        """Pictures of `z`, [N, channels, H, W] in about [-1, 1]."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), noise=noise)
