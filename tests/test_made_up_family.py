"""A family that figment does not know: from this file alone it trains, resumes, draws, blends, exports and converts."""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from figment.base.pixels import write_png
from figment.cli import app
from figment.models import convert, load
from figment.nets.base import Discriminator, DiscriminatorConfig, Family, GeneratorConfig
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.registry import families, register
from figment.nets.surgery import Surgery
from figment.pack.zips import pack
from figment.web.compose import Composer
from figment.web.recipe import parse_recipe

LAYERS = 3


@dataclass(frozen=True)
class ToyConfig(GeneratorConfig):
    w_dim: int = 8
    width: int = 6


class ToyGenerator(StyleGenerator):
    """Three convolutions at full size; each scales its inputs by a style."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.size, self.widths = (config.resolution, config.resolution), [config.width] * LAYERS
        self.w_dim, self.num_layers = config.w_dim, LAYERS
        outputs = [*self.widths[1:], config.channels]
        self.mapper = Mapping(config.z_dim, config.c_dim, config.w_dim, depth=2)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.randn(config.width, *self.size))
        self.styles = nn.ModuleList(nn.Linear(config.w_dim, config.width) for _ in range(LAYERS))
        self.convs = nn.ModuleList(nn.Conv2d(config.width, out, 3, padding=1) for out in outputs)

    def synthesis(self, w, noise="const", generator=None):
        x = self.const[None]  # [1, C, H, W]
        for layer, (style, conv) in enumerate(zip(self.styles, self.convs, strict=True)):
            x = conv(F.leaky_relu(x, 0.2) * style(w[:, layer])[:, :, None, None])
        return x

    def layer_of(self, name):
        self.require_weight(name)
        part, _, rest = name.partition(".")
        return None if part in ("mapper", "w_avg") else int(rest[0]) if part in ("styles", "convs") else 0

    def style_weights(self):
        return [style.weight for style in self.styles]


class ToyDiscriminator(Discriminator):
    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__(config)
        self.size, self.widths = (config.resolution, config.resolution), [6]
        self.conv = nn.Conv2d(config.channels, 6, 3, stride=2, padding=1)
        self.out = nn.Linear(6, 1)

    def features(self, x):
        return [F.softplus(self.conv(x))]

    def forward(self, x, c=None):
        return self.out(self.features(x)[0].mean([2, 3])).float()

    def freeze_order(self):
        return [self.conv]


TOY = Family(
    "toy",
    generator=ToyGenerator,
    generator_config=ToyConfig,
    discriminator=ToyDiscriminator,
    discriminator_config=DiscriminatorConfig,
    bands={"shape": (0, 1), "color": (1, LAYERS)},
)


# --- What figment does with it


@pytest.fixture(scope="module", autouse=True)
def known():
    register(TOY)


def figment(*arguments):
    """Run a command and return its output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set, and a run of 40 steps."""
    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    for i in range(8):
        write_png(folder / "in" / f"{i}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    pack(folder / "in", folder / "data.zip", resolution=16)
    train(folder, "whole", kimg=0.16)
    return folder


def train(folder, runs, kimg):
    """Train to `kimg` in steps of four images."""
    small = ["--batch", 4, "--z-dim", 8, "--w-dim", 8, "--path-weight", 2, "--tick-kimg", 0.16, "--score-ticks", 0]
    figment("train", folder / "data.zip", "-o", folder / runs, "--family", "toy", "--kimg", kimg, *small)


def test_it_trains_and_moves(folder):
    model = load(folder / "whole" / "00000-data")
    assert model.g_ema.family is TOY and model.config["kimg"] == 0.16
    torch.manual_seed(0)
    fresh = TOY.build_generator(model.g_ema.settings())
    assert not torch.equal(model.g_ema.const, fresh.const)
    assert model.g_ema.w_avg.abs().sum() > 0


def test_40_steps_equal_23_and_the_rest_bit_for_bit(folder):
    train(folder, "cut", kimg=0.092)
    run = folder / "cut" / "00000-data"
    figment("train", "--resume", "-o", run, "--kimg", 0.16)
    whole = folder / "whole" / "00000-data"
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_it_draws_mixes_and_blends(folder, tmp_path):
    model = folder / "whole" / "00000-data"
    figment("sample", model, "-o", tmp_path / "a", "--seeds", "0-3")
    figment("mix", model, "-o", tmp_path / "mix.png", "--rows", "0-1", "--columns", "2-3", "--layers", "shape")
    train(folder, "other", kimg=0.02)
    other = folder / "other" / "00000-data"
    for layers in ("shape", "color", "0-2"):
        figment("sample", model, "-o", tmp_path / layers, "--seeds", "0-3", "--blend", other, "--blend-layers", layers)
        blended = (tmp_path / layers / "grid.png").read_bytes()
        assert blended != (tmp_path / "a" / "grid.png").read_bytes()


def test_its_bands_vary_and_spell_recipes(folder, tmp_path):
    model = folder / "whole" / "00000-data"
    figment("augment", model, "-o", tmp_path / "all", "--images", 2)
    figment("augment", model, "-o", tmp_path / "one", "--images", 2, "--hold", 1, "--vary", "color")
    assert len(list((tmp_path / "one" / "generated").glob("*.png"))) == 2

    g = load(model).generator
    composer = Composer(g, lambda key: None)
    w = [composer.w(parse_recipe(text, bands=g.family.bands)) for text in ("1", "2", "1;2")]
    first, stop = g.family.bands["shape"]
    assert torch.equal(w[2][first:stop], w[0][first:stop]) and torch.equal(w[2][stop:], w[1][stop:])


@pytest.mark.slow
def test_it_exports_to_onnx_and_is_edited(folder, tmp_path):
    pytest.importorskip("onnxruntime")
    model = shutil.copytree(folder / "whole" / "00000-data", tmp_path / "run")
    assert "largest difference from PyTorch" in figment("export", model, "-o", tmp_path / "net.onnx")
    figment("edit", model, "--find", "sefa", "-o", tmp_path / "sheet.png")


def test_it_is_converted_and_described(folder, tmp_path):
    out = tmp_path / "toy.safetensors"
    model, _ = convert(folder / "whole" / "00000-data", out)
    again = load(out)
    assert all(torch.equal(a, b) for a, b in zip(model.g_ema.parameters(), again.g_ema.parameters(), strict=True))
    assert "family        toy" in figment("info", out)


def test_an_unknown_layer_is_an_error_and_a_name_can_be_taken_once(folder):
    g = load(folder / "whole" / "00000-data").g_ema
    with pytest.raises(ValueError, match="no weight of this toy generator"):
        g.layer_of("blocks.0.conv1.weight")
    with pytest.raises(ValueError, match="already a family toy"):
        register(Family("toy", ToyGenerator, ToyConfig, ToyDiscriminator, DiscriminatorConfig, surgery=Surgery()))
    assert families()["toy"] is TOY
