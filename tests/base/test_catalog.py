import pytest

from figment.base.catalog import Catalog, count_reasons
from figment.base.errors import FigmentError
from figment.base.records import Box, Head, Picture, Verdict

PICTURE = Picture("a.png", "1-1", 100, 80, "heads")
HEADS = [
    Head("aa/a-0.png", Box(1, 2, 30, 40), 0.9, (0, 0, 50, 50)),
    Head("aa/a-1.png", Box(5, 5, 9, 9), 0.5, (0, 0, 9, 9)),
]


def test_rows_come_back(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        catalog.put_picture(PICTURE, HEADS)
        catalog.put_picture(Picture("b.png", "2-2", None, None, "bad", "truncated", "b.png: damaged"))
    with Catalog(tmp_path) as catalog:
        assert [picture.path for picture in catalog.pictures()] == ["a.png", "b.png"]
        assert catalog.stamps() == {"a.png": "1-1", "b.png": "2-2"}
        first = catalog.heads()[0]
        assert (first.file, first.picture) == ("aa/a-0.png", "a.png")
        assert (first.box, first.crop) == (Box(1, 2, 30, 40), (0, 0, 50, 50))
    assert count_reasons(tmp_path) == {"crop:truncated": 1}


def test_a_changed_picture_replaces_its_heads_with_measures_and_verdicts(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        catalog.put_picture(PICTURE, HEADS)
        head_id = catalog.heads()[0].id
        catalog.put_measures(head_id, {"blur": 0.5, "phash": "ff00"})
        catalog.put_verdicts([Verdict(head_id, "keep")])
        assert catalog.measures()[head_id] == {"blur": 0.5, "phash": "ff00"}
        catalog.put_picture(PICTURE, HEADS[:1])
        assert len(catalog.heads()) == 1
        assert catalog.measures() == {} and catalog.verdicts() == {}


def test_a_persons_verdict_is_never_overwritten_by_a_rule(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        catalog.put_picture(PICTURE, HEADS)
        first, second = [head.id for head in catalog.heads()]
        catalog.put_verdicts([Verdict(first, "keep", by="person"), Verdict(second, "keep")])
        catalog.put_verdicts([Verdict(first, "reject", "blurred"), Verdict(second, "reject", "blurred", "0.1 < 0.2")])
        assert catalog.verdicts()[first].verdict == "keep"
        assert catalog.verdicts()[second].reason == "blurred"
        catalog.put_verdicts([Verdict(first, "reject", "ugly", by="person")])
        assert catalog.verdicts()[first].reason == "ugly"
        assert catalog.kept() == []


def test_a_missing_or_damaged_catalog_is_one_line(tmp_path):
    with pytest.raises(FigmentError, match="figment crop"):
        Catalog(tmp_path)
    (tmp_path / "catalog.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(FigmentError, match="not a readable catalog"):
        Catalog(tmp_path)


def test_a_persons_verdict_follows_the_head_into_a_new_crop(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        catalog.put_picture(PICTURE, HEADS)
        catalog.put_verdicts([Verdict(head.id, "reject", "ugly", "", "person") for head in catalog.heads()[:1]])
        moved = Head("aa/new.png", Box(2, 3, 31, 41), 0.8, (0, 0, 51, 51))
        catalog.put_picture(PICTURE, [moved, HEADS[1]], [{"headness": 0.7}])
        by_file = {head.file: head.id for head in catalog.heads()}
        assert catalog.verdicts()[by_file["aa/new.png"]].reason == "ugly" and len(catalog.verdicts()) == 1
        assert catalog.measures() == {by_file["aa/new.png"]: {"headness": 0.7}}
