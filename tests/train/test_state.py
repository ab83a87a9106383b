import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch

from figment.base.errors import FigmentError
from figment.models import load
from figment.train.augment import DRAWS_VERSION
from figment.train.config import resolve
from figment.train.state import (
    CHECKPOINT_FORMAT,
    STARTS,
    State,
    checkpoints,
    init_path,
    load_newest,
    new_state,
    save_checkpoint,
    step_randomness,
    upgrade,
)
from tests.train.conftest import TINY, changed

CPU = torch.device("cpu")


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.g.state_dict().values(), b.g.state_dict().values(), strict=True))


def test_a_state_comes_back_from_its_newest_whole_checkpoint(tmp_path, tiny):
    state = new_state(tiny, CPU)
    for nimg in (100, 200, 300):
        state.nimg = nimg
        torch.nn.init.constant_(state.g.w_avg, nimg)
        save_checkpoint(tmp_path, state, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["img000000200.pt", "img000000300.pt"]

    # The newest is damaged: the one before it is taken, and a line says so.
    checkpoints(tmp_path)[1].write_bytes(checkpoints(tmp_path)[1].read_bytes()[:5000])
    fresh = new_state(tiny, CPU)
    lines = load_newest(tmp_path, fresh, CPU)
    assert len(lines) == 1 and "img000000300.pt" in lines[0]
    assert fresh.nimg == 200 and fresh.g.w_avg[0] == 200


def test_a_checkpoint_of_an_early_version_goes_on_with_fused_adam(tiny):
    values = new_state(tiny, CPU).dump()
    del values["format"], values["draws_version"]
    values["g_opt"]["param_groups"][0]["fused"], values["micro"] = None, 4
    state = new_state(tiny, CPU)
    state.restore(upgrade(values))
    assert state.g_opt.param_groups[0]["fused"] and state.micro == {}


def test_every_field_says_how_it_is_saved_and_is_in_a_checkpoint(tiny):
    values = new_state(tiny, CPU).dump()
    names = {each.name for each in dataclasses.fields(State)}
    assert all("saved" in each.metadata for each in dataclasses.fields(State))
    assert values.keys() == names | {"format", "draws_version"}
    assert (values["format"], values["draws_version"]) == (CHECKPOINT_FORMAT, DRAWS_VERSION) == (2, 1)


def test_a_newer_checkpoint_is_refused_in_one_line(tmp_path, tiny):
    state = new_state(tiny, CPU)
    for nimg in (100, 200):
        state.nimg = nimg
        save_checkpoint(tmp_path, state, keep=2)
    newest = checkpoints(tmp_path)[1]
    torch.save(state.dump() | {"format": CHECKPOINT_FORMAT + 1}, newest)
    with pytest.raises(
        FigmentError, match=r"img000000200.pt: checkpoint format 3 is newer than .* reads \(2\)"
    ) as caught:
        load_newest(tmp_path, new_state(tiny, CPU), CPU)
    assert "\n" not in str(caught.value)


def test_other_draws_of_the_augmentation_are_said_in_one_line(tmp_path, tiny):
    for augment, lines in (("ada", 1), ("none", 0)):
        config, run = changed(tiny, augment=augment), tmp_path / augment
        state = new_state(config, CPU)
        save_checkpoint(run, state, keep=2)
        assert load_newest(run, new_state(config, CPU), CPU) == []
        torch.save(state.dump() | {"draws_version": 0}, checkpoints(run)[0])
        found = load_newest(run, new_state(config, CPU), CPU)
        assert len(found) == lines and all("random numbers of version 0" in line for line in found)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path, tiny):
    state = new_state(tiny, CPU)
    assert load_newest(tmp_path, state, CPU) == []
    for nimg in (100, 200):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / f"img{nimg:09d}.pt").write_bytes(b"PK")
    with pytest.raises(FigmentError, match="all of its 2 checkpoints are damaged; .*--init .*img000000200.pt: damaged"):
        load_newest(tmp_path, state, CPU)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path, tiny):
    state = new_state(tiny, CPU)
    for nimg in (100, 200):
        state.nimg = nimg
        save_checkpoint(tmp_path, state, keep=2)
    newest = checkpoints(tmp_path)[1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    fresh = new_state(tiny, CPU)
    assert "the checksum" in load_newest(tmp_path, fresh, CPU)[0]
    assert fresh.nimg == 100


def test_the_last_checkpoint_of_each_day_stays(tmp_path, tiny):
    state = new_state(tiny, CPU)
    for nimg, day in ((100, 1), (200, 1), (300, 2), (400, 3), (500, 3), (600, 3)):
        state.nimg = nimg
        save_checkpoint(tmp_path, state, keep=2)
        os.utime(checkpoints(tmp_path)[-1], (day * 86400 * 2, day * 86400 * 2))
    assert [path.name for path in checkpoints(tmp_path)] == [f"img{nimg:09d}.pt" for nimg in (200, 300, 500, 600)]


def test_the_seed_decides_the_first_weights(tiny):
    assert same(new_state(tiny, CPU), new_state(tiny, CPU))
    other = resolve("a.zip", "d", 16, 3, **TINY, seed=1)
    assert not same(new_state(tiny, CPU), new_state(other, CPU))


def test_a_steps_randomness_depends_on_seed_step_and_stream():
    draws = {torch.randn(1, generator=step_randomness(*key)).item() for key in ((0, 0), (0, 1), (1, 0), (0, 0, 1))}
    assert len(draws) == 4
    assert torch.randn(1, generator=step_randomness(5, 7)) == torch.randn(1, generator=step_randomness(5, 7))


def test_a_state_starts_from_a_model_file(tmp_path, tiny):
    from figment.nets.checkpoint import Model, save

    save(tmp_path / "m.safetensors", Model(g_ema=new_state(tiny, CPU).g_ema))
    fine = resolve("a.zip", "d", 16, 3, **TINY, seed=4, init=str(tmp_path / "m.safetensors"))
    assert same(new_state(fine, CPU), new_state(tiny, CPU))
    assert not same(new_state(fine, CPU, init=False), new_state(tiny, CPU))


@pytest.mark.parametrize("resolution", [16, 64, 128, 512])
def test_the_start_network_is_the_one_nearest_to_the_resolution(resolution):
    distances = {side: abs(math.log2(resolution / side)) for side in STARTS}
    assert init_path("start", resolution) == STARTS[min(distances, key=distances.get)]
    assert init_path("mine.pkl", resolution) == Path("mine.pkl")


@pytest.mark.parametrize("resolution", STARTS)
def test_shipped_start_networks_draw_rgb_images_of_their_resolution(resolution):
    model = load(str(STARTS[resolution]))
    assert STARTS[resolution].stat().st_size < 12 * 2**20
    assert (model.g_ema.resolution, model.g_ema.channels, model.d.resolution) == (resolution, 3, resolution)
    with torch.no_grad():
        images = model.g_ema(torch.randn(2, model.g_ema.z_dim, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (2, 3, resolution, resolution) and images.std() > 0.2
