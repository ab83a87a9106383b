"""Files that are not checkpoints, or damaged ones, are one line that names the file."""

from __future__ import annotations

import shutil

import pytest
import torch

import figment
from figment.base.errors import FigmentError


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"hello, world", b"\x80\x04}.", b"\x80\x02K\x01."])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "net.pkl"
    path.write_bytes(content)
    with pytest.raises(FigmentError) as caught:
        figment.load(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_truncated_files_are_refused_in_one_line(data, tmp_path):
    for name in ("sg1_tiny.pkl", "ros2_tiny_000100.pt"):
        path = tmp_path / name
        shutil.copy(data / name, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FigmentError, match=r"^[^\n]*$"):
            figment.load(str(path))


STRANGERS = {
    "lightweight-gan": {
        "GAN": {"G.initial_conv.0.weight": 1, "D.x": 1},
        "version": "1",
        "G_scaler": {},
        "D_scaler": {},
    },
    "FastGAN": {"g": {"module.init.init.0.weight_orig": 1}, "d": {}, "g_ema": [1], "opt_g": {}},
    "MMGeneration": {"meta": {}, "state_dict": {"generator_ema.style_mapping.0.weight": 1}},
}


@pytest.mark.parametrize("program", STRANGERS)
def test_programs_that_figment_knows_by_name_only(tmp_path, program):
    torch.save(STRANGERS[program], tmp_path / "net.pt")
    with pytest.raises(FigmentError, match=rf"net\.pt: a checkpoint of {program}, which figment does not draw$"):
        figment.load(str(tmp_path / "net.pt"))
