"""The network that judges parts of heads, with random and with the shipped weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from figment.base.errors import FigmentError
from figment.demo.styles import draw
from figment.score.features import to_rgb
from figment.score.parts import (
    PARTS,
    SHIPPED,
    PartsJudge,
    PartsNet,
    effective_kinds,
    kinds_covered,
    load_parts,
    save_parts,
)

KINDS = {"mouthVariant": ["a", "b"], "skinColor": ["#000000", "#ffffff", "#808080"]}


def head(seed, without=""):
    """An `adventurer` head on white, uint8 [3, 64, 64]."""
    image = np.asarray(draw("adventurer", seed, 64, without)).astype(np.float32).transpose(2, 0, 1)
    share = image[3:] / 255
    return np.rint(image[:3] * share + 255 * (1 - share)).astype(np.uint8)


@pytest.fixture(scope="module")
def judge():
    return PartsJudge()


def test_a_saved_network_gives_the_same_answers_without_its_normalizations(tmp_path):
    torch.manual_seed(0)
    net = PartsNet(KINDS)
    for _ in range(3):
        net(torch.randn(8, 3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    save_parts(net, tmp_path / "parts.safetensors", [0.5, 0.4, 0.3, 0.2])
    loaded, thresholds = load_parts(tmp_path / "parts.safetensors")
    assert thresholds == [0.5, 0.4, 0.3, 0.2] and loaded.attributes == KINDS
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loaded.modules())
    with torch.no_grad():
        (well, kinds), (again, others) = net.eval()(x), loaded(x)
    assert torch.allclose(well, again, atol=0.02)
    assert all(torch.allclose(kinds[name], others[name], atol=0.02) for name in KINDS)


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(FigmentError, match="none.safetensors"):
        load_parts(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(FigmentError, match=r"other.safetensors: not a network that judges parts \(its format is None"):
        load_parts(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(FigmentError, match="not a network that judges parts"):
        load_parts(tmp_path / "text.safetensors")


def test_the_shipped_weights_are_small():
    assert SHIPPED.stat().st_size < 2_000_000


def test_whole_heads_are_well_formed_and_missing_parts_are_found(judge):
    seeds = range(910_000, 910_020)
    whole = judge([head(seed) for seed in seeds])
    assert whole.chances.shape == (20, 4) and whole.well_formed.mean() >= 0.9
    for part in ("eyes", "hair"):
        without = judge([head(seed, part) for seed in seeds])
        assert without.well[:, PARTS.index(part)].mean() <= 0.3
        assert without.well_formed.mean() <= 0.3


def test_noise_is_no_face(judge):
    rng = np.random.default_rng(0)
    verdicts = judge([rng.integers(0, 256, (3, 64, 64), np.uint8) for _ in range(5)])
    assert not verdicts.well_formed.any()


def test_kinds_of_whole_heads_are_recognized(judge):
    from figment.demo.styles import parts

    seeds = range(910_000, 910_020)
    verdicts = judge([head(seed) for seed in seeds])
    for name, kinds in judge.attributes.items():
        chosen = [parts("adventurer", seed).get(name) for seed in seeds]  # None where a drawing has no such color
        known = np.array(
            [kinds.index(value[0] if isinstance(value, list) else value) if value else -1 for value in chosen]
        )
        there = known >= 0
        assert (verdicts.kinds[name] == known)[there].mean() >= 0.5, name


def test_any_image_can_be_judged(judge):
    large = to_rgb(head(910_001)).repeat(2, 1).repeat(2, 2)
    verdicts = judge([large, large[:1], np.concatenate([large, np.full_like(large[:1], 255)])])
    assert verdicts.well.shape == (3, 4) and np.allclose(verdicts.chances[0], verdicts.chances[2], atol=1e-5)
    assert judge([]).well_formed.shape == (0,)


def test_effective_kinds():
    assert effective_kinds(np.array([], np.int64)) == 0
    assert effective_kinds(np.array([3, 3, 3])) == pytest.approx(1)
    assert effective_kinds(np.array([0, 1, 2, 3] * 5)) == pytest.approx(4)
    assert 1 < effective_kinds(np.array([0] * 9 + [1])) < 2


def test_covered_kinds_are_shown_more_than_once():
    real = np.repeat(np.arange(4), 25)
    assert kinds_covered(real, real) == 1
    assert kinds_covered(np.array([0, 0, 0, 1, 1, 2]), real) == 0.5  # 2 is shown only once, 3 never
    assert kinds_covered(np.array([9] * 10), real) == 0
    rare = np.array([0] * 999 + [7])  # 7 is rarer than 1 in 500
    assert kinds_covered(np.zeros(10, np.int64), rare) == 1
