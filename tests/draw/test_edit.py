"""The edit command: a sheet, names, fitted labels, edited characters."""

import json

import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.draw.directions import load_directions
from figment.draw.edit import AMOUNTS, edit, find, fit, name_directions, parse_moves


def test_a_sheet_has_a_row_for_each_direction(model, tmp_path):
    find(model, tmp_path / "sheet.png", count=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        width, height = sheet.size
    assert width / len(AMOUNTS) == height / 3


def test_naming_applying_and_fitting(model, tmp_path):
    copied = tmp_path / "net.safetensors"
    copied.write_bytes(model.read_bytes())
    name_directions(copied, ["2=hair"], layers="coarse")
    assert [(each.name, each.layers) for each in load_directions(copied)] == [("hair", (0, 4))]
    edit(copied, tmp_path / "out", apply="hair=3,sefa-1=-1", seeds=[0, 5])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"seed0000.png", "seed0005.png", "grid.png", "edit.json"}
    assert json.loads((tmp_path / "out" / "edit.json").read_text())["moves"] == [["hair", 3.0], ["sefa-1", -1.0]]

    (tmp_path / "labels.json").write_text(json.dumps({"smile": {str(seed): seed % 2 for seed in range(8)}}))
    fit(copied, tmp_path / "labels.json")
    assert [each.name for each in load_directions(copied)] == ["hair", "smile"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beard=1", "'beard': no such"),
        ("sefa-1", "NAME=AMOUNT"),
        ("sefa-1=much", "NAME=AMOUNT"),
        ("sefa-1=nan", "NAME=AMOUNT"),
    ],
)
def test_mistakes_name_the_flag(model, tmp_path, text, message):
    with pytest.raises(FigmentError, match=message):
        edit(model, tmp_path / "out", apply=text, seeds=[0])
    with pytest.raises(FigmentError, match="--name"):
        name_directions(model, ["hair"])
    with pytest.raises(FigmentError, match="--find ica"):
        find(model, tmp_path / "sheet.png", method="ica")


@pytest.mark.parametrize("text", ["sefa-1=nan", "sefa-1=1e30", "sefa-1=-inf"])
def test_an_extreme_amount_is_one_line(model, tmp_path, text):
    with pytest.raises(
        FigmentError, match=f"--apply '{text}': must be NAME=AMOUNT such as sefa-1=2, from -1000 to 1000"
    ):
        edit(model, tmp_path / "out", apply=text, seeds=[0])


@pytest.mark.parametrize("number", ["0", "1001", "99999999999", "²"])
def test_an_extreme_number_of_a_direction_is_one_line(model, number):
    with pytest.raises(FigmentError, match=f"--name '{number}=x': must be NUMBER=NAME .* from 1 to 1000"):
        name_directions(model, [f"{number}=x"])
    with pytest.raises(FigmentError, match="--apply 'sefa-"):
        parse_moves(model, None, f"sefa-{number}=1")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ('{"4294967296": 1}', "must be seeds, from 0 to 4294967295"),
        ('{"0": NaN}', "smile of 0 is nan; must be a finite number"),
        ('{"0": 1e999}', "smile of 0 is inf; must be a finite number"),
    ],
)
def test_extreme_labels_are_one_line(model, tmp_path, values, says):
    (tmp_path / "l.json").write_text(f'{{"smile": {values}}}')
    with pytest.raises(FigmentError, match=says):
        fit(model, tmp_path / "l.json")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["1=a", "2=a"], "--name '2=a': the name a is given twice"),
        (["1=a,b"], "--name '1=a,b': a name must have no comma"),
        (["1=a=b"], "--name '1=a=b': a name must have no comma"),
        (["1= a"], "--name '1= a': a name must have no comma"),
        (["1= "], "--name '1= ': must be NUMBER=NAME"),
    ],
)
def test_a_name_is_one_that_can_be_applied(model, names, says):
    with pytest.raises(FigmentError, match=says):
        name_directions(model, names)


def test_a_direction_is_applied_once(model, tmp_path):
    with pytest.raises(FigmentError, match="--apply 'sefa-1=1,sefa-1=2': the direction sefa-1 is given twice"):
        edit(model, tmp_path / "out", apply="sefa-1=1,sefa-1=2", seeds=[0])


def test_a_sheet_is_a_png(model, tmp_path):
    with pytest.raises(FigmentError, match=r"--output .*a.safetensors: must end in .png"):
        find(model, tmp_path / "a.safetensors")
