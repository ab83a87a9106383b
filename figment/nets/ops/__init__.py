"""Fast operations behind the field's standard names, each with a plain PyTorch reference beside it."""

from figment.nets.ops.backend import (
    Backend,
    compute_dtype,
    current_backend,
    full_precision,
    to_layout,
    use_backend,
)
from figment.nets.ops.conv2d import conv2d, conv2d_reference, conv_transpose2d, conv_transpose2d_reference
from figment.nets.ops.filtered_lrelu import (
    conv2d_lrelu,
    conv2d_lrelu_reference,
    filtered_lrelu,
    filtered_lrelu_reference,
    leaky_relu,
    modulate,
    modulate_reference,
    to_rgb,
    to_rgb_reference,
)
from figment.nets.ops.grid_sample import grid_sample, grid_sample_reference
from figment.nets.ops.resample import lowpass, resampled_lrelu, resampled_lrelu_reference
from figment.nets.ops.upfirdn2d import (
    FIR_121,
    FIR_1331,
    filter_lines,
    filter_lines_reference,
    filters_lines,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
    upsample2d_reference,
)

__all__ = [
    "FIR_121",
    "FIR_1331",
    "Backend",
    "compute_dtype",
    "conv2d",
    "conv2d_lrelu",
    "conv2d_lrelu_reference",
    "conv2d_reference",
    "conv_transpose2d",
    "conv_transpose2d_reference",
    "current_backend",
    "filter_lines",
    "filter_lines_reference",
    "filtered_lrelu",
    "filtered_lrelu_reference",
    "filters_lines",
    "full_precision",
    "grid_sample",
    "grid_sample_reference",
    "leaky_relu",
    "lowpass",
    "modulate",
    "modulate_reference",
    "resampled_lrelu",
    "resampled_lrelu_reference",
    "to_layout",
    "to_rgb",
    "to_rgb_reference",
    "upfirdn2d",
    "upfirdn2d_reference",
    "upsample2d",
    "upsample2d_reference",
    "use_backend",
]
