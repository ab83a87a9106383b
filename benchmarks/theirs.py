"""NVIDIA's unmodified StyleGAN2 training, from a checkout of stylegan2-ada-pytorch or stylegan3, for comparisons.

    theirs = Theirs(Path("/tmp/ada"), device, resolution=64, batch=8, channel_base=16384, gamma=0.1)
    theirs.step(real, r1=True, path=False)

Their networks, loss and augmentation run unchanged, as their training loop calls them (stylegan3's with
`--cfg=stylegan2`), without labels. On a GPU their extensions need a compiler: without one, stylegan2-ada-pytorch warns
and uses plain PyTorch operations, and stylegan3 fails. Their code has a non-commercial license and is not part of
figment.
"""

from __future__ import annotations

import copy
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.utils.cpp_extension
from packaging.version import parse

R1_EVERY, PATH_EVERY = 16, 4
KINDS = (
    "xflip",
    "rotate90",
    "xint",
    "scale",
    "rotate",
    "aniso",
    "xfrac",
    "brightness",
    "contrast",
    "lumaflip",
    "hue",
    "saturation",
)
"""The augmentations of their `bgc`."""


class Theirs:
    """Generator, discriminator, EMA and optimizers of their program."""

    def __init__(
        self,
        code: Path,  # the checkout
        device: torch.device,
        *,
        resolution: int,
        batch: int,
        channel_base: int,
        gamma: float,
        path_weight: float = 2.0,
        lr: float = 0.0025,
        lazy_rates: bool = True,  # correct Adam's settings for lazy regularization, as their loop does
        augment: bool = False,  # their pipeline, at p = 0
        half: bool = False,  # float16 at the four highest resolutions, their default on GPUs
    ) -> None:
        sys.path.insert(0, str(code))
        sys.modules.setdefault("pkg_resources", types.SimpleNamespace(parse_version=parse))  # removed from setuptools
        warnings.filterwarnings("ignore", ".*gradfix not supported.*")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as in their loops
        load = torch.utils.cpp_extension.load

        def load_by_name(
            name: str, **more: Any
        ) -> Any:  # they import what they loaded; older versions of torch allowed that
            sys.modules[name] = load(name=name, **more)
            return sys.modules[name]

        torch.utils.cpp_extension.load = load_by_name
        sg3 = (code / "training" / "networks_stylegan3.py").exists()
        if sg3:
            from training.networks_stylegan2 import Discriminator, Generator
        else:
            from training.networks import Discriminator, Generator
        from torch_utils.ops import conv2d_gradfix, grid_sample_gradfix
        from training.augment import AugmentPipe
        from training.loss import StyleGAN2Loss

        conv2d_gradfix.enabled = grid_sample_gradfix.enabled = True  # as in their loops, if this torch supports it

        shared: dict[str, Any] = {"c_dim": 0, "img_resolution": resolution, "img_channels": 3}
        blocks = {
            "channel_base": channel_base,
            "channel_max": 512,
            "num_fp16_res": 4 if half else 0,
            "conv_clamp": 256 if half else None,
        }
        more = {"fused_modconv_default": "inference_only"} if sg3 else {}
        g = Generator(
            z_dim=512,
            w_dim=512,
            mapping_kwargs={"num_layers": 2},
            **(blocks | more if sg3 else {"synthesis_kwargs": blocks}),
            **shared,
        )
        d = Discriminator(**blocks, epilogue_kwargs={"mbstd_group_size": 4}, **shared)
        g, d = g.to(device).train().requires_grad_(False), d.to(device).train().requires_grad_(False)
        self.average = copy.deepcopy(g).eval()
        self.augment = None
        if augment:
            self.augment = AugmentPipe(**dict.fromkeys(KINDS, 1)).to(device).train().requires_grad_(False)
            self.augment.p.copy_(torch.zeros([]))

        options: dict[str, Any] = {
            "augment_pipe": self.augment,
            "r1_gamma": gamma,
            "pl_weight": path_weight,
            "style_mixing_prob": 0.9,
        }
        networks = (g, d) if sg3 else (g.mapping, g.synthesis, d)
        self.loss = StyleGAN2Loss(device, *networks, **options | ({"pl_no_weight_grad": True} if sg3 else {}))
        self.more = {"cur_nimg": 0} if sg3 else {"sync": True}
        self.nets = {"G": g, "D": d}
        self.adam = {}
        for name, every in (("G", PATH_EVERY), ("D", R1_EVERY)):
            ratio = every / (every + 1) if lazy_rates else 1.0
            self.adam[name] = torch.optim.Adam(
                self.nets[name].parameters(), lr=lr * ratio, betas=(0.0, 0.99**ratio), eps=1e-8
            )
        self.batch, self.device, self.path_weight = batch, device, path_weight
        self.labels = torch.zeros(batch, 0, device=device)

    def step(
        self,
        real: torch.Tensor,  # [N, 3, H, W] in [-1, 1]
        r1: bool,  # with the R1 phase
        path: bool,  # with the path length phase
        beta: float = 0.999,  # weight of the old average
    ) -> None:
        """Take one step: Gmain, Greg, Dmain, Dreg, then the EMA."""
        self._phase("Gmain", real, 1)
        if path and self.path_weight:
            self._phase("Greg", real, PATH_EVERY)
        self._phase("Dmain", real, 1)
        if r1:
            self._phase("Dreg", real, R1_EVERY)
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.nets["G"].parameters(), strict=True):
                mean.copy_(value.lerp(mean, beta))
            for mean, value in zip(self.average.buffers(), self.nets["G"].buffers(), strict=True):
                mean.copy_(value)

    def _phase(self, name: str, real: torch.Tensor, gain: int) -> None:
        """Compute the gradients of one phase, replace NaN and infinity, and take a step of Adam."""
        net, adam = self.nets[name[0]], self.adam[name[0]]
        net.requires_grad_(True)
        adam.zero_grad(set_to_none=True)
        z = torch.randn(self.batch, 512, device=self.device)
        self.loss.accumulate_gradients(
            phase=name, real_img=real, real_c=self.labels, gen_z=z, gen_c=self.labels, gain=gain, **self.more
        )
        net.requires_grad_(False)
        for parameter in net.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        adam.step()
