"""The maths of the two phases."""

import pytest
import torch

from figment.nets.registry import build_discriminator
from figment.train.phases import score_pair


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
