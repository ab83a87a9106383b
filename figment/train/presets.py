"""Presets of a training: values for what the user left unset, as one table."""

from __future__ import annotations

# Presets fill only what the user left unset. `auto` follows the heuristics of StyleGAN2-ADA (Karras 2020, its
# train.py); `paper` is configuration F of StyleGAN2; `cpu` is a small network for two cores, at a high learning rate
# since its runs are short; presets named after a family are as its authors trained it; `story` fine-tunes a StyleGAN
# on one GPU from a network of anime faces, at 512 pixels.
# None leaves a value to the heuristics, 0 to the growing schedule.
#
# fmt: off
#              z_dim w_dim depth base   max  batch lr      gamma r1 path mix  noise  augment ema   tick start family
PRESETS: dict[str, tuple[float | bool | str | None, ...]] = {
    "auto":      (512, 512, 2, None,  512, None, None,   None, 16, 2.0, 0.9, True,  None,   None, 4,  0, "stylegan2"),
    "paper":     (512, 512, 8, 32768, 512, 32,   0.002,  10,   16, 2.0, 0.9, True,  "none", 10,   4,  0, "stylegan2"),
    "cpu":       (64,  64,  2, 512,   128, 16,   0.004,  1.0,  16, 0.0, 0.5, False, "none", 1.0,  1,  0, "stylegan2"),
    "stylegan1": (512, 512, 8, 16384, 512, 0,    0,      10,   1,  0.0, 0.9, True,  "none", 10,   0,  0, "stylegan1"),
    "progan":    (512, 512, 8, 16384, 512, 0,    0,      10,   1,  0.0, 0.0, False, "none", 10,   0,  0, "progan"),
    "stylegan3-t": (512, 512, 2, None, 512, None, 0.0025, None, 16, 0.0, 0.0, False, None, None, 4, 0, "stylegan3-t"),
    "stylegan3-r": (512, 512, 2, None, 512, None, 0.0025, None, 16, 0.0, 0.0, False, None, None, 4, 0, "stylegan3-r"),
    "story":     (512, 512, 8, 16384, 512, 4,    0.0015, 10,   1,  0.0, 0.9, True,  "none", 10,  30, 7000, "stylegan1"),
}
# fmt: on

COLUMNS = (
    "z_dim",
    "w_dim",
    "map_depth",
    "channel_base",
    "channel_max",
    "batch",
    "lr",
    "gamma",
    "r1_interval",
    "path_weight",
    "mixing",
    "noise",
    "augment",
    "ema_kimg",
    "tick_kimg",
    "start_kimg",
    "family",
)

PROJECTED = {"loss": "hinge", "d_lr": 0.5}
"""What the projected discriminator changes in every preset (Sauer 2021)."""
CPU_WIDTHS = {"fp32": 1024, "bf16": 2048}
"""channel_base of the preset `cpu` with the projected discriminator, by precision: CPUs with fast bfloat16 can
afford twice the width."""
