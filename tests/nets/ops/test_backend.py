"""One backend per context, and what follows from it."""

import dataclasses
import threading

import pytest
import torch

from figment.nets import ops
from figment.nets.ops import Backend, compute_dtype, current_backend, full_precision, to_layout, use_backend
from figment.nets.ops.backend import apply, empty_in_layout

FAST = Backend(torch.bfloat16, channels_last=True, winograd=True, fused=True, double_backward=True)


def test_the_default_is_plain_float32():
    assert current_backend() == Backend(torch.float32, False, False, False, False)
    with pytest.raises(dataclasses.FrozenInstanceError):
        current_backend().fused = True


def test_a_backend_holds_inside_its_context_and_the_innermost_one_wins():
    with use_backend(FAST):
        assert current_backend() is FAST
        with use_backend(inner := Backend(winograd=True)):
            assert current_backend() is inner
        assert current_backend() is FAST
    assert current_backend() == Backend()


def test_the_context_ends_with_an_error_too():
    with pytest.raises(ValueError, match="stop"), use_backend(FAST):
        raise ValueError("stop")
    assert current_backend() == Backend()
    assert not torch.is_autocast_enabled("cpu")


def test_another_thread_has_the_default():
    seen = []
    with use_backend(FAST):
        thread = threading.Thread(target=lambda: seen.append(current_backend()))
        thread.start()
        thread.join()
    assert seen == [Backend()]


def test_bfloat16_is_autocast_and_float32_inside_it_is_not():
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(3, 2, 3, 3)
    with use_backend(FAST, "cpu"):
        assert compute_dtype(x) == ops.conv2d(x, weight).dtype == torch.bfloat16
        with full_precision(x):
            assert compute_dtype(x) == ops.conv2d(x, weight).dtype == torch.float32
        with use_backend(Backend(fused=True), "cpu"):
            assert compute_dtype(x) == ops.conv2d(x, weight).dtype == torch.float32
        assert compute_dtype(x) == torch.bfloat16
    assert compute_dtype(x) == torch.float32 and compute_dtype(x.bfloat16()) == torch.bfloat16


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match=r"precision torch\.float16: must be torch\.float32 or torch\.bfloat16"):
        Backend(torch.float16)


def test_layouts():
    x = torch.randn(2, 3, 4, 5)
    assert to_layout(x) is x
    with use_backend(Backend(channels_last=True)):
        last = to_layout(x)
    assert torch.equal(last, x) and last.is_contiguous(memory_format=torch.channels_last)
    for given in (x, last.bfloat16()):
        made = empty_in_layout(given, (1, 2, 3, 4))
        assert made.shape == (1, 2, 3, 4) and made.dtype == given.dtype
        assert made.is_contiguous() == given.is_contiguous()


def test_an_autograd_function_without_a_result_is_an_error():
    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return (None,)

    with pytest.raises(TypeError, match="Nothing: returned no tensor"):
        apply(Nothing, torch.ones(1))


def test_every_operation_has_a_reference():
    for name in ("conv2d", "conv_transpose2d", "conv2d_lrelu", "upfirdn2d", "upsample2d", "filtered_lrelu"):
        assert callable(getattr(ops, f"{name}_reference"))
    for name in ("modulate", "to_rgb", "grid_sample", "filter_lines"):
        assert callable(getattr(ops, f"{name}_reference"))
