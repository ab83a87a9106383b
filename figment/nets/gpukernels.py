"""Triton kernels for what happens between convolutions on a GPU: each reads its feature maps once and writes them once.

All feature maps lie channels last: element (n, c, y, x) of [N, C, H, W] at ((n H + y) W + x) C + c. Sums are formed in
float32, those over pixels in parts [N, parts, C] that the caller adds up: atomics would add in any order. Sizes are not
specialised, or Triton would compile each kernel anew for each level.
"""

import triton
import triton.language as tl


@triton.jit
def _tap_weight(tap, TAPS: tl.constexpr):
    """The binomial filter's weight, 1 3 3 1 or 1 2 1."""
    return tl.where((tap == 0) | (tap == TAPS - 1), 1.0, TAPS - 1.0)


@triton.jit(do_not_specialize=["height", "width", "rows", "columns", "pad"])
def filter_act(
    x,  # [N, C, H, W]
    out,  # [N, C, Y, X]
    scale,  # float32 [N, C], used if SCALED
    bias,  # float32 [C], used if BIASED
    noise,  # float32 [N, 1, Y, X], used if NOISY, with
    strength,  # float32 []
    height,
    width,
    rows,
    columns,
    channels,
    pad,
    gain,
    TAPS: tl.constexpr,  # of the binomial filter: 1, 3 or 4
    UP: tl.constexpr,  # 1, or 2: zeros between the pixels first
    DOWN: tl.constexpr,  # keep every so manieth pixel
    SCALED: tl.constexpr,
    BIASED: tl.constexpr,
    NOISY: tl.constexpr,
    ACTIVE: tl.constexpr,  # leaky ReLU of slope 0.2 at the end
    PIXELS: tl.constexpr,  # per program, and
    CHANNELS: tl.constexpr,
):
    """Filter, scale, bias, noise and leaky ReLU."""
    n = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    here, known = place < rows * columns, c < channels
    row, column = place // columns, place % columns
    x += n * height * width * channels
    out += n * rows * columns * channels

    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    if UP == 2:  # of the taps, those that meet a pixel: every second one
        for i in tl.static_range((TAPS + 1) // 2):
            tap_y = (row + pad) % 2 + 2 * i
            y = (row + pad - tap_y) // 2
            fits_y = here & (tap_y < TAPS) & (row + pad >= tap_y) & (y < height)
            for j in tl.static_range((TAPS + 1) // 2):
                tap_x = (column + pad) % 2 + 2 * j
                z = (column + pad - tap_x) // 2
                fits = fits_y & (tap_x < TAPS) & (column + pad >= tap_x) & (z < width)
                value = tl.load(
                    x + (y * width + z)[:, None] * channels + c[None, :], mask=fits[:, None] & known[None, :], other=0.0
                ).to(tl.float32)
                total += value * (_tap_weight(tap_y, TAPS) * _tap_weight(tap_x, TAPS))[:, None]
    else:
        for i in tl.static_range(TAPS):
            y = row * DOWN + i - pad
            fits_y = here & (y >= 0) & (y < height)
            for j in tl.static_range(TAPS):
                z = column * DOWN + j - pad
                fits = fits_y & (z >= 0) & (z < width)
                value = tl.load(
                    x + (y * width + z)[:, None] * channels + c[None, :], mask=fits[:, None] & known[None, :], other=0.0
                ).to(tl.float32)
                weight_y = 1.0 if i == 0 or i == TAPS - 1 else TAPS - 1.0
                weight_x = 1.0 if j == 0 or j == TAPS - 1 else TAPS - 1.0
                total += value * (weight_y * weight_x)
    total *= gain

    if SCALED:
        total *= tl.load(scale + n * channels + c, mask=known, other=0.0)[None, :]
    if BIASED:
        total += tl.load(bias + c, mask=known, other=0.0)[None, :]
    if NOISY:
        total += (tl.load(noise + n * rows * columns + place, mask=here, other=0.0) * tl.load(strength))[:, None]
    if ACTIVE:
        total = tl.where(total > 0, total, total * 0.2)
    tl.store(
        out + place[:, None] * channels + c[None, :],
        total.to(out.dtype.element_ty),
        mask=here[:, None] & known[None, :],
    )


@triton.jit(do_not_specialize=["pixels", "parts"])
def act_backward(
    grad,  # of the result, [N, C, H, W]
    y,  # the result
    scale,  # float32 [N, C], used if SCALED
    noise,  # float32 [N, 1, H, W], used if NOISY
    back,  # out: the gradient of what was scaled, [N, C, H, W]
    sums,  # out: float32 [N, parts, C] of g, the gradient before the leaky ReLU
    sums_z,  # out: of g z, z the value before the leaky ReLU; if SCALED
    sums_noise,  # out: of g noise; if NOISY
    pixels,
    channels,
    parts,
    SCALED: tl.constexpr,
    NOISY: tl.constexpr,
    LOOP: tl.constexpr,  # blocks of pixels per program
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """What `filter_act` gives back, but for its filter."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = c < channels
    start = n * pixels * channels
    total = tl.zeros([CHANNELS], tl.float32)
    total_z = tl.zeros([CHANNELS], tl.float32)
    total_noise = tl.zeros([CHANNELS], tl.float32)
    factor = tl.full([CHANNELS], 1.0, tl.float32)
    if SCALED:
        factor = tl.load(scale + n * channels + c, mask=known, other=0.0)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        here = place < pixels
        mask = here[:, None] & known[None, :]
        at = start + place[:, None] * channels + c[None, :]
        value = tl.load(y + at, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        g = tl.where(value > 0, g, g * 0.2)
        tl.store(back + at, (g * factor[None, :]).to(back.dtype.element_ty), mask=mask)
        total += tl.sum(g, 0)
        if SCALED:
            total_z += tl.sum(g * tl.where(value > 0, value, value * 5.0), 0)
        if NOISY:
            total_noise += tl.sum(g * tl.load(noise + n * pixels + place, mask=here, other=0.0)[:, None], 0)
    to = (n * parts + part) * channels + c
    tl.store(sums + to, total, mask=known)
    if SCALED:
        tl.store(sums_z + to, total_z, mask=known)
    if NOISY:
        tl.store(sums_noise + to, total_noise, mask=known)


@triton.jit(do_not_specialize=["pixels", "parts"])
def scale_backward(
    grad,  # of x scale, [N, C, H, W]
    x,  # [N, C, H, W]
    scale,  # float32 [N, C]
    back,  # out: the gradient of x
    sums,  # out: float32 [N, parts, C] of the gradient of scale
    pixels,
    channels,
    parts,
    LOOP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """The gradients of feature maps and what they were scaled by."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = c < channels
    factor = tl.load(scale + n * channels + c, mask=known, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        mask = (place < pixels)[:, None] & known[None, :]
        at = n * pixels * channels + place[:, None] * channels + c[None, :]
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        tl.store(back + at, (g * factor[None, :]).to(back.dtype.element_ty), mask=mask)
        total += tl.sum(g * value, 0)
    tl.store(sums + (n * parts + part) * channels + c, total, mask=known)


@triton.jit(do_not_specialize=["pixels", "parts"])
def scale_twice(
    grad,  # of the result, [N, C, H, W]
    x,  # what was scaled, [N, C, H, W]
    y,  # the result, used if ACTIVE
    scale,  # float32 [N, C]
    along,  # gradient of the gradient of x, [N, C, H, W]
    along_scale,  # gradient of the gradient of scale, float32 [N, C]
    of_grad,  # out: the gradients of grad,
    of_x,  # out: of x,
    sums,  # out: and of scale, in parts: float32 [N, parts, C]
    pixels,
    channels,
    parts,
    ACTIVE: tl.constexpr,  # a leaky ReLU followed
    LOOP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """The second derivatives of scaling, and of a leaky ReLU after it."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = c < channels
    factor = tl.load(scale + n * channels + c, mask=known, other=0.0)
    factor_along = tl.load(along_scale + n * channels + c, mask=known, other=0.0)
    total = tl.zeros([CHANNELS], tl.float32)
    for block in range(LOOP):
        place = (part * LOOP + block) * PIXELS + tl.arange(0, PIXELS)
        mask = (place < pixels)[:, None] & known[None, :]
        at = n * pixels * channels + place[:, None] * channels + c[None, :]
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        v = tl.load(along + at, mask=mask, other=0.0).to(tl.float32)
        moved = v * factor[None, :] + factor_along[None, :] * tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if ACTIVE:
            slope = tl.where(tl.load(y + at, mask=mask, other=0.0).to(tl.float32) > 0, 1.0, 0.2)
            g *= slope
            moved *= slope
        tl.store(of_grad + at, moved.to(of_grad.dtype.element_ty), mask=mask)
        tl.store(of_x + at, (g * factor_along[None, :]).to(of_x.dtype.element_ty), mask=mask)
        total += tl.sum(g * v, 0)
    tl.store(sums + (n * parts + part) * channels + c, total, mask=known)


@triton.jit(do_not_specialize=["pixels"])
def mix_channels(
    x,  # [N, C, H, W]
    weight,  # float32 [N or 1, COLOURS, C]
    bias,  # float32 [COLOURS], used if BIASED
    out,  # out: float32 [N, COLOURS, H, W]
    pixels,
    channels,
    OWN: tl.constexpr,  # 1 where each sample has weights, 0 where they share them
    BIASED: tl.constexpr,
    COLOURS: tl.constexpr,  # at most 4
    BLOCKS: tl.constexpr,  # of channels
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """A few colours of many channels."""
    n = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    here = place < pixels
    k = tl.arange(0, 4)
    total = tl.zeros([PIXELS, 4], tl.float32)
    for block in range(BLOCKS):
        c = block * CHANNELS + tl.arange(0, CHANNELS)
        value = tl.load(
            x + n * pixels * channels + place[:, None] * channels + c[None, :],
            mask=here[:, None] & (c < channels)[None, :],
            other=0.0,
        ).to(tl.float32)
        for colour in tl.static_range(COLOURS):
            w = tl.load(weight + (n * OWN * COLOURS + colour) * channels + c, mask=c < channels, other=0.0)
            total += tl.where(k == colour, 1.0, 0.0)[None, :] * tl.sum(value * w[None, :], 1)[:, None]
    if BIASED:
        total += tl.load(bias + k, mask=k < COLOURS, other=0.0)[None, :]
    to = out + (n * pixels + place)[:, None] * COLOURS + k[None, :]
    tl.store(to, total, mask=here[:, None] & (k < COLOURS)[None, :])


@triton.jit(do_not_specialize=["pixels", "parts"])
def spread_colours(
    colours,  # float32 [N, COLOURS, H, W]
    weight,  # float32 [N or 1, COLOURS, C]
    bias,  # float32 [C], used if ACTIVE
    x,  # [N, C, H, W], used if SUMMED
    out,  # out: [N, C, H, W]
    sums,  # out: float32 [N, parts, COLOURS, C] of colours x; if SUMMED
    pixels,
    channels,
    parts,
    OWN: tl.constexpr,  # as above
    ACTIVE: tl.constexpr,  # add the bias, then a leaky ReLU of slope 0.2
    SUMMED: tl.constexpr,
    COLOURS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Many channels of a few colours; and how colours and channels `x` go together, as gradients of weights want it."""
    part, n = tl.program_id(0), tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    known = c < channels
    place = part * PIXELS + tl.arange(0, PIXELS)
    here = place < pixels
    mask = here[:, None] & known[None, :]
    at = n * pixels * channels + place[:, None] * channels + c[None, :]
    total = tl.zeros([PIXELS, CHANNELS], tl.float32)
    value = total
    if SUMMED:
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    for colour in tl.static_range(COLOURS):
        g = tl.load(colours + (n * pixels + place) * COLOURS + colour, mask=here, other=0.0)
        w = tl.load(weight + (n * OWN * COLOURS + colour) * channels + c, mask=known, other=0.0)
        total += g[:, None] * w[None, :]
        if SUMMED:
            to = sums + ((n * parts + part) * COLOURS + colour) * channels + c
            tl.store(to, tl.sum(g[:, None] * value, 0), mask=known)
    if ACTIVE:
        total += tl.load(bias + c, mask=known, other=0.0)[None, :]
        total = tl.where(total > 0, total, total * 0.2)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["length", "places", "inner", "total", "offset"])
def filter_lines(
    x,  # float32 [outer, length, inner]
    out,  # out: float32 [outer, places, inner]
    taps,  # float32 [TAPS]
    length,
    places,
    inner,
    total,
    offset,
    UP: tl.constexpr,  # zeros between the pixels first; else keep every second one
    TAPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Lines under a filter, at twice or half the resolution: a sum of taps[t] x[p], p = (o + offset - t) / 2 where that
    is whole, or 2 o + t - offset. With the same offset the two are each other's transposes."""
    e = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = e < total
    within, line = e % inner, e // inner
    o = line % places
    x += (line // places) * length * inner + within
    value = tl.zeros([BLOCK], tl.float32)
    if UP:
        for j in tl.static_range(TAPS // 2):
            tap = (o + offset) % 2 + 2 * j
            p = (o + offset - tap) // 2
            fits = here & (o + offset >= tap) & (p < length)
            value += tl.load(taps + tap) * tl.load(x + p * inner, mask=fits, other=0.0)
    else:
        for tap in tl.static_range(TAPS):
            p = 2 * o + tap - offset
            value += tl.load(taps + tap) * tl.load(x + p * inner, mask=here & (p >= 0) & (p < length), other=0.0)
    tl.store(out + e, value, mask=here)
