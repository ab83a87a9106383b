"""What the processor can do."""

import torch

from figment.base.cpu import cpu_has


def test_what_pytorch_names_is_found_and_all_else_is_not(monkeypatch):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False, "cpu_name": "x"}, raising=False
    )
    assert cpu_has("avx2")
    assert not cpu_has("amx_bf16") and not cpu_has("avx512_bf16")


def test_a_pytorch_that_cannot_tell_has_nothing(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not cpu_has("avx2")
