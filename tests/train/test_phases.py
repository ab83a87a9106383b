"""The maths of the two phases."""

import pytest
import torch

from figment.nets.registry import build_discriminator
from figment.train.phases import blur, score_pair


@pytest.mark.parametrize(
    ("batch", "group", "channels"), [(8, 4, 1), (4, 4, 1), (2, 4, 1), (6, 4, 1), (6, 0, 1), (4, 4, 0)]
)
def test_scoring_both_batches_in_one_pass_gives_the_logits_of_each_alone(batch, group, channels):
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "stylegan2", "resolution": 8, "channel_base": 64, "mbstd_group": group, "mbstd_channels": channels}
    )
    real, fake = torch.randn(2, batch, 3, 8, 8)
    for [mine], alone in zip(score_pair(d, real, fake), (d(real), d(fake)), strict=True):
        torch.testing.assert_close(mine, alone, rtol=1e-5, atol=1e-6)


def test_a_blur_halves_the_weight_at_sigma_and_ends_at_three_sigma():
    dot = torch.zeros(1, 2, 31, 31)
    dot[:, :, 15, 15] = 1
    found = blur(dot, torch.tensor(2.5), reach=12)
    line = found[0, 0, 15] / found[0, 0, 15, 15]
    expected = [2 ** -((d / 2.5) ** 2) for d in range(8)] + [0.0] * 8
    torch.testing.assert_close(line[15:], torch.tensor(expected))
    torch.testing.assert_close(line, line.flip(0))
    torch.testing.assert_close(found.sum((2, 3)), torch.ones(1, 2))
