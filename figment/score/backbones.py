"""Feature networks by name: the head detector's backbone, the judge of parts, the published Inception, ONNX files."""

from __future__ import annotations

import hashlib
import os
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import atomic, need_file
from figment.base.pixels import to_unit
from figment.base.progress import say
from figment.heads.network import SHIPPED, HeadNet, channels_last, fold_norms, load_net
from figment.score.features import FeatureNetwork
from figment.score.parts import SHIPPED as PARTS_FILE
from figment.score.parts import SIZE, load_parts

INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
INCEPTION_BYTES = 95_607_719
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"

GPU_BLOCK = 32

SPREAD = (0.81, 1.09, 1.24, 2.09)
"""Square root of the summed variances of each level's channel means, over 1,000 heads of four art styles at 128 px."""

PARTS_SPREAD = (0.74, 0.94, 0.86, 1.48)
"""The same for the levels of the network of parts, at 64 px."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation by which most photo classifiers normalize RGB."""


class Heads(FeatureNetwork):
    """The backbone of the shipped head detector: the mean of each channel at strides 4, 8, 16 and 32.

    It was trained on drawn heads, not photographs. Shallow strides see noise, blur and line work, deep ones the parts
    of a head. On drawn heads, each of the four levels alone detects each of these changes; adding standard deviations
    did not help. Each level is divided by its spread, so that all four weigh the same. 128 pixels is the size at which
    the levels are most sensitive.
    """

    name, label, size, dim, scale = "heads", "heads", 128, 320, 1.0

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.block = GPU_BLOCK if self.device.type == "cuda" else self.block
        self.net: HeadNet = channels_last(fold_norms(load_net(SHIPPED))).to(self.device).requires_grad_(False)
        self.name = f"heads-{_sha256(SHIPPED)[:8]}"  # other weights must not use these cached statistics

    def levels(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of float32 [N, 3, H, W] in [-1, 1]: [N, C, H/4, W/4] to [N, C, H/32, W/32]."""
        return self.net.features(x.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def compute(self, pixels: Tensor) -> np.ndarray:
        levels = self.levels(to_unit(pixels.to(self.device)))
        parts = [level.mean((2, 3)) / spread for level, spread in zip(levels, SPREAD, strict=True)]
        features: np.ndarray = torch.cat(parts, 1).cpu().numpy()  # [N, 32 + 64 + 96 + 128]
        return features


class Parts(FeatureNetwork):
    """The network that judges the parts of a head (`figment.score.parts`): no discriminator looks through it.

    The mean of each channel at strides 2, 4, 8 and 16; each level is divided by its spread, so that all weigh the same.
    The vector from which it reads its answers made scores less sensitive, and so did standard deviations.
    """

    name, label, size, dim, scale = "parts", "parts", SIZE, 268, 1.0

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.block = GPU_BLOCK if self.device.type == "cuda" else self.block
        self.net = load_parts(PARTS_FILE)[0].to(self.device)
        self.name = f"parts-{_sha256(PARTS_FILE)[:8]}"  # other weights must not use these cached statistics

    @torch.inference_mode()
    def compute(self, pixels: Tensor) -> np.ndarray:
        levels = self.net.features(to_unit(pixels.to(self.device)).contiguous(memory_format=torch.channels_last))
        parts = [level.mean((2, 3)) / spread for level, spread in zip(levels, PARTS_SPREAD, strict=True)]
        features: np.ndarray = torch.cat(parts, 1).cpu().numpy()  # [N, 20 + 40 + 80 + 128]
        return features


class Inception(FeatureNetwork):
    """Inception of 2015-12-05 as TorchScript, the network of FID (Heusel et al. 2017, arXiv 1706.08500), behind clean
    resizing (Parmar et al. 2022, arXiv 2104.11222)."""

    name, label, size, dim, scale = "inception", "", 299, 2048, 1.0

    def __init__(
        self,
        path: Path | None = None,  # the file; None takes the cached one and fetches it once
        device: str = "cpu",
    ) -> None:
        path = need_file(path, "--features inception") if path else fetch_inception()
        self.device = torch.device(device)
        self.block = GPU_BLOCK if self.device.type == "cuda" else self.block
        try:
            # TorchScript is deprecated, but the published file uses it. It holds no pickled objects.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                net: Any = torch.jit.load(str(path), map_location=self.device).eval()
            self.layers = net.layers
        except (RuntimeError, AttributeError, ValueError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FigmentError(
                f"--features inception {path}: not the TorchScript file that {INCEPTION_URL} holds ({why})"
            ) from None

    @torch.inference_mode()
    def compute(self, pixels: Tensor) -> np.ndarray:
        x = self.layers((pixels.to(self.device) - 128) / 128)
        features: np.ndarray = x.reshape(len(pixels), -1).float().cpu().numpy()  # [N, 2048, 1, 1] -> [N, 2048]
        return features


def fetch_inception(
    folder: Path | None = None,  # where to keep it; None means ~/.cache/figment, or below XDG_CACHE_HOME
    url: str = INCEPTION_URL,
    sha256: str = INCEPTION_SHA256,
    size: int = INCEPTION_BYTES,
) -> Path:
    """Return the path of the cached Inception file; announce its source, size and checksum before fetching it.

    Raises FigmentError if it can't be fetched or has another checksum.
    """
    folder = folder or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "figment"
    path = folder / url.rpartition("/")[2]
    if path.is_file() and _sha256(path) == sha256:
        return path
    say(
        f"fetching {url}\n  {size / 1e6:.1f} MB, SHA-256 {sha256}\n  to {path}; "
        "--features inception=FILE takes a file you have"
    )
    try:
        with atomic(path) as temporary:
            with urllib.request.urlopen(url, timeout=60) as answer, temporary.open("wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
            found = _sha256(temporary)
            if found != sha256:
                raise FigmentError(f"{url}: the download has SHA-256 {found} and not {sha256}; it was thrown away")
    except (OSError, ValueError) as error:
        raise FigmentError(
            f"--features inception: can't fetch {url} ({error}); give a local file as "
            "--features inception=FILE, or use --features heads"
        ) from None
    return path


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Onnx(FeatureNetwork):
    """One output of an ONNX file, flattened to [N, D]."""

    def __init__(
        self,
        path: Path,
        output: str,  # name of the output
        values: str = "unit",  # range of the input: unit ([-1, 1]), byte (0 to 255) or imagenet (normalized)
        device: str = "cpu",
    ) -> None:
        flag = f"--features {path}:{output}"
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise FigmentError(f"{flag}: needs the extra `onnx`: pip install 'figment-gan[onnx]'") from None
        need_file(path, "--features")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        use = [*(["CUDAExecutionProvider"] if device.startswith("cuda") else []), "CPUExecutionProvider"]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=use)
        except Exception as error:
            raise FigmentError(f"{flag}: not a readable ONNX file ({str(error).splitlines()[0]})") from None
        names = [found.name for found in self.session.get_outputs()]
        if output not in names:
            raise FigmentError(f"{flag}: no output of that name; it has {', '.join(names)}")
        first = self.session.get_inputs()[0]
        if len(first.shape) != 4 or first.shape[1] != 3 or not isinstance(first.shape[2], int):
            raise FigmentError(f"{flag}: its input {first.name} is {first.shape}, must be [N, 3, size, size]")

        self.input, self.output, self.values = first.name, output, values
        self.size = first.shape[2]
        self.block = first.shape[0] if isinstance(first.shape[0], int) else self.block
        self.label = f"{path.stem}.{output}"
        self.name = f"{path.stem}-{output}-{values}-{_sha256(path)[:8]}"

        # Measure the length and the usual magnitude of its features on noise.
        probe = np.random.default_rng(0).uniform(0, 255, (self.block, 3, self.size, self.size)).astype(np.float32)
        features = self.compute(torch.from_numpy(probe))
        self.dim = features.shape[1]
        self.scale = 2.0 ** np.ceil(np.log2(max(float(np.abs(features[0]).mean()), 1e-30)))

    def compute(self, pixels: Tensor) -> np.ndarray:
        if self.values == "byte":
            x = pixels
        elif self.values == "imagenet":
            mean, std = (torch.tensor(part)[:, None, None] for part in IMAGENET)
            x = (pixels / 255 - mean) / std
        else:
            x = to_unit(pixels)
        found = self.session.run([self.output], {self.input: x.numpy()})[0]
        return np.asarray(found, np.float32).reshape(len(pixels), -1)


def open_features(
    text: str = "heads",  # heads, parts, inception, inception=FILE, or FILE.onnx:OUTPUT[:unit|byte|imagenet]
    device: str = "cpu",
) -> FeatureNetwork:
    """Return the feature network that `text` names; raises FigmentError if there is none."""
    name, _, rest = text.partition("=")
    if text == "heads":
        return Heads(device)
    if text == "parts":
        return Parts(device)
    if name == "inception":
        return Inception(Path(rest) if rest else None, device)
    stem, dot, tail = text.partition(".onnx:")
    if dot:
        output, _, values = tail.partition(":")
        if values not in ("", "unit", "byte", "imagenet"):
            raise FigmentError(
                f"--features {text}: the range of the input is {values!r}; must be unit, byte or imagenet"
            )
        return Onnx(Path(stem + ".onnx"), output, values or "unit", device)
    raise FigmentError(f"--features {text}: must be heads, parts, inception, inception=FILE or FILE.onnx:OUTPUT")
