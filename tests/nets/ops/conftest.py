"""Where the Triton kernels run in these tests: on a GPU if there is one, else in Triton's interpreter."""

import pytest
import torch


@pytest.fixture
def kernel_device(monkeypatch):
    """The device that runs the kernels."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    pytest.importorskip("triton")
    monkeypatch.setenv("FIGMENT_INTERPRET_KERNELS", "1")
    return torch.device("cpu")
