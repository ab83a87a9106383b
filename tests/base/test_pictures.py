import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.files import walk, write_bytes
from figment.base.pictures import list_pictures, named, output_stems, relative_name


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def listed(folder: Path, **options) -> tuple[list[str], list[str]]:
    """The relative names of the pictures, and the lines about what is left out."""
    lines: list[str] = []
    return [relative_name(path, folder) for path in list_pictures(folder, tell=lines.append, **options)], lines


def test_what_lies_beside_the_pictures_is_one_line(tmp_path):
    for k in range(5):
        draw(tmp_path / f"{k}.png")
        for ending in ("txt", "caption", "npz"):
            (tmp_path / f"{k}.{ending}").write_text("solo")
    names = ("Thumbs.db", "desktop.ini", ".DS_Store", "@eaDir/0.png/THUMB.jpg", "__MACOSX/._0.png", "metadata.jsonl")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    names, lines = listed(tmp_path)
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert lines == [
        "left alone: 21 files that are not pictures (5 .caption, 5 .npz, 5 .txt, 3 hidden, 1 .db, 2 others)"
    ]


def test_a_folder_of_pictures_alone_says_nothing(tmp_path):
    draw(tmp_path / "b" / "a.PNG")
    assert listed(tmp_path) == (["b/a.PNG"], [])


def test_without_a_picture_the_others_are_named(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(FigmentError, match=r"HEADS .*holds no files that are pictures \(1 file that is not .*1 \.md"):
        list_pictures(tmp_path, "HEADS")


def test_links_to_folders_are_followed_once(tmp_path):
    draw(tmp_path / "store" / "a" / "1.png")
    draw(tmp_path / "store" / "b" / "2.png")
    draw(tmp_path / "in" / "own.png")
    for name, target in {"linked": "store", "more": "store/b", "self": "in", "up": "."}.items():
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    names, lines = listed(tmp_path / "in")
    assert names == ["linked/a/1.png", "linked/b/2.png", "own.png"]
    assert lines == ["left out: 2 links to folders that are listed already, such as more"]


def test_a_folder_below_keeps_its_own_path(tmp_path):
    draw(tmp_path / "z" / "1.png")
    (tmp_path / "a").symlink_to("z")
    assert listed(tmp_path)[0] == ["z/1.png"]


def test_links_in_linked_folders_are_followed_and_cycles_end(tmp_path):
    draw(tmp_path / "one" / "1.png")
    draw(tmp_path / "two" / "2.png")
    (tmp_path / "one" / "two").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "one").symlink_to(tmp_path / "one")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "start").symlink_to(tmp_path / "one")
    names, lines = listed(tmp_path / "in")
    assert names == ["start/1.png", "start/two/2.png"] and len(lines) == 1


def test_dead_links_and_pipes_are_listed_so_that_they_are_reported(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "gone.png").symlink_to("/nowhere/else.png")
    (tmp_path / "gone.txt").symlink_to("/nowhere/else.txt")
    os.mkfifo(tmp_path / "pipe.png")
    assert listed(tmp_path)[0] == ["a.png", "gone.png", "pipe.png"]


def test_the_output_is_left_out_by_any_path(tmp_path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "out" / "b.png")
    (tmp_path / "link").symlink_to("out")
    assert listed(tmp_path, leave_out=tmp_path / "link")[0] == ["a.png"]
    assert listed(tmp_path, leave_out=tmp_path)[0] == ["a.png", "out/b.png"]
    assert listed(tmp_path, leave_out=tmp_path / "none")[0] == ["a.png", "out/b.png"]


def test_folders_that_cannot_be_read_are_reported(tmp_path, monkeypatch):
    draw(tmp_path / "a.png")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listed(tmp_path)[1] == [f"left out: {tmp_path}/closed: can't read this folder (Permission denied)"]


def test_names_of_any_bytes_come_back(tmp_path):
    for name in (b"\x8d\xf7.png", b"plain.png", "\u96ea.png".encode(), b"new\nline.png"):
        draw(tmp_path / os.fsdecode(name))
    files = walk(tmp_path).files
    assert len(files) == 4
    for path in files:
        name = relative_name(path, tmp_path)
        assert name.encode() and named(tmp_path, name) == path


def test_the_longest_name_can_be_written(tmp_path):
    for name in ("l" * 251 + ".png", "\u96ea" * 83 + ".png"):
        write_bytes(tmp_path / name, b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l" * 251 + ".png", "\u96ea" * 83 + ".png"]


def stems(*names: str) -> list[str]:
    return output_stems([Path("in", name) for name in names], Path("in"), (".png", "-pair.png"))


def test_outputs_keep_the_names_of_pictures_where_they_can():
    assert stems("a.png", "b.jpg", "sub/c.png") == ["a", "b", "c"]


@pytest.mark.parametrize(
    "names",
    [("a.png", "a.jpg"), ("a.png", "A.png"), ("x/a.png", "y/a.png"), ("caf\u00e9.png", "cafe\u0301.png")],
)
def test_outputs_do_not_overwrite_each_other(names):
    first, second = stems(*names)
    assert first.casefold() != second.casefold()
    assert first.startswith(Path(names[0]).stem[:1]) and stems(*names, "other.png")[:2] == [first, second]


def test_outputs_of_one_picture_do_not_overwrite_those_of_another():
    first, second = stems("a.png", "a-pair.png")
    assert f"{first}-pair" != second


def test_odd_and_long_names_give_plain_stems():
    odd, long = stems(os.fsdecode(b"\x8d\xf7.png"), "l" * 246 + ".png")
    assert odd.isascii() and odd.isprintable() and len(long) < 80


@given(st.lists(st.text(st.sampled_from("aAbB-\u00e9e\u0301pir./"), min_size=1), min_size=1, max_size=8, unique=True))
def test_no_two_stems_are_alike(names):
    paths = list({Path("in") / (name.strip("/.") or "x") for name in names})
    found = output_stems(paths, Path("in"))
    assert len({stem.casefold() for stem in found}) == len(paths)
