import re
from pathlib import Path

import pytest
import torch

from figment.base.device import (
    ThreadGovernor,
    World,
    cpu_has,
    is_out_of_memory,
    join_world,
    load_average,
    peak_memory,
    waited_for_cores,
)
from figment.base.errors import FigmentError

CPU = torch.device("cpu")


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = join_world("cpu")
    assert (world.rank, world.size, world.is_main) == (0, 1, True)
    assert world.any(True) and not world.any(False)
    assert world.broadcast("here") == "here" and world.memory_gb() is None


def test_a_device_that_is_none_is_one_line():
    with pytest.raises(FigmentError, match="--device gpu: must be cpu, cuda, or one of several GPUs"):
        join_world("gpu")


def test_ranks_share_a_batch_without_gap_or_overlap():
    batch = torch.arange(10)
    parts = [batch[World(rank, 3, CPU).local] for rank in range(3)]
    assert sorted(torch.cat(parts).tolist()) == batch.tolist()
    assert parts[1].tolist() == [1, 4, 7]


def test_values_are_put_on_the_device_as_they_are():
    values = torch.tensor([True, False])
    assert torch.equal(World(0, 1, CPU).to_device(values), values)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_peak_of_memory_is_what_the_kernel_says():
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak_memory(CPU) == pytest.approx(int(told[1]) * 1024, rel=0.02)


def test_what_pytorch_names_is_found_and_all_else_is_not(monkeypatch):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False, "cpu_name": "x"}, raising=False
    )
    assert cpu_has("avx2")
    assert not cpu_has("amx_bf16") and not cpu_has("avx512_bf16")


def test_a_pytorch_that_cannot_tell_has_nothing(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not cpu_has("avx2")


def test_the_cpus_own_complaint_is_understood_too():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert is_out_of_memory(caught.value) and not is_out_of_memory(RuntimeError("shapes do not match"))


def test_threads_follow_what_other_programs_need():
    """Threads that wait for a core halve the team; free cores bring it back."""
    now, waited, load = [0.0], [0.0], [4.0]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        governor = ThreadGovernor(lambda: waited[0], lambda: load[0], lambda: now[0])

        def after(sec, delay):
            now[0] += sec
            waited[0] += delay
            return governor.check(), torch.get_num_threads()

        assert after(1, 3.0) == (None, 4)  # too early to tell
        assert after(5, 0.5) == (None, 4)  # 3.5 of 24 seconds
        assert after(6, 12.0) == ("other programs need the cores: computing on 2 of 4 threads", 2)
        assert after(6, 6.0)[1] == 1
        load[0] = 1.2
        assert after(6, 0.0) == (None, 1)  # the load is an average over a minute
        load[0] = 4.0
        assert after(60, 0.0) == (None, 1)  # no waiting, but the machine is still busy
        load[0] = 1.2
        assert after(6, 0.0) == ("the cores are free again: computing on 4 threads", 4)
        with governor:
            assert after(6, 20.0)[1] == 2
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_waiting_and_load_are_numbers():
    assert waited_for_cores() >= 0 and load_average() >= 0
