"""A small network that recognizes the parts of a drawn head and says whether they are well formed.

judge = PartsJudge()
verdicts = judge([image, ...])       # uint8 [C, H, W]
verdicts.well_formed                 # bool [N]: eyes, eyebrows, mouth and hair are all well formed

It was trained on drawings of DiceBear's styles and on drawings with known faults (runs/parts/train_parts.py), never on
pictures of a generator, and shares nothing with the head detector, whose features a discriminator may look through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from figment.base.errors import FigmentError
from figment.base.files import need_file, write_bytes
from figment.base.pixels import to_unit
from figment.score.features import resize_clean

SHIPPED = Path(__file__).parent / "weights" / "parts.safetensors"
"""Weights in the package; MODEL_CARD.md says what they were trained on."""
FORMAT = "figment-parts-1"
SIZE = 64
"""Side of its input in pixels."""
PARTS = ("eyes", "eyebrows", "mouth", "hair")
"""Parts of a head that it calls well formed or not."""
WIDTHS = (20, 40, 80, 128)
"""Channels at strides 2, 4, 8 and 16."""
FINE = 24
"""Channels of the features at stride 8 that answers are read from, beside those at stride 16: eyes are small."""
HIDDEN = 128
"""Length of the vector from which all answers are read."""
BATCH = 64
"""Images in a forward pass."""


class Layer(nn.Sequential):
    """3x3 convolution, batch normalization (a bias once it is folded) and ReLU."""

    def __init__(self, into: int, out: int, stride: int, norm: bool) -> None:
        convolution = nn.Conv2d(into, out, 3, stride, 1, bias=not norm)
        super().__init__(convolution, nn.BatchNorm2d(out) if norm else nn.Identity(), nn.ReLU())


class PartsNet(nn.Module):
    """Plain convolutions on 2x2 pixels as channels, two layers for each stride, the second one residual."""

    def __init__(
        self,
        attributes: dict[str, list[str]],  # kinds of each attribute: {"mouthVariant": ["variant01", ...], ...}
        norm: bool = True,  # False for a network whose normalizations are folded into its convolutions
    ) -> None:
        super().__init__()
        self.attributes = attributes
        inputs = (12, *WIDTHS[:-1])
        strides = (1, 2, 2, 2)
        self.down = nn.ModuleList(
            [Layer(into, out, stride, norm) for into, out, stride in zip(inputs, WIDTHS, strides, strict=True)]
        )
        self.same = nn.ModuleList([Layer(width, width, 1, norm) for width in WIDTHS])
        self.fine = nn.Conv2d(WIDTHS[-2], FINE, 1)
        self.hidden = nn.Linear(FINE * (SIZE // 8) ** 2 + WIDTHS[-1] * (SIZE // 16) ** 2, HIDDEN)
        self.well = nn.Linear(HIDDEN, len(PARTS))
        self.kinds = nn.ModuleDict({name: nn.Linear(HIDDEN, len(kinds)) for name, kinds in attributes.items()})

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of images [N, 3, H, W] in [-1, 1]: [N, C, H/2, W/2] to [N, C, H/16, W/16]."""
        x = nn.functional.pixel_unshuffle(x, 2)  # [N, 3, H, W] -> [N, 12, H/2, W/2]
        found = []
        for down, same in zip(self.down, self.same, strict=True):
            x = down(x)
            x = x + same(x)
            found.append(x)
        return found

    def embed(self, features: list[Tensor]) -> Tensor:
        """Return the vectors [N, HIDDEN] from which answers are read, from `features` of 64 px images."""
        fine, coarse = self.fine(features[-2]), features[-1]  # [N, 24, 8, 8], [N, 128, 4, 4]
        found: Tensor = torch.relu(self.hidden(torch.cat([fine.flatten(1), coarse.flatten(1)], 1)))
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits that each part is well formed, [N, 4], and logits of each attribute's kinds, [N, K]."""
        hidden = self.embed(self.features(x))
        return self.well(hidden), {name: layer(hidden) for name, layer in self.kinds.items()}


