"""One small convolutional backbone for boxes, headness and what a head looks like, and its one-file format."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from figment.base.errors import FigmentError
from figment.base.files import need_file, write_bytes

FORMAT = "figment-heads-1"
STRIDES = (8, 16, 32)
CROP = 128
"""Crops are described at this side."""
PORTRAIT = (96, 128, 128, 256)
"""Widths of the layers that describe a crop, the last one flat."""


@dataclass(frozen=True)
class NetConfig:
    """Widths of the network."""

    stem: tuple[int, int] = (16, 32)
    """Channels after the first and the second halving, where most pixels are."""
    stages: tuple[int, int, int] = (64, 96, 128)
    """Channels at strides 8, 16 and 32."""
    top: int = 64
    """Channels in which the three strides are joined."""
    deep: int = 0
    """Blocks at stride 32 beyond the first two: more to remember what heads look like, at little cost."""
    embed: int = 0
    """Length of the embedding of a head's crop; 0 leaves the network without that part: boxes alone."""


@dataclass(frozen=True)
class Level:
    """What the network says at one stride."""

    stride: int
    heat: torch.Tensor
    """[N, h, w] logits: a head's centre lies in this cell."""
    sides: torch.Tensor
    """[N, 4, h, w] distances in pixels, all positive, from the cell's centre to the left, top, right and bottom."""


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU (unless it is left to the caller)."""

    def __init__(
        self,
        into: int,
        out: int,
        *,
        size: int = 3,  # kernel
        stride: int = 1,
        dilation: int = 1,
        relu: bool = True,  # False: stop after the normalisation
    ) -> None:
        padding = dilation * (size // 2)
        convolution = nn.Conv2d(into, out, size, stride, padding, dilation, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(out), *([nn.ReLU(inplace=True)] if relu else []))


class Block(nn.Module):
    """Two convolutions beside a straight way (He 2015)."""

    def __init__(
        self,
        width: int,
        dilation: int = 1,  # above 1: sees further, for heads that fill the picture
    ) -> None:
        super().__init__()
        self.first = Conv(width, width, dilation=dilation)
        self.second = Conv(width, width, dilation=dilation, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Portrait(nn.Module):
    """What a square crop shows: is it a head, and which? From the backbone's features, its own three layers down."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        eight, sixteen, thirty_two = config.stages
        self.from8 = Conv(eight, PORTRAIT[0], stride=2)
        self.from16 = Conv(PORTRAIT[0] + sixteen, PORTRAIT[1], stride=2)
        self.from32 = Conv(PORTRAIT[1] + thirty_two, PORTRAIT[2])
        self.mix = nn.Linear(PORTRAIT[2] * (CROP // 32) ** 2, PORTRAIT[3])
        self.headness = nn.Linear(PORTRAIT[3], 1)
        self.embedding = nn.Linear(PORTRAIT[3], config.embed)

    def forward(self, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Headness logits [N] and unit embeddings [N, embed] of crops of CROP pixels, from `HeadNet.features`."""
        _, eight, sixteen, thirty_two = features
        x = self.from16(torch.cat([self.from8(eight), sixteen], 1))  # [N, 128, 4, 4]
        x = self.from32(torch.cat([x, thirty_two], 1))  # [N, 128, 4, 4]
        x = torch.relu(self.mix(x.flatten(1)))  # [N, 128, 4, 4] -> [N, 256]
        return self.headness(x)[:, 0], nn.functional.normalize(self.embedding(x), dim=1)


class HeadNet(nn.Module):
    """Objects as points (CenterNet, Zhou 2019) with side distances on a feature pyramid (FCOS, Tian 2019).

    Takes RGB in [-1, 1], [N, 3, H, W] with H and W multiples of 32, and answers at strides 8, 16 and 32.
    """

    def __init__(self, config: NetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetConfig()
        one, two = config.stem
        eight, sixteen, thirty_two = config.stages

        # The way down: plain 3x3 convolutions, few channels where the picture is large.
        self.stem = nn.Sequential(Conv(3, one, stride=2), Conv(one, two, stride=2), Conv(two, two))
        self.down8 = nn.Sequential(Conv(two, eight, stride=2), Block(eight))
        self.down16 = nn.Sequential(Conv(eight, sixteen, stride=2), Block(sixteen))
        more = [Block(thirty_two, 1 + i % 2) for i in range(config.deep)]
        self.down32 = nn.Sequential(Conv(sixteen, thirty_two, stride=2), Block(thirty_two), Block(thirty_two, 2), *more)

        # The way up joins what is far-sighted with what is sharp; each stride then answers for its sizes.
        self.side = nn.ModuleList([nn.Conv2d(width, config.top, 1) for width in config.stages])
        self.head = nn.ModuleList([Conv(config.top, config.top) for _ in STRIDES])
        self.answer = nn.ModuleList([nn.Conv2d(config.top, 5, 1) for _ in STRIDES])
        for layer in self.answer:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias[:1], -4.0)  # start from "hardly any cell is a head" (Lin 2017)
            nn.init.zeros_(layer.bias[1:])
        self.portrait = Portrait(config) if config.embed else None

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What it sees in [N, 3, H, W] in [-1, 1]: maps [N, C, H/4, W/4] to [N, C, H/32, W/32], differentiable."""
        found = [self.stem(x)]
        for down in (self.down8, self.down16, self.down32):
            found.append(down(found[-1]))
        return found

    def forward(self, x: torch.Tensor) -> list[Level]:
        _, *features = self.features(x)
        joined = [side(feature) for side, feature in zip(self.side, features, strict=True)]
        for i in (1, 0):
            joined[i] = joined[i] + nn.functional.interpolate(joined[i + 1], scale_factor=2.0, mode="nearest")

        levels = []
        for i, stride in enumerate(STRIDES):
            answer = self.answer[i](self.head[i](joined[i]))  # [N, 5, h, w]
            levels.append(Level(stride, answer[:, 0], answer[:, 1:].clamp(-4, 4).exp() * (2.0 * stride)))
        return levels


def channels_last(net: HeadNet) -> HeadNet:
    """Lay the convolutions out with channels innermost, in place: the faster order on a CPU."""
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def fold_norms(net: HeadNet) -> HeadNet:
    """Fold every batch normalisation into its convolution, in place: the same answers in evaluation, faster."""
    net.eval()
    for module in net.modules():
        if isinstance(module, Conv) and isinstance(module[1], nn.BatchNorm2d):
            assert isinstance(module[0], nn.Conv2d)
            module[0] = fuse_conv_bn_eval(module[0], module[1])
            module[1] = nn.Identity()
    return net


def grow(
    net: HeadNet,
    *,
    deep: int,  # blocks at stride 32 beyond the first two
    embed: int,  # length of the embedding
) -> HeadNet:
    """A larger network that answers the same boxes: a new block begins as nothing beside its straight way (He 2015)."""
    larger = HeadNet(replace(net.config, deep=deep, embed=embed))
    for i in range(deep):
        block = larger.down32[3 + i]
        assert isinstance(block, Block) and isinstance(block.second[1], nn.BatchNorm2d)
        nn.init.zeros_(block.second[1].weight)
    larger.load_state_dict(net.state_dict(), strict=False)
    return larger.train(net.training)


def save_net(
    path: Path,
    net: HeadNet,
    note: dict[str, str],  # what it was trained on, for people; goes into the metadata
) -> None:
    """Write `net` as one safetensors file: weights in half precision, normalisations and biases in full."""
    from safetensors.torch import save

    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        half = value.ndim > 1  # convolutions and linear layers
        state[name] = (value.half() if half else value.float()).contiguous()
    metadata = {"format": FORMAT, "config": json.dumps(asdict(net.config)), **note}
    write_bytes(path, save(state, metadata))


def load_net(path: Path) -> HeadNet:
    """The network in `path`, in full precision and evaluation mode; raises FigmentError that names the file."""
    from safetensors import SafetensorError, safe_open

    need_file(path, "detector")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise FigmentError(f"detector {path}: not a readable safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise FigmentError(f"detector {path}: format {metadata.get('format')!r}, must be a head detector ({FORMAT})")

    try:
        config = json.loads(metadata["config"])
        net = HeadNet(
            NetConfig(
                tuple(config["stem"]),
                tuple(config["stages"]),
                int(config["top"]),
                int(config.get("deep", 0)),
                int(config.get("embed", 0)),
            )
        )
        missing, unknown = net.load_state_dict(state, strict=False)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FigmentError(f"detector {path}: damaged head detector ({str(error).splitlines()[0]})") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise FigmentError(f"detector {path}: variables missing {missing[:3]} or unknown {unknown[:3]}")
    return net.eval()
