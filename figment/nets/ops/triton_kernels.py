"""Triton kernels for the work between convolutions on a GPU: each reads its feature maps once and writes them once.

All feature maps are stored with channels last: element (n, c, y, x) of [N, C, H, W] is at ((n H + y) W + x) C + c.
Sums are computed in float32. Sums over pixels are left in parts [N, parts, C] that the caller adds up, because atomics
would add in any order. Sizes are not specialized, or Triton would compile each kernel again for each resolution.
"""

import triton
import triton.language as tl


@triton.jit
def _tap_weight(tap, TAPS: tl.constexpr):
    """Return the weight of one tap of the binomial filter, [1, 3, 3, 1] or [1, 2, 1]."""
    return tl.where((tap == 0) | (tap == TAPS - 1), 1.0, TAPS - 1.0)


@triton.jit(do_not_specialize=["height", "width", "rows", "columns", "pad"])
def filtered_lrelu(
    x,  # [N, C, H, W]
    out,  # [N, C, Y, X]
    scale,  # float32 [N, C], used if SCALED
    bias,  # float32 [C], used if BIASED
    noise,  # float32 [N, 1, Y, X], used if NOISY
    strength,  # float32 [], the factor of the noise, used if NOISY
    height,
    width,
    rows,
    columns,
    channels,
    pad,
    gain,
    TAPS: tl.constexpr,  # of the binomial filter: 1, 3 or 4
    UP: tl.constexpr,  # 1, or 2: insert zeros between the pixels first
    DOWN: tl.constexpr,  # downsampling stride
    SCALED: tl.constexpr,
    BIASED: tl.constexpr,
    NOISY: tl.constexpr,
    LRELU: tl.constexpr,  # leaky ReLU of slope 0.2 at the end
    PIXELS: tl.constexpr,  # per program
    CHANNELS: tl.constexpr,  # per program
):
    """Compute lrelu(scale * filter(x) + bias + strength * noise)."""
    n = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside, valid = place < rows * columns, c < channels
    row, column = place // columns, place % columns
    x += n * height * width * channels
    out += n * rows * columns * channels

    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    if UP == 2:  # only every second tap meets a pixel; the others meet inserted zeros
        for i in tl.static_range((TAPS + 1) // 2):
            tap_y = (row + pad) % 2 + 2 * i
            y = (row + pad - tap_y) // 2
            fits_y = inside & (tap_y < TAPS) & (row + pad >= tap_y) & (y < height)
            for j in tl.static_range((TAPS + 1) // 2):
                tap_x = (column + pad) % 2 + 2 * j
                z = (column + pad - tap_x) // 2
                fits = fits_y & (tap_x < TAPS) & (column + pad >= tap_x) & (z < width)
                value = tl.load(
                    x + (y * width + z)[:, None] * channels + c[None, :], mask=fits[:, None] & valid[None, :], other=0.0
                ).to(tl.float32)
                total += value * (_tap_weight(tap_y, TAPS) * _tap_weight(tap_x, TAPS))[:, None]
    else:
        for i in tl.static_range(TAPS):
            y = row * DOWN + i - pad
            fits_y = inside & (y >= 0) & (y < height)
            for j in tl.static_range(TAPS):
                z = column * DOWN + j - pad
                fits = fits_y & (z >= 0) & (z < width)
                value = tl.load(
                    x + (y * width + z)[:, None] * channels + c[None, :], mask=fits[:, None] & valid[None, :], other=0.0
                ).to(tl.float32)
                weight_y = 1.0 if i == 0 or i == TAPS - 1 else TAPS - 1.0
                weight_x = 1.0 if j == 0 or j == TAPS - 1 else TAPS - 1.0
                total += value * (weight_y * weight_x)
    total *= gain

    if SCALED:
        total *= tl.load(scale + n * channels + c, mask=valid, other=0.0)[None, :]
    if BIASED:
        total += tl.load(bias + c, mask=valid, other=0.0)[None, :]
    if NOISY:
        total += (tl.load(noise + n * rows * columns + place, mask=inside, other=0.0) * tl.load(strength))[:, None]
    if LRELU:
        total = tl.where(total > 0, total, total * 0.2)
    tl.store(
        out + place[:, None] * channels + c[None, :],
        total.to(out.dtype.element_ty),
        mask=inside[:, None] & valid[None, :],
    )


@triton.jit(do_not_specialize=["pixels", "parts"])
def lrelu_backward(
    grad,  # gradient of the result, [N, C, H, W]
    y,  # the result, [N, C, H, W]
    scale,  # float32 [N, C], used if SCALED
    noise,  # float32 [N, 1, H, W], used if NOISY
    grad_x,  # out: gradient of what was scaled, [N, C, H, W]
    sums,  # out: float32 [N, parts, C], sums of g, the gradient before the leaky ReLU
    sums_z,  # out: sums of g z, where z is the value before the leaky ReLU; written if SCALED
    sums_noise,  # out: sums of g noise; written if NOISY
    pixels,
    channels,
    parts,
    SCALED: tl.constexpr,
    NOISY: tl.constexpr,
    LOOP: tl.constexpr,  # blocks of pixels per program
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute the gradients of `filtered_lrelu` without its filter."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    start = n * pixels * channels
    total = tl.zeros([CHANNELS], tl.float32)
    total_z = tl.zeros([CHANNELS], tl.float32)
    total_noise = tl.zeros([CHANNELS], tl.float32)
    factor = tl.full([CHANNELS], 1.0, tl.float32)
    if SCALED:
        factor = tl.load(scale + n * channels + c, mask=valid, other=0.0)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        inside = place < pixels
        mask = inside[:, None] & valid[None, :]
        at = start + place[:, None] * channels + c[None, :]
        value = tl.load(y + at, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        g = tl.where(value > 0, g, g * 0.2)
        tl.store(grad_x + at, (g * factor[None, :]).to(grad_x.dtype.element_ty), mask=mask)
        total += tl.sum(g, 0)
        if SCALED:
            total_z += tl.sum(g * tl.where(value > 0, value, value * 5.0), 0)
        if NOISY:
            total_noise += tl.sum(g * tl.load(noise + n * pixels + place, mask=inside, other=0.0)[:, None], 0)
    to = (n * parts + part) * channels + c
    tl.store(sums + to, total, mask=valid)
    if SCALED:
        tl.store(sums_z + to, total_z, mask=valid)
    if NOISY:
        tl.store(sums_noise + to, total_noise, mask=valid)


@triton.jit(do_not_specialize=["pixels", "parts"])
def modulate_backward(
    grad,  # gradient of x scale, [N, C, H, W]
    x,  # [N, C, H, W]
    scale,  # float32 [N, C]
    grad_x,  # out: gradient of x, [N, C, H, W]
    sums,  # out: float32 [N, parts, C], sums for the gradient of scale
    pixels,
    channels,
    parts,
    LOOP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute the gradients of feature maps and of what they were scaled by."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    factor = tl.load(scale + n * channels + c, mask=valid, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        mask = (place < pixels)[:, None] & valid[None, :]
        at = n * pixels * channels + place[:, None] * channels + c[None, :]
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        tl.store(grad_x + at, (g * factor[None, :]).to(grad_x.dtype.element_ty), mask=mask)
        total += tl.sum(g * value, 0)
    tl.store(sums + (n * parts + part) * channels + c, total, mask=valid)


@triton.jit(do_not_specialize=["pixels", "parts"])
def modulate_double_backward(
    grad,  # gradient of the result, [N, C, H, W]
    x,  # what was scaled, [N, C, H, W]
    y,  # the result, [N, C, H, W], used if LRELU
    scale,  # float32 [N, C]
    grad2_x,  # gradient of the gradient of x, [N, C, H, W]
    grad2_scale,  # gradient of the gradient of scale, float32 [N, C]
    grad_grad,  # out: gradient of grad, [N, C, H, W]
    grad_x,  # out: gradient of x, [N, C, H, W]
    sums,  # out: float32 [N, parts, C], sums for the gradient of scale
    pixels,
    channels,
    parts,
    LRELU: tl.constexpr,  # a leaky ReLU followed
    LOOP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute the second derivatives of scaling, with or without a leaky ReLU after it."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    factor = tl.load(scale + n * channels + c, mask=valid, other=0.0)
    factor2 = tl.load(grad2_scale + n * channels + c, mask=valid, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        mask = (place < pixels)[:, None] & valid[None, :]
        at = n * pixels * channels + place[:, None] * channels + c[None, :]
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        v = tl.load(grad2_x + at, mask=mask, other=0.0).to(tl.float32)
        moved = v * factor[None, :] + factor2[None, :] * tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if LRELU:
            slope = tl.where(tl.load(y + at, mask=mask, other=0.0).to(tl.float32) > 0, 1.0, 0.2)
            g *= slope
            moved *= slope
        tl.store(grad_grad + at, moved.to(grad_grad.dtype.element_ty), mask=mask)
        tl.store(grad_x + at, (g * factor2[None, :]).to(grad_x.dtype.element_ty), mask=mask)
        total += tl.sum(g * v, 0)
    tl.store(sums + (n * parts + part) * channels + c, total, mask=valid)


@triton.jit(do_not_specialize=["pixels"])
def to_rgb(
    x,  # [N, C, H, W]
    weight,  # float32 [N or 1, COLORS, C]
    bias,  # float32 [COLORS], used if BIASED
    out,  # out: float32 [N, COLORS, H, W]
    pixels,
    channels,
    OWN: tl.constexpr,  # 1 if each sample has its own weights, 0 if all share them
    BIASED: tl.constexpr,
    COLORS: tl.constexpr,  # at most 4
    BLOCKS: tl.constexpr,  # channel blocks
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute a few color channels from many feature maps (a 1x1 convolution)."""
    n = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = place < pixels
    k = tl.arange(0, 4)
    total = tl.zeros([PIXELS, 4], tl.float32)
    for block in range(BLOCKS):
        c = block * CHANNELS + tl.arange(0, CHANNELS)
        value = tl.load(
            x + n * pixels * channels + place[:, None] * channels + c[None, :],
            mask=inside[:, None] & (c < channels)[None, :],
            other=0.0,
        ).to(tl.float32)
        for color in tl.static_range(COLORS):
            w = tl.load(weight + (n * OWN * COLORS + color) * channels + c, mask=c < channels, other=0.0)
            total += tl.where(k == color, 1.0, 0.0)[None, :] * tl.sum(value * w[None, :], 1)[:, None]
    if BIASED:
        total += tl.load(bias + k, mask=k < COLORS, other=0.0)[None, :]
    to = out + (n * pixels + place)[:, None] * COLORS + k[None, :]
    tl.store(to, total, mask=inside[:, None] & (k < COLORS)[None, :])


@triton.jit(do_not_specialize=["pixels", "parts"])
def from_rgb(
    colors,  # float32 [N, COLORS, H, W]
    weight,  # float32 [N or 1, COLORS, C]
    bias,  # float32 [C], used if LRELU
    x,  # [N, C, H, W], used if SUMMED
    out,  # out: [N, C, H, W]
    sums,  # out: float32 [N, parts, COLORS, C], sums of colors x over pixels; written if SUMMED
    pixels,
    channels,
    parts,
    OWN: tl.constexpr,  # 1 if each sample has its own weights, 0 if all share them
    LRELU: tl.constexpr,  # add the bias, then apply a leaky ReLU of slope 0.2
    SUMMED: tl.constexpr,
    COLORS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute feature maps from a few colors, and the sums of colors times `x` (the gradient of the weights)."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    place = part * PIXELS + tl.arange(0, PIXELS)
    inside = place < pixels
    mask = inside[:, None] & valid[None, :]
    at = n * pixels * channels + place[:, None] * channels + c[None, :]
    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    value = total
    if SUMMED:
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    for color in tl.static_range(COLORS):
        g = tl.load(colors + (n * pixels + place) * COLORS + color, mask=inside, other=0.0)
        w = tl.load(weight + (n * OWN * COLORS + color) * channels + c, mask=valid, other=0.0)
        total += g[:, None] * w[None, :]
        if SUMMED:
            to = sums + ((n * parts + part) * COLORS + color) * channels + c
            tl.store(to, tl.sum(g[:, None] * value, 0), mask=valid)
    if LRELU:
        total += tl.load(bias + c, mask=valid, other=0.0)[None, :]
        total = tl.where(total > 0, total, total * 0.2)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["length", "out_length", "inner", "total", "offset"])
def filter_lines(
    x,  # float32 [outer, length, inner]
    out,  # out: float32 [outer, out_length, inner]
    taps,  # float32 [TAPS]
    length,
    out_length,
    inner,
    total,
    offset,
    UP: tl.constexpr,  # insert zeros between the pixels first; else keep every second pixel
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Filter lines to twice or half the resolution: out[o] is the sum of taps[t] x[p] over all taps t.

    If UP, p = (o + offset - t) / 2 for those t that make it whole; else p = 2 o + t - offset. With the same offset the
    two are each other's transposes.
    """
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = e < total
    within, line = e % inner, e // inner
    o = line % out_length
    x += (line // out_length) * length * inner + within
    value = tl.zeros([BLOCK], tl.float32)
    if UP:
        for j in tl.static_range(TAPS // 2):
            tap = (o + offset) % 2 + 2 * j
            p = (o + offset - tap) // 2
            fits = inside & (o + offset >= tap) & (p < length)
            value += tl.load(taps + tap) * tl.load(x + p * inner, mask=fits, other=0.0)
    else:
        for tap in tl.static_range(TAPS):
            p = 2 * o + tap - offset
            value += tl.load(taps + tap) * tl.load(x + p * inner, mask=inside & (p >= 0) & (p < length), other=0.0)
    tl.store(out + e, value, mask=inside)
