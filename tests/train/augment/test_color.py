"""Color augmentations, compared pixel by pixel with their definition in float64."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from figment.train.augment.color import color_matrix, recolor

AXIS = np.ones(3) / np.sqrt(3)


def reference(pixel, brightness, contrast, luma, hue, saturation):
    """Return one color [3], changed step by step."""
    pixel = (pixel + brightness) * contrast
    if luma:
        pixel = pixel - 2 * AXIS * (AXIS @ pixel)
    pixel = Rotation.from_rotvec(AXIS * hue).apply(pixel)
    grey = AXIS * (AXIS @ pixel)
    return grey + (pixel - grey) * saturation


CHANGES = [
    (0.3, 1, 0, 0, 1),
    (0, 1.7, 0, 0, 1),
    (0, 1, 1, 0, 1),
    (0, 1, 0, 2.1, 1),
    (0, 1, 0, 0, 0.3),
    (-0.2, 0.6, 1, -1.3, 2.5),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_change_and_all_together(change, channels):
    images = torch.rand(1, channels, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    seen = recolor(images, color_matrix(*torch.tensor([change], dtype=torch.float64).t()))
    for y, x in np.ndindex(4, 5):
        pixel = images[0, :, y, x].numpy()
        expected = reference(np.repeat(pixel, 3) if channels == 1 else pixel[:3], *change)
        expected = expected.mean(keepdims=True) if channels == 1 else np.concatenate([expected, pixel[3:]])
        assert seen[0, :, y, x].numpy() == pytest.approx(expected, abs=1e-12)


def test_no_change_is_the_identity_exactly():
    none = color_matrix(*torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]]).t())
    assert torch.equal(none[0], torch.eye(4))
    for channels in (1, 3, 4):
        images = torch.randn(1, channels, 4, 4)
        assert torch.equal(recolor(images, none), images)


def test_black_and_white_trade_places_where_luma_flips():
    flip = color_matrix(*torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]]).t())
    white, red = torch.ones(1, 3, 1, 1), torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    assert torch.allclose(recolor(white, flip), -white, atol=1e-6)
    seen = recolor(red, flip).flatten()
    assert seen[0] > seen[1] and seen[1].item() == pytest.approx(seen[2].item(), abs=1e-6)  # still red
