import pytest

from figment.base.errors import FigmentError
from figment.heads.evaluate import evaluate


def test_no_option_is_ignored(tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"a.png": [[0, 0, 9, 9]]}')
    with pytest.raises(FigmentError, match="--pictures .*none: no such folder"):
        evaluate(boxes, boxes, pictures=tmp_path / "none")
    with pytest.raises(FigmentError, match=r"--detector .*a.safetensors: only of use with a folder of pictures"):
        evaluate(boxes, boxes, detector=tmp_path / "a.safetensors")
