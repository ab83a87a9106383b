"""Arithmetic is counted, not guessed."""

from figment.train.config import resolve
from figment.train.cost.bench import bench, print_bench


def test_phases_and_a_count_of_the_arithmetic(world, capsys):
    config = resolve(
        "x", "x", 16, 3, channel_base=64, channel_max=8, z_dim=8, w_dim=8, batch=4, path_weight=2.0, augment="ada"
    )
    result = bench(config, world, sec=0.01)
    names = [phase.name for phase in result.phases]
    assert names == ["D", "G", "data", "EMA", "augment (in D and G)", "R1", "path length"]
    by_name = {phase.name: phase for phase in result.phases}

    # At least D's forward and backward on reals and fakes, and G's forward: 2 operations per weight and pixel.
    widths, sizes = [8, 8, 4], [4, 8, 16]
    conv = sum(2 * 9 * width * width * size**2 for width, size in zip(widths, sizes, strict=True)) / 1e9
    assert by_name["D"].gflop > 2 * 3 * conv
    assert by_name["R1"].gflop > 0 and by_name["data"].gflop == 0
    assert result.gflop > by_name["D"].gflop + by_name["G"].gflop * 0.99
    assert result.total > 0 and 0 < result.share < 1
    print_bench(result, config, world)
    assert "of a matrix product's" in capsys.readouterr().out
