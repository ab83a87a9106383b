"""The contact sheet: a tile for every reject, as high as needed, also for files that can't be read."""

import numpy as np
from PIL import Image

from figment.base.pixels import open_image, write_png
from figment.base.records import Box, Head, Verdict
from figment.curate.contact import COLUMNS, GAP, LABEL, MOST, PAPER, TILE, TITLE, write_contact_sheet


def reject(number, reason):
    return Head(f"{number}.png", Box(0, 0, 9, 9), 0.5, (0, 0, 9, 9), number), Verdict(number, "reject", reason, "x < y")


def test_tiles_stand_by_reason_most_frequent_first(tmp_path):
    colours = {1: (200, 0, 0), 2: (0, 200, 0), 3: (0, 0, 200)}
    for number, colour in colours.items():
        write_png(tmp_path / f"{number}.png", Image.new("RGB", (20, 20), colour))
    rejects = [reject(1, "blurred"), reject(2, "duplicate"), reject(3, "duplicate")]
    write_contact_sheet(tmp_path / "sheet.png", tmp_path, rejects)
    sheet = np.asarray(open_image(tmp_path / "sheet.png"))
    first = GAP + TITLE + TILE // 2
    second = first + TILE + LABEL + GAP + TITLE
    assert tuple(sheet[first, GAP + 5]) == colours[2]
    assert tuple(sheet[first, GAP + TILE + GAP + 5]) == colours[3]
    assert tuple(sheet[second, GAP + 5]) == colours[1]


def test_many_rejects_are_cut_short_and_missing_files_are_crossed_out(tmp_path):
    write_contact_sheet(tmp_path / "sheet.png", tmp_path, [reject(number, "dark") for number in range(MOST + 30)])
    sheet = open_image(tmp_path / "sheet.png")
    assert sheet.height == GAP + TITLE + MOST // COLUMNS * (TILE + LABEL + GAP)
    assert sheet.getpixel((GAP + TILE // 2, GAP + TITLE + TILE // 2)) != PAPER


def test_no_rejects_make_a_sheet_that_says_so(tmp_path):
    write_contact_sheet(tmp_path / "sheet.png", tmp_path, [])
    assert np.asarray(open_image(tmp_path / "sheet.png")).min() < 100
