import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.score.backbones import Heads, Inception, Parts, fetch_inception, open_features

ONNX = Path(__file__).parents[1] / "data" / "features_tiny.onnx"


@pytest.fixture(scope="module")
def heads():
    return Heads()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, 16, 16), np.uint8) for _ in range(10)]


def test_heads_gives_every_level_the_same_weight(heads, images):
    found = heads(images)
    assert found.shape == (10, 320) and found.dtype == np.float32 and heads.labels == ("FD-heads", "KD-heads")
    assert heads.name.startswith("heads-") and np.isfinite(found).all() and (found >= 0).all()


def test_a_pictures_features_do_not_depend_on_its_company(heads, images):
    found = heads(images)
    order = [7, 2, 9, 0, 1, 3, 8, 4, 6, 5]
    assert np.array_equal(heads([images[i] for i in order]), found[order])
    assert np.array_equal(heads(images[3:4])[0], found[3])


def test_parts_gives_features_of_its_own(images):
    parts = Parts()
    found = parts(images)
    assert found.shape == (10, 268) and found.dtype == np.float32 and parts.labels == ("FD-parts", "KD-parts")
    assert parts.name.startswith("parts-") and np.isfinite(found).all() and (found >= 0).all()
    assert np.array_equal(parts(images[3:4])[0], found[3])


class FakeInception(torch.nn.Module):
    """What the TorchScript file has: `layers`, on pixels from -1 to 1."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(3, 2048, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.pt"
    with torch.no_grad():
        net = FakeInception().eval()
        net.layers[1].weight.copy_(torch.eye(3).repeat(683, 1)[:2048, :, None, None])
        net.layers[1].bias.zero_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(net).save(str(path))
    return path


def test_inception_gets_pixels_as_its_authors_gave_them(inception_file, images):
    net = Inception(inception_file)
    found = net(images)
    assert found.shape == (10, 2048) and net.labels == ("FID", "KID") and net.size == 299
    clean = np.mean([image.astype(float).mean((1, 2)) for image in images], 0)
    assert np.allclose(found.mean(0)[:3], (clean - 128) / 128, atol=0.01)


def test_a_file_that_is_no_torchscript_is_one_line(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"something else")
    with pytest.raises(FigmentError, match="net.pt: not the TorchScript file") as caught:
        open_features(f"inception={tmp_path / 'net.pt'}")
    assert "\n" not in str(caught.value)


def test_fetching_says_size_and_checksum_first_and_checks_it(tmp_path, capsys):
    source = tmp_path / "inception.pt"
    source.write_bytes(b"weights")
    good = hashlib.sha256(b"weights").hexdigest()
    path = fetch_inception(tmp_path / "cache", source.as_uri(), good, 7_000_000)
    assert path.read_bytes() == b"weights"
    told = capsys.readouterr().out
    assert source.as_uri() in told and "7.0 MB" in told and good in told

    # The second time nothing is fetched; a wrong file is thrown away.
    source.unlink()
    assert fetch_inception(tmp_path / "cache", source.as_uri(), good, 7) == path and capsys.readouterr().out == ""
    source.write_bytes(b"other")
    with pytest.raises(FigmentError, match="thrown away"):
        fetch_inception(tmp_path / "other", source.as_uri(), good, 7)
    assert not list((tmp_path / "other").iterdir())
    source.unlink()
    with pytest.raises(FigmentError, match="can't fetch"):
        fetch_inception(tmp_path / "other", source.as_uri(), good, 7)


@pytest.mark.parametrize(
    "text, message",
    [
        ("clip", "must be heads, parts, inception"),
        ("inception=none.pt", "no such file"),
        ("none.onnx:out:grey", "must be unit, byte or imagenet"),
    ],
)
def test_unknown_names_are_one_line(text, message):
    with pytest.raises(FigmentError, match=message):
        open_features(text)


def test_an_onnx_files_output_is_taken_by_name(images):
    pytest.importorskip("onnxruntime")
    net = open_features(f"{ONNX}:pooled:byte")
    assert (net.size, net.dim, net.labels) == (8, 3, ("FD-features_tiny.pooled", "KD-features_tiny.pooled"))
    assert np.allclose(net(images), [image.mean((1, 2)) for image in images], atol=2)
    assert np.allclose(open_features(f"{ONNX}:pooled")(images), net(images) / 127.5 - 1, atol=1e-4)
    with pytest.raises(FigmentError, match="it has pooled"):
        open_features(f"{ONNX}:other")
