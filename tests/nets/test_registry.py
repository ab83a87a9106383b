"""Families by name, and what each says of its discriminator."""

import pytest

from figment.base.errors import FigmentError
from figment.nets.registry import NAMES, build_discriminator, families, get_family


def test_the_names_are_those_of_the_built_in_families():
    assert tuple(families())[: len(NAMES)] == NAMES


def test_an_unknown_family_is_one_line():
    with pytest.raises(FigmentError, match="family 'vqgan': must be one of stylegan2, "):
        get_family("vqgan")


@pytest.mark.parametrize(
    ("name", "group", "first"),
    [
        ("stylegan2", 4, "from_rgb"),
        ("stylegan1", 4, "from_rgb"),
        ("progan", 4, "from_rgb"),
        ("lucidrains", 1, "blocks.0."),
    ],
)
def test_freezing_starts_at_the_image(name, group, first):
    d = build_discriminator({"family": name, "resolution": 16})
    names = {module: path for path, module in d.named_modules()}
    assert names[d.freeze_order()[0]].startswith(first)
    assert d.minibatch_group == group
    if name != "lucidrains":
        assert build_discriminator({"family": name, "resolution": 16, "mbstd_channels": 0}).minibatch_group == 1


def test_an_unknown_kind_of_discriminator_is_one_line():
    with pytest.raises(FigmentError, match="stylegan2 discriminator: .*kind"):
        build_discriminator({"family": "stylegan2", "kind": "unheard-of", "resolution": 16})
