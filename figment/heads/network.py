"""The network of the head detector: one backbone for boxes, headness and embeddings; its file format."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from figment.base.errors import FigmentError
from figment.base.files import need_file, write_bytes
from figment.nets import backbone
from figment.nets.backbone import Backbone, Block, Conv

SHIPPED = Path(__file__).parent / "weights" / "detector.safetensors"
"""Weights in the package; MODEL_CARD.md says what they were trained on."""
FORMAT = "figment-heads-1"
STRIDES = (8, 16, 32)
"""Strides of the boxes' heat maps."""
CROP = 128
"""Side of the crops that are embedded."""
PORTRAIT = (96, 128, 128, 256)
"""Widths of the layers that embed a crop, the last one fully connected."""


@dataclass(frozen=True)
class NetConfig:
    """Size of the network."""

    stem: tuple[int, int] = (16, 32)
    """Channels at strides 2 and 4."""
    stages: tuple[int, int, int] = (64, 96, 128)
    """Channels at strides 8, 16 and 32."""
    top: int = 64
    """Channels of the feature pyramid."""
    deep: int = 0
    """Extra blocks at stride 32: more capacity at little cost."""
    embed: int = 0
    """Length of the embedding of a crop; 0 for a network that only finds boxes."""


@dataclass(frozen=True)
class Level:
    """Output of the network at one stride."""

    stride: int
    heat: torch.Tensor
    """Logits that the center of a head lies in a cell, [N, h, w]."""
    sides: torch.Tensor
    """Distances in pixels, all positive, from the center of a cell to left, top, right and bottom, [N, 4, h, w]."""


class Portrait(nn.Module):
    """Headness and embedding of a square crop, from the features of the backbone."""

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
        """Return headness logits [N] and unit embeddings [N, embed] from `HeadNet.features` of CROP px crops."""
        _, eight, sixteen, thirty_two = features
        x = self.from16(torch.cat([self.from8(eight), sixteen], 1))  # [N, 128, 4, 4]
        x = self.from32(torch.cat([x, thirty_two], 1))  # [N, 128, 4, 4]
        x = torch.relu(self.mix(x.flatten(1)))  # [N, 128, 4, 4] -> [N, 256]
        return self.headness(x)[:, 0], nn.functional.normalize(self.embedding(x), dim=1)


class HeadNet(Backbone):
    """Objects as points on a feature pyramid, with distances to the sides of their boxes.

    CenterNet (Zhou et al. 2019, arXiv 1904.07850) and FCOS (Tian et al. 2019, arXiv 1904.01355). Takes RGB in [-1, 1],
    [N, 3, H, W] with H and W multiples of 32; returns a Level for each of the strides 8, 16 and 32.
    """

    def __init__(self, config: NetConfig | None = None) -> None:
        config = config or NetConfig()
        super().__init__(config.stem, config.stages, config.deep)
        self.config = config

        # Top-down: the feature pyramid; each stride detects its own range of sizes.
        self.side = nn.ModuleList([nn.Conv2d(width, config.top, 1) for width in config.stages])
        self.head = nn.ModuleList([Conv(config.top, config.top) for _ in STRIDES])
        answers = [nn.Conv2d(config.top, 5, 1) for _ in STRIDES]
        for layer in answers:
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:  # which the types allow
                nn.init.constant_(layer.bias[:1], -4.0)  # start with few heads (Lin et al. 2017, arXiv 1708.02002)
                nn.init.zeros_(layer.bias[1:])
        self.answer = nn.ModuleList(answers)
        self.portrait = Portrait(config) if config.embed else None

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
    """Convert the convolutions to channels-last memory in place, which is faster on a CPU; return the network."""
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def fold_norms(net: HeadNet) -> HeadNet:
    """Fold every batch normalization into its convolution in place, for faster inference; return the network."""
    backbone.fold_norms(net)
    return net


def grow(
    net: HeadNet,
    *,
    deep: int,  # extra blocks at stride 32
    embed: int,  # length of the embedding
) -> HeadNet:
    """Return a larger network that finds the same boxes: its new residual blocks start as the identity."""
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
    note: dict[str, str],  # for the metadata, such as what it was trained on
) -> None:
    """Write `net` as a safetensors file: weights in half precision, normalization and biases in full precision."""
    from safetensors.torch import save

    state = {}
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        half = value.ndim > 1  # convolutions and linear layers
        state[name] = (value.half() if half else value.float()).contiguous()
    metadata = {"format": FORMAT, "config": json.dumps(asdict(net.config)), **note}
    write_bytes(path, save(state, metadata))


def load_net(
    path: Path,
    flag: str = "--detector",  # option that messages name
) -> HeadNet:
    """Return the network in `path` in full precision and evaluation mode; raises FigmentError that names the file."""
    from safetensors import SafetensorError, safe_open

    need_file(path, flag)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise FigmentError(f"{flag} {path}: not a readable safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise FigmentError(f"{flag} {path}: format {metadata.get('format')!r}, must be a head detector ({FORMAT})")

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
        raise FigmentError(f"{flag} {path}: damaged head detector ({str(error).splitlines()[0]})") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise FigmentError(f"{flag} {path}: variables missing {missing[:3]} or unknown {unknown[:3]}")
    return net.eval()
