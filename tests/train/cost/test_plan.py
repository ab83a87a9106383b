"""The plan: this machine's trial beside published figures, and the measured runs that are most like it."""

import pytest

from figment.base.errors import FigmentError
from figment.train.cost import plan as planning
from figment.train.cost.plan import parse_rent, plan, print_plan
from tests.train.conftest import TINY


def test_time_and_money(zip_path, monkeypatch, capsys):
    monkeypatch.setattr(planning, "measure_sec_per_kimg", lambda *_: 36.0)
    monkeypatch.setitem(planning.CARDS, "a card", ("a page", {16: 7.2}))
    given = {name: value for name, value in TINY.items() if name != "kimg"}
    rent = {"": 9.0, "a": 3.0, "another": 9.0}
    found = plan(zip_path, kimg=1000, watts=500, kwh=0.4, rent=rent, device="cpu", **given)
    rows = found.rows
    assert [row.sec for row in rows] == [36000, 7200]
    assert rows[0].cost == pytest.approx(10 * 0.5 * 0.4) and rows[1].cost == pytest.approx(2 * 3.0)
    print_plan(found)
    out = capsys.readouterr().out
    assert "this machine" in out and "a card" in out and "10h" in out
    assert (
        "most similar to yours (10 pictures, 16 px, 1000 kimg)" in " ".join(out.split())
        and "None was measured at 16 px" in out
    )
    assert out.count("- Measured: ") == 3


def test_the_cards_figures_are_the_published_ones():
    assert planning.CARDS["A100, StyleGAN2"][1][512] == 41.06
    assert all(source for source, _ in planning.CARDS.values())


def test_a_price_holds_for_every_card_or_for_those_of_a_name():
    assert parse_rent("1.9") == {"": 1.9}
    assert parse_rent("A100=1.9, V100=0.8") == {"A100": 1.9, "V100": 0.8}
    for wrong in ("dear", "A100=", "A100=-1", "nan", "1e30", "A100=inf", ""):
        with pytest.raises(FigmentError, match=f"--rent '{wrong}': must be a price such as 1.9"):
            parse_rent(wrong)
    with pytest.raises(FigmentError, match="no card is called B200"):
        parse_rent("B200=3")
    for text, name in (("1,2", "all cards"), ("A100=1,V100=2, A100 = 3", "A100")):
        with pytest.raises(FigmentError, match=f"--rent '{text}': has two prices for {name}"):
            parse_rent(text)


def test_watts_and_price_go_together(tmp_path):
    for given, says in (({"watts": 300}, "--watts 300: needs --kwh"), ({"kwh": 0.4}, "--kwh 0.4: needs --watts")):
        with pytest.raises(FigmentError, match=says):
            plan(tmp_path / "a.zip", kimg=1, **given)