def fold_norms(net: PartsNet) -> PartsNet:
    """Return a network without normalizations that gives the same answers as `net` in evaluation mode."""
    folded = PartsNet(net.attributes, norm=False).eval()
    weights = {name: value for name, value in net.state_dict().items() if name in folded.state_dict()}
    for name, module in net.eval().named_modules():
        if isinstance(module, Layer) and isinstance(module[0], nn.Conv2d) and isinstance(module[1], nn.BatchNorm2d):
            fused = fuse_conv_bn_eval(module[0], module[1])
            weights |= {f"{name}.0.weight": fused.weight, f"{name}.0.bias": fused.bias}
    folded.load_state_dict(weights)
    return folded


def save_parts(
    net: PartsNet,
    path: Path,
    thresholds: list[float],  # probability from which each of PARTS counts as well formed
) -> None:
    """Write the folded network in half precision."""
    weights = {name: value.half().contiguous() for name, value in fold_norms(net).state_dict().items()}
    record = {
        "format": FORMAT,
        "attributes": json.dumps(net.attributes),
        "thresholds": json.dumps(thresholds),
    }
    write_bytes(path, save(weights, record))


def load_parts(path: Path) -> tuple[PartsNet, list[float]]:
    """Return the network in `path`, in evaluation mode, and its thresholds; raise FigmentError if it holds none."""
    need_file(path, "network of parts")
    try:
        with safe_open(path, "pt") as file:
            record = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if record.get("format") != FORMAT:
            raise ValueError(f"its format is {record.get('format')!r}")
        net = PartsNet(json.loads(record["attributes"]), norm=False).eval().requires_grad_(False)
        net.load_state_dict(weights)
        return net, [float(value) for value in json.loads(record["thresholds"])]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FigmentError(f"{path}: not a network that judges parts ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class Verdicts:
    """What the network says of some images."""

    chances: np.ndarray
    """Probability that each of PARTS is well formed, float32 [N, 4]."""
    well: np.ndarray
    """Whether each of PARTS is well formed, bool [N, 4]."""
    kinds: dict[str, np.ndarray]
    """Index of the most likely kind of each attribute, int64 [N]."""

    @property
    def well_formed(self) -> np.ndarray:
        """Whether all parts are well formed, bool [N]."""
        return np.asarray(self.well.all(1))


class PartsJudge:
    """Judges heads on white, drawn like those of DiceBear's `adventurer`, at 64x64 pixels."""

    def __init__(
        self,
        path: Path = SHIPPED,
        device: str = "cpu",
    ) -> None:
        net, self.thresholds = load_parts(path)
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.attributes = net.attributes

    @torch.inference_mode()
    def __call__(self, images: list[np.ndarray]) -> Verdicts:
        """Judge images uint8 [C, H, W] of any size with 1, 3 or 4 channels."""
        chances: list[np.ndarray] = []
        kinds: dict[str, list[np.ndarray]] = {name: [] for name in self.attributes}
        for start in range(0, len(images), BATCH):
            pixels = np.stack([resize_clean(image, SIZE) for image in images[start : start + BATCH]])
            well, answers = self.net(to_unit(torch.from_numpy(pixels).to(self.device)))
            chances.append(well.sigmoid().cpu().numpy())
            for name, logits in answers.items():
                kinds[name].append(logits.argmax(1).cpu().numpy())
        joined = np.concatenate(chances) if chances else np.zeros((0, len(PARTS)), np.float32)
        return Verdicts(
            joined,
            joined >= np.array(self.thresholds, np.float32),
            {name: np.concatenate(found) if found else np.zeros(0, np.int64) for name, found in kinds.items()},
        )


def effective_kinds(
    kinds: np.ndarray,  # index of each image's kind, int64 [N]
) -> float:
    """Return the effective number of kinds: the exponential of the entropy of their shares; 0 without images."""
    if len(kinds) == 0:
        return 0.0
    shares = np.unique(kinds, return_counts=True)[1] / len(kinds)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def kinds_covered(
    fake: np.ndarray,  # index of each fake's kind, int64 [N]
    real: np.ndarray,  # the same for the data, int64 [M]
) -> float:
    """Return the share of the data's kinds that fakes show, at a tenth of the data's rate or more and at least twice.

    The data's kinds are those of at least 1 in 500 of its images. A single wrong answer therefore covers nothing.
    """
    names, counts = np.unique(real, return_counts=True)
    known = [(name, count / len(real)) for name, count in zip(names, counts, strict=True) if count * 500 >= len(real)]
    found = [bool((fake == name).sum() >= max(2.0, 0.1 * share * len(fake))) for name, share in known]
    return float(sum(found) / max(len(found), 1))
