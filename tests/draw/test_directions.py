"""Directions on a tiny generator: found, fitted, saved, applied."""

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.directions import (
    apply_directions,
    directions_path,
    label_direction,
    load_directions,
    pca_directions,
    rename,
    sample_w,
    save_directions,
    sefa_directions,
)
from figment.nets.registry import build_generator


@pytest.fixture(scope="module")
def g():
    torch.manual_seed(0)
    return build_generator(
        {"family": "stylegan2", "z_dim": 8, "w_dim": 8, "resolution": 16, "channel_base": 64, "map_depth": 2}
    ).eval()


@pytest.mark.parametrize("find", [sefa_directions, pca_directions])
def test_directions_are_unit_vectors_at_right_angles(g, find):
    found = find(g, 5)
    vectors = torch.stack([direction.vector for direction in found])
    assert torch.allclose(vectors @ vectors.t(), torch.eye(5), atol=1e-4)
    assert all(direction.scale > 0 and direction.layers == (0, g.num_layers) for direction in found)


def test_sefas_first_direction_moves_styles_the_most(g):
    found = sefa_directions(g, 8)
    rows = torch.cat([module.weight for name, module in g.named_modules() if name.endswith(".affine")])
    rows = (rows / rows.norm(dim=1, keepdim=True)).detach()
    moved = [float((rows @ direction.vector).norm()) for direction in found]
    assert moved == sorted(moved, reverse=True) and moved[0] > moved[-1]


def test_pcas_first_direction_has_the_most_spread(g):
    scales = [direction.scale for direction in pca_directions(g, 6)]
    assert scales == sorted(scales, reverse=True)


def test_other_families_have_styles_too_but_progan_has_none():
    small = {"z_dim": 8, "resolution": 16, "channel_base": 64}
    g = build_generator({"family": "stylegan1", "w_dim": 8, "map_depth": 2} | small)
    assert len(sefa_directions(g, 3)) == 3
    with pytest.raises(FigmentError, match="no styles"):
        sefa_directions(build_generator({"family": "progan"} | small), 3)


def test_a_labelled_property_is_found(g):
    w = sample_w(g, 300)
    truth = torch.nn.functional.normalize(torch.randn(8, generator=torch.Generator().manual_seed(4)), dim=0)
    direction = label_direction(g, "wisdom", w, (w @ truth > (w @ truth).median()).float().tolist())
    moved = apply_directions(w[:, None].expand(-1, g.num_layers, -1), [(direction, 2.0)])[:, 0]
    assert float(((moved - w) @ truth).mean()) > 0
    values = (w @ truth).numpy()
    assert np.corrcoef((w @ direction.vector).numpy(), values)[0, 1] > 0.7
    with pytest.raises(FigmentError, match="'age'"):
        label_direction(g, "age", w[:5], [1, 1, 1, 1, 1])


def test_a_move_keeps_to_its_layers_and_is_measured_in_deviations(g):
    direction = rename(sefa_directions(g, 1)[0], "hair", (2, 4))
    w = torch.zeros(1, g.num_layers, 8)
    moved = apply_directions(w, [(direction, -1.5)])
    assert torch.equal(moved[:, :2], w[:, :2]) and torch.equal(moved[:, 4:], w[:, 4:])
    assert moved[0, 2].norm().item() == pytest.approx(1.5 * direction.scale, rel=1e-5)
    assert torch.equal(w, torch.zeros_like(w))


def test_saved_directions_come_back_and_a_name_is_replaced(g, tmp_path):
    model = tmp_path / "net.safetensors"
    assert load_directions(model) == []
    first, second = sefa_directions(g, 2)
    save_directions(model, [rename(first, "hair", (0, 3)), second])
    save_directions(model, [rename(second, "hair")])
    found = {direction.name: direction for direction in load_directions(model)}
    assert list(found) == ["hair", "sefa-2"] and torch.equal(found["hair"].vector, second.vector)
    directions_path(model).write_bytes(b"nonsense")
    with pytest.raises(FigmentError, match="damaged directions"):
        load_directions(model)
