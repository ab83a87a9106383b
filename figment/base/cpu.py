"""What the processor can do."""

from __future__ import annotations

import torch


def cpu_has(
    feature: str,  # as torch.cpu.get_capabilities names it: "avx512_bf16", say
) -> bool:
    """Whether the processor has it; False where PyTorch (before 2.10) cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(feature))
