"""The report: one file, its figures the catalog's, its advice what the figures say."""

import html.parser
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.records import Picture
from figment.curate.report import write_report
from figment.curate.report_parts import Facts, advice, histogram
from tests.curate.heads_folder import make_heads


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """A heads folder, with a hostile name among its bad files, and its report."""
    heads = make_heads(tmp_path_factory.mktemp("report"), 80) / "heads"
    with Catalog(heads) as catalog:
        catalog.put_picture(Picture("<script>alert(1)</script>.png", "1", None, None, "bad", "truncated", "damaged"))
    summary = write_report(heads)
    assert summary.line() == f"{heads}/report.html: 60 of 80 heads kept"
    return heads, summary.path.read_text()


class Tags(html.parser.HTMLParser):
    """Every opened tag is closed, and every address that the page would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_one_file_that_loads_nothing(made):
    tags = Tags(made[1])
    assert tags.open == [] and "script" not in tags.names
    assert tags.addresses and all(address.startswith("data:image/webp;base64,") for address in tags.addresses)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in made[1] and "$" not in made[1]


def test_counts_by_stage_and_reason(made):
    rows = re.findall(r'<span class="[a-z]*">([^<]+)</span><div>.*?</svg>([\d,]+)</div>', made[1])
    assert rows == [
        ("files", "82"),
        ("truncated", "1"),
        ("pictures with a head", "80"),
        ("no head", "1"),
        ("heads", "80"),
        ("too-small", "18"),
        ("duplicate", "2"),
        ("kept", "60"),
    ]


def test_duplicates_stand_side_by_side(made):
    assert "1 group;" in made[1] and "3 alike" in made[1]
    assert made[1].index("070.png</div>") < made[1].index("071.png</div>") < made[1].index("072.png</div>")


def test_advice_names_the_option_and_what_it_brings_back(made):
    # Sizes are 30 to 47; three quarters of 48 is 36, and twelve heads are that large.
    assert "18 heads rejected as too-small (size, threshold 48): fetch larger pictures, or lower" in made[1]
    assert "<code>--min-size</code>; at 36 it would let 12 of them pass." in made[1]
    assert "--resolution 64</code>" in made[1]  # three in four kept crops are 100 pixels and more


def test_the_report_adds_nothing_to_the_catalog(made):
    db = sqlite3.connect(made[0] / "catalog.db")
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    db.close()
    assert "decisions" not in tables and not (made[0] / ".thumbs").exists()


def test_a_histogram_counts_every_head_once():
    values, kept = np.array([1.0, 2, 2, 3, np.nan, 10]), np.array([True, True, False, True, True, False])
    chart = histogram("size", "", values, kept, [2.5], height=100)
    tall = {
        kind: sum(float(x) for x in re.findall(rf'class="{kind}"[^>]*height="([\d.]+)"', chart))
        for kind in ("kept", "lost")
    }
    assert tall == {"kept": 150, "lost": 100}  # the tallest bin holds two heads; the nameless value is left out
    assert histogram("size", "", np.full(3, np.nan), np.ones(3, bool), [1.0]) == ""
    assert "NaN" not in histogram("size", "", np.full(3, 7.0), np.ones(3, bool), [7.0], log=True)


def test_advice_on_nothing_and_on_what_is_not_judged():
    nothing = Facts("h&h", 5, {}, 5, 0, 0, {}, {}, {})
    assert len(advice(nothing)) == 1 and "h&amp;h" in advice(nothing)[0]
    assert "3 heads not judged yet" in advice(Facts("heads", 5, {}, 0, 3, 0, {}, {}, {}))[0]


def test_an_empty_catalog_and_bad_places(tmp_path):
    Catalog(tmp_path / "heads", create=True).db.close()
    assert "0 heads kept of 0" in write_report(tmp_path / "heads").path.read_text()
    with pytest.raises(FigmentError, match="--output"):
        write_report(tmp_path / "heads", tmp_path)
    with pytest.raises(FigmentError, match="catalog"):
        write_report(tmp_path)


def test_pictures_of_a_telephone_have_advice_of_their_own():
    facts = Facts("heads", 400, {"heic": 400}, 0, 0, 0, {}, {}, {})
    said = advice(facts)
    assert "400 files left out as heic" in said[0] and "HEIC" in said[0] and "No head" in said[1]
